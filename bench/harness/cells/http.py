"""Requests per second against each peer, the same component or the same answer on both sides."""

from contextlib import ExitStack

from .. import compare, load, servers
from . import cell

REUSE = "--max-instance-reuse-count"
# The flag's way of saying that an instance is never retired.
UNLIMITED = "1000000000"
WARM_UP = 1


def against(settings, title, ours, peers, bars, close=False):
    """`ours` and `peers` start servers; `bars` has (bar, aim) for each peer."""
    rows = []
    with ExitStack() as stack:
        up = [stack.enter_context(start()) for start in [ours, *peers]]
        for server in up:
            load.wrk(settings, server, WARM_UP, close)
        sides = {s.name: lambda s=s: load.wrk(settings, s, close=close) for s in up}
        samples = compare.interleave(settings.rounds, sides)
    for server, (bar, aim) in zip(up[1:], bars):
        names = (up[0].name, server.name)
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


@cell("peers", "peers")
def peers(settings):
    """The peers among themselves: a smoke test of the harness and a baseline, no host needed."""
    starts = [
        lambda: servers.plain_hyper(settings),
        lambda: servers.nginx(settings),
        lambda: servers.node(settings, "node-http.js"),
    ]
    rows = against(settings, "keep-alive", *split(starts), [(None, None)] * 2)
    for name, reuse in (("hello", "1"), ("hello", "128"), ("hello_async", "128")):
        plugin = settings.plugin(name)
        title = f"wasmtime serve {name} × {reuse}"
        starts = [
            lambda: servers.wasmtime_serve(settings, plugin, REUSE, reuse, name=title),
            lambda: servers.node(settings, "node-http.js"),
        ]
        rows += against(settings, "keep-alive", *split(starts), [(None, None)])
    starts = [
        lambda: servers.node(settings, "node-cluster.js", env={"WORKERS": "2"}),
        lambda: servers.wasmtime_serve(settings, settings.plugin("hello")),
    ]
    return rows + against(settings, "closing", *split(starts), [(None, None)], close=True)


def split(starts):
    return starts[0], starts[1:]
