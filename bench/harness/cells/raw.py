"""Raw TCP: the echo plugin against Node's `net`, and what one more connection costs a worker."""

from contextlib import ExitStack

from .. import compare, load, procfs, servers
from ..load import Sample
from . import cell
from .process import workers

CONNECTIONS = 64


def echo(settings, server, size, exchanges=0):
    arguments = ["--addr", f"127.0.0.1:{server.port}", "--connections", CONNECTIONS]
    arguments += ["--size", size, "--exchanges", exchanges, "--duration", settings.seconds]
    before = server.cpu_seconds()
    report = load.client(settings, "echo", *arguments)
    cpu = server.cpu_seconds() - before
    return Sample(report["rate"], cpu * 1e6 / max(report["ok"], 1), report["p99_us"])


@cell("echo", "raw")
def echo_tcp(settings):
    plugin = settings.plugin("echo_tcp")
    rows = []
    with ExitStack() as stack:
        ours = stack.enter_context(servers.host(settings, plugin))
        theirs = stack.enter_context(servers.node(settings, "node-net-echo.js"))
        for size in (64, 16384):
            sides = {s.name: lambda s=s: echo(settings, s, size) for s in (ours, theirs)}
            samples = compare.interleave(settings.rounds, sides)
            pair = samples[ours.name], samples[theirs.name]
            title = f"echo-tcp, {CONNECTIONS} connections, {size} B"
            rows.append(compare.rate_row(title, *pair, (ours.name, theirs.name), 1))
    return rows


@cell("connection-start", "raw")
def connection_start(settings):
    """The worker's CPU for a connection with one exchange, less that of an exchange alone: an upper
    bound of starting the handler, for accepting the descriptor and closing it are in it."""
    plugin = settings.plugin("echo_tcp")
    costs = []
    with servers.host(settings, plugin) as server:
        for _ in range(settings.rounds):
            once, kept = (worker_us(settings, server, n) for n in (1, 0))
            costs.append(once - kept)
    spread = f"{min(costs):.1f}–{max(costs):.1f}"
    title = "connection-handler start, worker CPU"
    return [compare.at_most(title, compare.median(costs), 40, "µs", spread=spread)]


def worker_us(settings, server, exchanges):
    pids = workers(server)
    before = procfs.cpu_seconds(pids)
    arguments = ["--addr", f"127.0.0.1:{server.port}", "--connections", CONNECTIONS]
    arguments += ["--exchanges", exchanges, "--duration", settings.seconds]
    report = load.client(settings, "echo", *arguments)
    return (procfs.cpu_seconds(pids) - before) * 1e6 / report["ok"]
