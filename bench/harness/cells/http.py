"""Requests per second against each peer, the same component or the same answer on both sides."""

from contextlib import ExitStack

from .. import compare, load, servers
from ..settings import Skip
from . import cell

REUSE = "--max-instance-reuse-count"
# The flag's way of saying that an instance is never retired.
UNLIMITED = "1000000000"
WARM_UP = 1


def against(settings, title, ours, peers, bars, close=False):
    """`ours` and `peers` start servers; `bars` has (bar, aim) for each peer."""
    rows, up = [], []
    with ExitStack() as stack:
        first = stack.enter_context(ours())
        for start, bar in zip(peers, bars):
            try:
                up.append((stack.enter_context(start()), bar))
            except Skip as reason:
                rows.append(compare.Row(title, f"a peer is skipped: {reason}"))
        servers_up = [first, *(server for server, _ in up)]
        for server in servers_up:
            load.wrk(settings, server, WARM_UP, close)
        sides = {s.name: lambda s=s: load.wrk(settings, s, close=close) for s in servers_up}
        samples = compare.interleave(settings.rounds, sides)
    for server, (bar, aim) in up:
        names = (first.name, server.name)
        pair = samples[names[0]], samples[names[1]]
        rows.append(compare.rate_row(title, *pair, names, bar, aim))
    return rows


@cell("fresh", "http")
def fresh(settings):
    plugin = settings.plugin("hello")
    return against(
        settings,
        "fresh instance each request",
        lambda: servers.host(settings, plugin),
        [lambda: servers.wasmtime_serve(settings, plugin)],
        [(4, 5)],
    )


@cell("reuse128", "http")
def reuse128(settings):
    plugin = settings.plugin("hello")
    return against(
        settings,
        "reused × 128",
        lambda: servers.host(settings, plugin, REUSE, "128"),
        [lambda: servers.wasmtime_serve(settings, plugin, REUSE, "128")],
        [(2, 2.5)],
    )


@cell("p3", "http")
def p3(settings):
    plugin = settings.plugin("hello_async")
    return against(
        settings,
        "wasi:http 0.3, defaults",
        lambda: servers.host(settings, plugin),
        [lambda: servers.wasmtime_serve(settings, plugin)],
        [(2, 3)],
    )


@cell("unlimited", "http")
def unlimited(settings):
    plugin = settings.plugin("hello")
    return against(
        settings,
        "reused without limit",
        lambda: servers.host(settings, plugin, REUSE, UNLIMITED),
        [
            lambda: servers.node(settings, "node-http.js"),
            lambda: servers.plain_hyper(settings),
            lambda: servers.nginx(settings),
        ],
        [(1.3, None), (0.65, None), (None, None)],
    )


@cell("close", "http")
def close(settings):
    plugin = settings.plugin("hello")
    return against(
        settings,
        "new connection each request",
        lambda: servers.host(settings, plugin, workers=2),
        [
            lambda: servers.node(settings, "node-cluster.js", env={"WORKERS": "2"}),
            lambda: servers.wasmtime_serve(settings, plugin),
        ],
        [(1, None), (1, None)],
        close=True,
    )


@cell("h2", "http")
def h2(settings):
    """HTTP/2, which neither `wasmtime serve` nor Node's `http` speaks."""
    plugin = settings.plugin("hello")
    with (
        servers.host(settings, plugin, REUSE, UNLIMITED) as ours,
        servers.nginx(settings) as theirs,
    ):
        sides = {s.name: lambda s=s: load.h2load(settings, s) for s in (ours, theirs)}
        samples = compare.interleave(settings.rounds, sides)
    pair = samples[ours.name], samples[theirs.name]
    return [compare.rate_row("HTTP/2, reused without limit", *pair, (ours.name, theirs.name), None)]


@cell("peers", "peers")
def peers(settings):
    """The peers against one Node process: a smoke test of the harness and a baseline without host."""

    def node():
        return servers.node(settings, "node-http.js")

    starts = [lambda: servers.plain_hyper(settings), lambda: servers.nginx(settings)]
    for name, reuse in (("hello", "1"), ("hello", "128"), ("hello_async", "128")):
        starts.append(lambda name=name, reuse=reuse: reusing(settings, name, reuse))
    rows = against(settings, "keep-alive", node, starts, [(None, None)] * len(starts))
    starts = [
        lambda: servers.node(settings, "node-cluster.js", env={"WORKERS": "2"}),
        lambda: servers.wasmtime_serve(settings, settings.plugin("hello")),
        lambda: servers.nginx(settings),
        lambda: servers.plain_hyper(settings),
    ]
    bars = [(None, None)] * len(starts)
    return rows + against(settings, "closing", node, starts, bars, close=True)


def reusing(settings, name, count):
    title = f"wasmtime serve {name} × {count}"
    return servers.wasmtime_serve(settings, settings.plugin(name), REUSE, count, name=title)
