"""What one run of the harness may vary, and where it finds programs and plugins."""

import os
import pathlib
import shutil
from dataclasses import dataclass, field, replace

BENCH = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = BENCH.parent
PEERS = BENCH / "peers-src"


class Skip(Exception):
    """A cell that cannot run here; the text says what is missing."""


def split_cpus():
    """The server's core and the load's: the last and the first this process may use."""
    cpus = sorted(os.sched_getaffinity(0))
    return {cpus[-1]}, {cpus[0]}


@dataclass
class Settings:
    host: pathlib.Path
    plugins: pathlib.Path
    rounds: int = 3
    seconds: float = 4.0
    connections: int = 32
    quick: bool = False
    priority: int = 0
    realtime: bool = False
    wasmtime: pathlib.Path | None = None
    scratch: pathlib.Path = pathlib.Path("/tmp")
    # Every command that was run, in order, each once: the keys.
    commands: dict = field(default_factory=dict)
    server_cpus: set = field(default_factory=lambda: split_cpus()[0])
    load_cpus: set = field(default_factory=lambda: split_cpus()[1])

    def plugin(self, name):
        path = self.plugins / f"{name}.wasm"
        if not path.exists():
            raise Skip(f"{name}.wasm is not built")
        return path

    def program(self, name):
        path = shutil.which(name)
        if path is None and (BENCH / "peers/node_modules/.bin" / name).exists():
            path = BENCH / "peers/node_modules/.bin" / name
        if path is None:
            raise Skip(f"{name} is not installed")
        return str(path)

    def built(self, name):
        path = BENCH / "target/release" / name
        if not path.exists():
            raise Skip(f"{path} is not built")
        return str(path)

    def without_limits(self):
        path = BENCH / "target/host-without-limits"
        if not path.exists():
            raise Skip(f"{path} is not built")
        return replace(self, host=path)

    def wasmtime_path(self):
        if self.wasmtime is None:
            raise Skip("no wasmtime of the host's version")
        return str(self.wasmtime)
