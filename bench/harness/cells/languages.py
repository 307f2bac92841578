"""The same handler in every language, beside `wasmtime serve` with the same component."""

import json
import resource
import subprocess
import time
from contextlib import ExitStack

from .. import compare, load, servers
from ..settings import REPOSITORY, Skip
from . import cell
from .process import first_answer

REUSE = "--max-instance-reuse-count"
RUST = "target/wasm32-wasip2/release"
# The engine's `fetch` event can be answered once in an instance.
ONCE = "JavaScript, StarlingMonkey"
# Language · folder below plugins/ · ratio to reach where the host, not the guest, takes most of the time.
LANGUAGES = [
    ("Rust", RUST, 1.5),
    ("C", "c/build", 1.5),
    ("Zig", "zig/build", 1.5),
    ("Go", "go/build", 1),
    ("JavaScript, QuickJS", "js/build/quickjs", 1),
    (ONCE, "js/build", 1),
    ("Python", "python/build", 1),
]


def built(folder, name):
    path = REPOSITORY / "plugins" / folder / f"{name}.wasm"
    if not path.exists():
        raise Skip(f"plugins/{folder}/{name}.wasm is not built")
    return path


def compiled(argv):
    """Runs a compiler to its end; its CPU seconds, with those of its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def component(settings, plugin):
    """What `wasmtime` takes too: of a core module with component metadata the host alone makes a component."""
    if plugin.read_bytes()[4:8] != b"\x01\0\0\0":
        return plugin
    jco = REPOSITORY / "guest-sdk/js/node_modules/.bin/jco"
    if not jco.exists():
        raise Skip("jco, to make a component of a module, is not installed")
    made = settings.scratch / "component.wasm"
    compiled([jco, "new", plugin, "--wasi-reactor", "-o", made])
    return made


class Sides:
    """One component, compiled ahead for both."""

    def __init__(self, settings, plugin):
        self.settings = settings
        plugin = component(settings, plugin)
        self.ours = settings.scratch / "ours" / "hello.cwasm"
        self.theirs = settings.scratch / "theirs" / "hello.cwasm"
        for path in (self.ours, self.theirs):
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
        self.seconds = compiled([settings.host, "compile", plugin, "-o", self.ours])
        compiled([settings.wasmtime_path(), "compile", plugin, "-o", self.theirs])

    def host(self, *flags, **options):
        control = self.settings.scratch / "control.sock"
        return servers.host(self.settings, self.ours, "--control", control, *flags, **options)

    def wasmtime(self, *flags):
        flags = ("--allow-precompiled", *flags)
        return servers.wasmtime_serve(self.settings, self.theirs, *flags)

    def status(self):
        argv = [self.settings.host, "status", "--format", "json", "--control", self.settings.scratch / "control.sock"]
        done = subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True)
        return json.loads(done.stdout)["pools"][0]["workers"][0]


def measured(settings, sides, flags):
    with ExitStack() as stack:
        pair = [stack.enter_context(sides.host(*flags)), stack.enter_context(sides.wasmtime(*flags))]
        for server in pair:
            load.wrk(settings, server, 1)
        measures = {server.name: lambda server=server: load.wrk(settings, server) for server in pair}
        samples = compare.interleave(settings.rounds, measures)
    return [samples[server.name] for server in pair]


def instance_memory(sides):
    """Linear memory and tables of one instance that has served."""
    with sides.host(REUSE, "1000", "--idle-instance-timeout", "60s") as server:
        first_answer(server.port)
        worker = sides.status()
    return worker["guest_memory"] / max(worker["instances"], 1)


def start_ms(sides):
    with sides.host() as server:
        first_answer(server.port)
        return (time.perf_counter() - server.begun) * 1e3


def size(count):
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} KB"


def language(settings, name, folder, bar):
    plugin = built(folder, "hello")
    sides = Sides(settings, plugin)
    names = ("host", "wasmtime serve")
    fresh = measured(settings, sides, ())
    rows = [compare.rate_row(f"{name}, fresh", *fresh, names, bar)]
    if name != ONCE:
        reused = measured(settings, sides, (REUSE, "128"))
        rows.append(compare.rate_row(f"{name}, reused × 128", *reused, names, bar))
        cpu = [compare.median([sample.cpu_us for sample in side[0]]) for side in (fresh, reused)]
        figure = f"**{cpu[0] - cpu[1]:.0f} µs**"
        rows.append(compare.Row(f"{name}: an instance made and dropped", figure))
    return [*rows, compare.Row(f"{name}: the component", size(plugin.stat().st_size), ours=facts(settings, sides))]


def facts(settings, sides):
    starts = [start_ms(sides) for _ in range(3 if settings.quick else 7)]
    return (
        f"machine code {size(sides.ours.stat().st_size)}, compiled in {sides.seconds:.1f} s CPU; memory of an "
        f"instance {size(instance_memory(sides))}; start to first answer {compare.median(starts):.0f} ms"
    )


def register(name, folder, bar):
    short = name.lower().replace("javascript, ", "")

    @cell(f"hello-{short}", "languages")
    def hello(settings):
        return language(settings, name, folder, bar)


for entry in LANGUAGES:
    register(*entry)


def beside_node(settings, host, title):
    """The Counter program's requests, two workers on both sides. A compiler beside an interpreter: no bar."""
    with host as ours, servers.node(settings, "node-counter.js", env={"WORKERS": "2"}) as theirs:
        sides = {server.name: lambda server=server: load.wrk(settings, server) for server in (ours, theirs)}
        for server in (ours, theirs):
            load.wrk(settings, server, 1)
        samples = compare.interleave(settings.rounds, sides)
    return [compare.rate_row(title, samples[ours.name], samples[theirs.name], (ours.name, "Node cluster"), None)]


def ahead(settings, plugin):
    """Compiled ahead: on one core it would take longer than a server has to start."""
    made = settings.scratch / f"{plugin.stem}.cwasm"
    made.unlink(missing_ok=True)
    compiled([settings.host, "compile", plugin, "-o", made])
    return made


def counter_in_javascript(settings, folder):
    plugin, primary = (ahead(settings, built(folder, name)) for name in ("counter", "counter-primary"))
    quickjs = folder.endswith("quickjs")
    flags = (REUSE, "1000" if quickjs else "1", "--primary", primary)
    engine = "QuickJS" if quickjs else "StarlingMonkey"
    title = f"Counter in JavaScript on {engine}, two workers"
    return beside_node(settings, servers.host(settings, plugin, *flags, workers=2), title)


@cell("counter-quickjs", "languages")
def counter_quickjs(settings):
    return counter_in_javascript(settings, "js/build/quickjs")


@cell("counter-starlingmonkey", "languages")
def counter_starlingmonkey(settings):
    return counter_in_javascript(settings, "js/build")


@cell("node-script", "languages")
def node_script(settings):
    """One and the same script: run by Node, and made a component."""
    builder = REPOSITORY / "guest-sdk/js/build/main.js"
    if not (REPOSITORY / "guest-sdk/js/node_modules").exists():
        raise Skip("guest-sdk/js is not installed: make plugins-quickjs")
    made = settings.scratch / "node-counter.wasm"
    compiled([settings.program("node"), builder, servers.PEERS / "node-counter.js", "--node", "-o", made])
    made = ahead(settings, made)
    host = servers.host(settings, made, "--primary", made, "--env", "WORKERS=2", workers="manual")
    return beside_node(settings, host, "Counter as a Node script, unchanged, two workers")
