"""What the process model costs: start, respawn, memory and wake-ups of idle workers, balance."""

import os
import signal
import socket
import time
from contextlib import ExitStack
from dataclasses import replace

from .. import compare, load, procfs, scoreboard, servers
from . import cell

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


def first_answer(port, patience=10):
    """One request on a new connection; returns when its status line is there."""
    with socket.create_connection(("127.0.0.1", port), patience) as stream:
        stream.sendall(REQUEST)
        answer = stream.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"first answer: {answer[:60]!r}")


def start_ms(start):
    with start() as server:
        first_answer(server.port)
        return (time.perf_counter() - server.begun) * 1e3


@cell("start", "process")
def start(settings):
    """Process start to first answer; both sides may use a warm compilation cache."""
    plugin = settings.plugin("hello")
    cached = settings.scratch / "wasmtime-cache.toml"
    cached.write_text(f'[cache]\ndirectory = "{settings.scratch / "wasmtime-cache"}"\n')
    flags = ("-C", f"cache-config={cached}")
    sides = {
        "host": lambda: servers.host(settings, plugin, workers=2, pinned=False),
        "wasmtime serve": lambda: servers.wasmtime_serve(settings, plugin, *flags, pinned=False),
        "Node cluster (2)": lambda: servers.node(settings, "node-cluster.js", pinned=False),
    }
    sides = {name: (lambda begin=begin: start_ms(begin)) for name, begin in sides.items()}
    for warm in sides.values():
        warm()
    samples = compare.interleave(3 if settings.quick else 15, sides)
    return [timed("start to first answer, 2 workers, warm cache", samples, 60)]


def timed(title, samples, bar):
    ours = samples.pop("host")
    peers = "; ".join(f"{name} {compare.median(v):.0f} ms" for name, v in samples.items())
    spread = f"{min(ours):.1f}–{max(ours):.1f}"
    return compare.at_most(title, compare.median(ours), bar, "ms", peers, spread)


def respawn_ms(start):
    """Kill the only worker and time until its successor has answered."""
    with start() as server:
        first_answer(server.port)
        time.sleep(0.2)
        victim = workers(server)[0]
        begun = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        while time.perf_counter() < begun + 10:
            try:
                # Node gives a connection to the dead worker now and then: it hangs, a new one does not.
                first_answer(server.port, patience=0.1)
                return (time.perf_counter() - begun) * 1e3
            except (OSError, RuntimeError):
                time.sleep(0.001)
    raise RuntimeError(f"{server.name}: no answer within 10 s of killing its worker")


def workers(server):
    """Worker processes by title, else everything below the primary (Node names none)."""
    below = server.below()
    return [pid for pid in below if "host: worker" in procfs.title(pid)] or below


@cell("respawn", "process")
def respawn(settings):
    """The time a cluster of one worker has nobody to answer."""
    plugin = settings.plugin("hello")

    def node():
        # A fixed port: with port 0 Node takes another once its only worker is gone.
        env = {"WORKERS": "1", "PORT": str(servers.free_port())}
        return servers.node(settings, "node-cluster.js", env=env, pinned=False)

    sides = {
        "host": lambda: servers.host(settings, plugin, workers=1, pinned=False),
        "Node cluster": node,
    }
    sides = {name: (lambda begin=begin: respawn_ms(begin)) for name, begin in sides.items()}
    samples = compare.interleave(3 if settings.quick else 15, sides)
    return [timed("kill -9 of a worker to its successor's first answer", samples, 25)]


def extra_worker_mib(start, served):
    """PSS of the whole tree with 5 workers less that with 1, for each of the 4."""
    total = []
    for count in (1, 5):
        with start(count) as server:
            for _ in range(served * count):
                first_answer(server.port)
            time.sleep(1)
            total.append(sum(map(procfs.pss_kib, procfs.tree(server.pid))))
    return (total[1] - total[0]) / 4 / 1024


@cell("memory", "process")
def memory(settings):
    plugin = settings.plugin("hello")

    def host(count):
        return servers.host(settings, plugin, workers=count, pinned=False)

    def node(count):
        env = {"WORKERS": str(count)}
        return servers.node(settings, "node-cluster.js", env=env, pinned=False)

    peer = f"Node cluster {extra_worker_mib(node, 0):.1f} MiB"
    served = f"{extra_worker_mib(host, 100):.1f} MiB once each served 100 requests"
    row = compare.at_most("PSS of an extra idle worker", extra_worker_mib(host, 0), 8, "MiB", peer)
    row.ours = served
    return [row]


@cell("wakeups", "process")
def wakeups(settings):
    plugin = settings.plugin("hello")
    seconds = 3 if settings.quick else 10
    starts = {
        "host": lambda: servers.host(settings, plugin, workers=4),
        "Node cluster": lambda: servers.node(settings, "node-cluster.js", env={"WORKERS": "4"}),
        "wasmtime serve": lambda: servers.wasmtime_serve(settings, plugin),
    }
    counts = {}
    for name, start in starts.items():
        with start() as server:
            first_answer(server.port)
            time.sleep(2)
            groups = [workers(server), procfs.tree(server.pid)]
            before = [sum(map(procfs.wakeups, group)) for group in groups]
            time.sleep(seconds)
            after = [sum(map(procfs.wakeups, group)) for group in groups]
            counts[name] = [late - early for early, late in zip(before, after)]
    idle, everything = counts.pop("host")
    title = f"wake-ups of 4 idle workers in {seconds} s"
    peers = "; ".join(f"{name} {total}" for name, (_, total) in counts.items())
    row = compare.at_most(title, idle, 0, "", peers)
    row.ours = f"primary {everything - idle}"
    return [row]


@cell("balance", "process")
def balance(settings):
    """Never in real time: eight workers that take turns of 100 ms say nothing about balancing."""
    settings = replace(settings, realtime=False)
    plugin = settings.plugin("hello")
    rows = []
    requests = 2_000 if settings.quick else 10_000
    for policy in ("least-connections", "round-robin"):
        with ExitStack() as stack:
            flags = ("--balance", policy)
            server = stack.enter_context(servers.host(settings, plugin, *flags, workers=8, pinned=False))
            target = ("--addr", f"127.0.0.1:{server.port}")
            before = scoreboard.connections(server)
            report = load.client(settings, "http", *target, "--close", 32, "--requests", requests)
            time.sleep(0.3)
            after = scoreboard.connections(server)
        counts = [after[pid] - before.get(pid, 0) for pid in after]
        if sum(counts) < requests:
            raise RuntimeError(f"{policy}: workers count {sum(counts)} of {requests} connections")
        title = f"busiest / mean of 8 workers, {requests} short connections, {policy}"
        row = compare.at_most(title, max(counts) * len(counts) / sum(counts), 1.05, "")
        row.ours = f"{min(counts)}–{max(counts)} each; {report['failed']} failed"
        rows.append(row)
    return rows
