"""What the walls cost, and what they are worth: throughput and start with and without the sandbox,
and the latency of a well-behaved client while others attack."""

import contextlib
import os
import re
import signal
import time
from dataclasses import replace

from .. import compare, load, procfs, servers
from ..attacks import Attackers
from ..settings import Skip
from . import cell
from .http import REUSE
from .process import first_answer, workers

WITHOUT = "--insecure-no-sandbox"


def cost(settings, title, ours, theirs, bar):
    """Requests a second with something and without, while both share a core. Where a process's memory
    happens to lie makes it some percent faster or slower for life, so there are several of each."""
    rows = []
    for kind, flags in (("fresh instances", ()), ("reused × 128", (REUSE, "128"))):
        pairs = []
        for _ in range(settings.rounds if settings.quick else 3 * settings.rounds):
            with ours(flags) as bound, theirs(flags) as free:
                names = bound.name, free.name
                sides = {s.name: lambda s=s: load.wrk(settings, s, 1) for s in (bound, free)}
                compare.together(1, sides)
                samples = compare.together(4, sides)
            pairs += zip(*(samples[name] for name in names))
        rows.append(compare.paired_row(f"{title}, {kind}", *zip(*pairs), names, bar))
    return rows


@cell("sandbox", "walls")
def sandbox(settings):
    """Requests a second behind all walls and without any."""
    plugin = settings.plugin("hello")
    return cost(
        settings,
        "sandbox",
        lambda flags: servers.host(settings, plugin, *flags),
        lambda flags: servers.host(settings, plugin, *flags, WITHOUT, name="no sandbox"),
        0.98,
    )


@cell("limits", "walls")
def limits(settings):
    """Epoch checks, memory limits and the request's time limit against a build without the first two
    that is told to do without the third."""
    plugin, free = settings.plugin("hello"), settings.without_limits()
    none = ("--request-timeout", "0")
    return cost(
        settings,
        "limits",
        lambda flags: servers.host(settings, plugin, *flags),
        lambda flags: servers.host(free, plugin, *flags, *none, name="no limits"),
        0.9,
    )


def ready_ms(server):
    """From the death of the only worker to its successor's first answer."""
    victim = workers(server)[0]
    begun = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    while time.perf_counter() < begun + 10:
        try:
            first_answer(server.port, patience=0.5)
            return (time.perf_counter() - begun) * 1e3
        except (OSError, RuntimeError):
            time.sleep(0.0005)
    raise RuntimeError("no answer within 10 s of killing the worker")


@cell("lockdown", "walls")
def lockdown(settings):
    """What the walls add to the start of a worker: namespaces, an empty root, two filters."""
    plugin = settings.plugin("hello")

    def once(*flags):
        with servers.host(settings, plugin, *flags, pinned=False) as server:
            first_answer(server.port)
            return ready_ms(server)

    sides = {"walls": lambda: once(), "none": lambda: once(WITHOUT)}
    samples = compare.interleave(3 if settings.quick else 21, sides)
    walls, none = (compare.median(samples[name]) for name in ("walls", "none"))
    row = compare.at_most("start of a worker: walls add", walls - none, 5, "ms")
    row.ours, row.peer = f"{walls:.1f} ms to an answer", f"{none:.1f} ms without walls"
    return [row]


def worker_pids(server):
    found = {}
    for pid in server.below():
        match = re.match(r"host: worker (\d+) ", procfs.title(pid))
        if match:
            found[int(match.group(1))] = pid
    return [found[number] for number in sorted(found)]


def both(server):
    """The kernel may leave some out of a list of children while another child ends."""
    end = time.monotonic() + 5
    while len(found := worker_pids(server)) < 2:
        if time.monotonic() > end:
            raise RuntimeError("no two workers 5 s after the start")
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def two_workers(settings):
    """Each on a CPU of its own, as they would be: the attacked one beside its attackers."""
    if settings.server_cpus == settings.load_cpus:
        raise Skip("it takes two CPUs")
    port = servers.free_port()
    flags = ("--listen-per-worker", port, "--request-timeout", "2s", "--max-memory-size", "64M")
    plugin = settings.plugin("fixture")
    with servers.host(settings, plugin, *flags, workers=2) as server:
        first, second = both(server)
        os.sched_setaffinity(first, settings.load_cpus)
        os.sched_setaffinity(second, settings.server_cpus)
        yield server, port


@cell("fairness", "walls")
def fairness(settings):
    """p99 of one client at a modest rate while seven kinds of attack go on at once."""
    # Turns of 100 ms, as real-time processes take them, would be all that is measured.
    settings = replace(settings, realtime=False)
    seconds = max(2, settings.seconds)
    rows = []
    with two_workers(settings) as (server, port):
        calm = [load.paced(settings, port + n, seconds) for n in (0, 1)]
        with Attackers(settings, port):
            time.sleep(1)
            same, other = (load.paced(settings, port + n, seconds) for n in (0, 1))
        after = load.paced(settings, port, seconds)
        alive = len(worker_pids(server))
    for where, before, under, bar in (
        ("another worker", calm[1], other, 2 * calm[1].p99_us / 1e3),
        ("the attacked worker", calm[0], same, 20 + 5 * calm[0].p99_us / 1e3),
    ):
        title = f"p99 under seven attacks at once, {where}"
        row = compare.at_most(title, under.p99_us / 1e3, round(bar, 2), "ms")
        row.ok = row.ok and not under.errors
        row.ours = f"{under.rate:.0f}/s, {under.errors} failed, {alive} of 2 workers left"
        row.peer = f"undisturbed {before.p99_us / 1e3:.2f} ms; after {after.p99_us / 1e3:.2f} ms"
        rows.append(row)
    return rows
