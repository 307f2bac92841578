"""Child processes: one start after the other, a gigabyte through `cat`, and what ten thousand starts leave.
Both sides may use both cores, as whoever starts programs does."""

import time
import urllib.request

from .. import compare, procfs, servers
from ..compare import Row
from ..load import Sample
from . import cell


def host(settings):
    grants = {
        "nothing": settings.plugin("bench_nothing"),
        "wasm-cat": settings.plugin("bench_cat"),
        "cat": "/bin/cat",
        "true": "/bin/true",
    }
    flags = ["--request-timeout", "0"]
    for name, path in grants.items():
        flags += ["--program", f"{name}={path}"]
    return servers.host(settings, settings.plugin("bench_children"), *flags, pinned=False)


def node(settings):
    return servers.node(settings, "node-children.js", pinned=False)


def nanoseconds(server, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=600) as answer:
        return int(answer.read())


def ratio_row(title, ours, theirs, bar):
    """How much of the peer's time ours takes."""
    mine, other = compare.median(ours), compare.median(theirs)
    rounds = [a / b for a, b in zip(ours, theirs)]
    return Row(
        cell=title,
        figure=f"**{mine / other:.2f}**",
        bar=f"≤ {bar:g}",
        ok=mine <= bar * other,
        spread=f"{min(rounds):.2f}–{max(rounds):.2f}",
        ours=f"{mine / 1e6:.2f} ms",
        peer=f"{other / 1e6:.2f} ms",
    )


@cell("children", "children")
def start(settings):
    """Start to end, output collected; Node's fork as its manual has it."""
    count = 20 if settings.quick else 200
    with host(settings) as ours, node(settings) as theirs:
        sides = {
            "wasm": lambda: nanoseconds(ours, f"/spawn/nothing/{count}"),
            "native": lambda: nanoseconds(ours, f"/spawn/true/{count}"),
            "execFile": lambda: nanoseconds(theirs, f"/spawn/true/{count}"),
            "fork": lambda: nanoseconds(theirs, f"/spawn/fork/{max(5, count // 10)}"),
        }
        for warm in sides.values():
            warm()
        times = compare.interleave(settings.rounds, sides)
    hello = "Wasm hello, start to end"
    return [
        ratio_row(f"{hello} / Node fork of an empty script", times["wasm"], times["fork"], 0.5),
        ratio_row(f"{hello} / Node execFile('/bin/true')", times["wasm"], times["execFile"], 1.5),
        ratio_row("native /bin/true / Node execFile", times["native"], times["execFile"], 1.2),
    ]


def peak_mib(server, path):
    """The rate of a flow, and what the host's own processes grew by at their peaks."""
    own = [pid for pid in procfs.tree(server.pid) if "host: " in procfs.title(pid)]
    before = sum(map(procfs.rss_kib, own))
    nanos = nanoseconds(server, path)
    after = sum(map(procfs.peak_kib, own))
    return nanos, (after - before) / 1024


@cell("children-flow", "children")
def flow(settings):
    mib = 64 if settings.quick else 1024
    rows = []
    with host(settings) as ours, node(settings) as theirs:
        grown = {}

        def through(name):
            nanos, growth = peak_mib(ours, f"/flow/{name}/{mib}")
            grown[name] = max(growth, grown.get(name, 0))
            return Sample(mib / (nanos / 1e9))

        sides = {
            "cat": lambda: through("cat"),
            "wasm-cat": lambda: through("wasm-cat"),
            "Node": lambda: Sample(mib / (nanoseconds(theirs, f"/flow/cat/{mib}") / 1e9)),
        }
        nanoseconds(ours, "/flow/cat/16"), nanoseconds(ours, "/flow/wasm-cat/16")
        samples = compare.interleave(settings.rounds, sides)
    for name in ("cat", "wasm-cat"):
        title = f"{mib} MiB through {name}"
        names = ("host", "Node with cat")
        row = compare.rate_row(title, samples[name], samples["Node"], names, 0.8, unit=" MiB/s")
        rows += [row, compare.at_most(f"{title}: growth of the host", grown[name], 16, "MiB")]
    return rows


def holdings(server):
    """Processes, descriptors and resident MiB of the host, once the last child is gone."""
    time.sleep(0.5)
    everybody = procfs.tree(server.pid)
    rss = sum(map(procfs.rss_kib, everybody)) / 1024
    return len(everybody), sum(procfs.descriptors(pid) for pid in everybody), rss


@cell("children-leak", "children")
def leak(settings):
    count = 100 if settings.quick else 5000
    with host(settings) as server:
        for name in ("nothing", "true"):
            nanoseconds(server, f"/spawn/{name}/{count // 5}")
        before = holdings(server)
        for name in ("nothing", "true"):
            nanoseconds(server, f"/spawn/{name}/{count}")
        after = holdings(server)
    title = f"after {2 * count} starts: more"
    words = ("processes", "descriptors")
    rows = [compare.at_most(f"{title} {w}", a - b, 0, "") for w, a, b in zip(words, after, before)]
    return [*rows, compare.at_most(f"{title} resident memory", after[2] - before[2], 2, "MiB")]
