"""Messages between workers and primary. The programs of both sides, told by MODE, SIZE and SECONDS what
to do, end with one line of JSON; `rate` in it is messages a second."""

import json
import re

from .. import compare, load, servers
from ..load import Sample
from . import cell
from .http import REUSE

RESULT = re.compile(r"(\{.*\"(?:rate|samples)\".*\})")
ASKED = re.compile(r"drain (\d+) (\d+)$", re.M)
REACHED = re.compile(r"drained (\d+) (\d+)$", re.M)


def environment(settings, mode, size):
    return {"MODE": mode, "SIZE": str(size), "SECONDS": f"{settings.seconds:g}"}


def node_ipc(settings, mode, size):
    env = environment(settings, mode, size)
    server = servers.node(settings, "node-ipc.js", env=env, ready=None)
    return finished(settings, server)


def host_programs(settings, env, workers=1):
    flags = ["--primary", settings.plugin("bench_ipc_primary"), "--exit-with-primary"]
    for key, value in env.items():
        flags += ["--env", f"{key}={value}"]
    plugin = settings.plugin("bench_ipc_worker")
    return servers.host(settings, plugin, *flags, workers=workers, ready=None)


def host_ipc(settings, mode, size):
    return finished(settings, host_programs(settings, environment(settings, mode, size)))


def finished(settings, server):
    """Both processes of a side share the server's core, and so the figure includes every switch."""
    with server:
        result = json.loads(server.wait_for(RESULT, settings.seconds + 30).group(1))
    return Sample(result["rate"])


def drain_ms(settings):
    """From the primary program's call to the drain's arrival in a worker that floods, by both clocks."""
    samples = 10 if settings.quick else 100
    env = environment(settings, "control", 1024) | {"SAMPLES": str(samples)}
    with host_programs(settings, env, workers="manual") as server:
        server.wait_for(RESULT, 60)
        text = "".join(server.output)
    asked = {worker: int(time) for worker, time in ASKED.findall(text)}
    reached = {worker: int(time) for worker, time in REACHED.findall(text)}
    if len(reached) < samples:
        raise RuntimeError(f"{len(reached)} of {samples} workers said that their drain came")
    return sorted((reached[worker] - asked[worker]) / 1e3 for worker in reached)


@cell("ipc", "ipc")
def ipc(settings):
    settings.plugin("bench_ipc_primary")
    rows = []
    for mode, size, title in (
        ("roundtrip", 64, "round trip worker → primary → worker, 64 B"),
        ("flood", 1024, "one-way flood, 1 KiB"),
    ):
        sides = {
            "host": lambda: host_ipc(settings, mode, size),
            "Node": lambda: node_ipc(settings, mode, size),
        }
        samples = compare.interleave(settings.rounds, sides)
        rows.append(compare.rate_row(title, samples["host"], samples["Node"], ("host", "Node"), 2))
    waits = drain_ms(settings)
    p99 = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
    title = f"p99 of {len(waits)} drains under that flood"
    spread = f"{waits[0]:.2f}–{waits[-1]:.2f}"
    return [*rows, compare.at_most(title, p99, 10, "ms", spread=spread)]


@cell("ipc-peers", "peers")
def ipc_peers(settings):
    rows = []
    for mode, size in (("roundtrip", 64), ("flood", 1024)):
        samples = [node_ipc(settings, mode, size) for _ in range(settings.rounds)]
        rows.append(compare.Row(f"Node cluster {mode}, {size} B", compare.side(samples, "/s")))
    return rows


@cell("counter", "ipc")
def counter(settings):
    """Node's instance serves every request, so ours is compared reused as well as fresh."""
    plugin = settings.plugin("counter")
    primary = ("--primary", settings.plugin("counter_primary"))
    with (
        servers.host(settings, plugin, *primary) as fresh,
        servers.host(settings, plugin, *primary, REUSE, "128", name="host, reused") as reused,
        servers.node(settings, "node-counter.js") as theirs,
    ):
        every = (fresh, reused, theirs)
        sides = {s.name: lambda s=s: load.wrk(settings, s) for s in every}
        for server in every:
            load.wrk(settings, server, 1)
        samples = compare.interleave(settings.rounds, sides)
    rows = []
    for server, kind in ((fresh, "fresh instances"), (reused, "reused × 128")):
        pair = samples[server.name], samples[theirs.name]
        title = f"counter, a message each request, {kind}"
        rows.append(compare.rate_row(title, *pair, ("host", "Node"), 1.3))
    return rows
