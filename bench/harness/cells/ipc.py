"""Messages between workers and primary. The programs of both sides print one line of JSON:
`rate` in messages a second, or for MODE=control `p99_us`, from a drain asked for to its arrival in the
worker while the worker floods. MODE, SIZE and SECONDS tell them what to do."""

import json
import re

from .. import compare, load, servers
from ..load import Sample
from . import cell

RESULT = re.compile(r"(\{.*\"(?:rate|p99_us)\".*\})")


def environment(settings, mode, size):
    return {"MODE": mode, "SIZE": str(size), "SECONDS": f"{settings.seconds:g}"}


def node_ipc(settings, mode, size):
    env = environment(settings, mode, size)
    server = servers.node(settings, "node-ipc.js", env=env, ready=None)
    return finished(settings, server)


def host_ipc(settings, mode, size):
    flags = ["--primary", settings.plugin("bench_ipc_primary"), "--exit-with-primary"]
    for key, value in environment(settings, mode, size).items():
        flags += ["--env", f"{key}={value}"]
    plugin = settings.plugin("bench_ipc_worker")
    return finished(settings, servers.host(settings, plugin, *flags, ready=None))


def finished(settings, server):
    """Both processes of a side share the server's core, and so the figure includes every switch."""
    with server:
        result = json.loads(server.wait_for(RESULT, settings.seconds + 30).group(1))
    return Sample(result.get("rate", 0), p99_us=result.get("p99_us", 0))


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
    p99 = [host_ipc(settings, "control", 1024).p99_us / 1e3 for _ in range(settings.rounds)]
    title = "p99 of a control message under that flood"
    return [*rows, compare.at_most(title, compare.median(p99), 10, "ms")]


@cell("ipc-peers", "peers")
def ipc_peers(settings):
    rows = []
    for mode, size in (("roundtrip", 64), ("flood", 1024)):
        samples = [node_ipc(settings, mode, size) for _ in range(settings.rounds)]
        rows.append(compare.Row(f"Node cluster {mode}, {size} B", compare.side(samples, "/s")))
    return rows


@cell("counter", "ipc")
def counter(settings):
    plugin = settings.plugin("counter")
    primary = ("--primary", settings.plugin("counter_primary"))
    with (
        servers.host(settings, plugin, *primary) as ours,
        servers.node(settings, "node-counter.js") as theirs,
    ):
        sides = {s.name: lambda s=s: load.wrk(settings, s) for s in (ours, theirs)}
        for server in (ours, theirs):
            load.wrk(settings, server, 1)
        samples = compare.interleave(settings.rounds, sides)
    pair = samples[ours.name], samples[theirs.name]
    title = "counter, a message each request"
    return [compare.rate_row(title, *pair, (ours.name, "Node"), 1.3)]
