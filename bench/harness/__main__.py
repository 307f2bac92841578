"""Runs the cells and prints the Markdown table that bench/README.md carries."""

import argparse
import contextlib
import fcntl
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from . import compare, versions
from .cells import CELLS
from .settings import BENCH, REPOSITORY, Settings, Skip

WASMTIME = "48.0.8"
# A cell that hangs costs this many seconds, not the run; a quick one 60.
CELL_DEADLINE = 600
PATH_OPTIONS = ("--host", "--plugins", "--output", "--update-readme")


def parse(argv):
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: one round of 1 s")
    parser.add_argument("--rounds", type=int, help="rounds a cell, interleaved (3)")
    parser.add_argument("--seconds", type=float, help="length of one measurement (4)")
    parser.add_argument("--connections", type=int, default=32, help="of the HTTP load (32)")
    parser.add_argument("--only", default="", help="cells or groups, with commas between")
    parser.add_argument("--list", action="store_true", help="name the cells and leave")
    parser.add_argument("--host", default=REPOSITORY / "target/dist/host", type=pathlib.Path)
    parser.add_argument(
        "--plugins",
        default=REPOSITORY / "plugins/target/wasm32-wasip2/release",
        type=pathlib.Path,
        help="where the .wasm files of the example plugins are",
    )
    parser.add_argument("--priority", type=int, default=0, help="nice value of servers and load")
    parser.add_argument("--realtime", action="store_true", help="let nothing else run beside them (root)")
    parser.add_argument("--update-readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--output", type=pathlib.Path, help="write the table there as well")
    return parser.parse_args(argv)


def find_wasmtime():
    """The first wasmtime of the right version: $WASMTIME, PATH, our own."""
    for path in (os.environ.get("WASMTIME"), shutil.which("wasmtime"), BENCH / "peers/bin/wasmtime"):
        if path and pathlib.Path(path).exists():
            said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if WASMTIME in said.split():
                return pathlib.Path(path)
    return None


def chosen(only):
    wanted = [name for name in only.split(",") if name]
    known = {name for name in CELLS} | {group for group, _ in CELLS.values()}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.exit(f"bench/run: no cell or group {', '.join(unknown)} (--list names them)")
    groups = wanted or sorted({group for group, _ in CELLS.values()} - {"peers"})
    return {n: run for n, (group, run) in CELLS.items() if n in groups or group in groups}


def overdue(*unused):
    raise TimeoutError(f"the cell did not end within {CELL_DEADLINE} s")


def run_cells(settings, cells):
    """Every cell's rows; one that fails becomes a row that says why, and the others still run."""
    rows, failed = [], False
    signal.signal(signal.SIGALRM, overdue)
    # So that being stopped stops the servers too.
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit("bench/run: stopped"))
    for name, run in cells.items():
        begun = time.monotonic()
        signal.alarm(60 if settings.quick else CELL_DEADLINE)
        try:
            fresh = run(settings)
        except Skip as reason:
            fresh = [compare.Row(name, f"skipped: {reason}")]
        except Exception as error:
            traceback.print_exc()
            failed = True
            fresh = [compare.Row(name, f"error: {str(error).splitlines()[0]}", ok=False)]
        finally:
            signal.alarm(0)
        for row in fresh:
            verdict = {True: "met", False: "NOT MET", None: ""}[row.ok]
            parts = [row.figure, row.spread, row.bar, verdict, row.ours, row.peer, row.cpu]
            print(f"{row.cell}: {' | '.join(part for part in parts if part)}", flush=True)
        print(f"  ({name}: {time.monotonic() - begun:.0f} s)", file=sys.stderr)
        rows += fresh
    return rows, failed


def update_readme(text):
    readme = BENCH / "README.md"
    before, _, rest = readme.read_text().partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    readme.write_text(f"{before}<!-- results -->\n{text}\n{end}{after}")


@contextlib.contextmanager
def alone():
    """Two runs at once would measure each other: the second waits for the first."""
    path = pathlib.Path(tempfile.gettempdir()) / "host-bench.lock"
    with open(path, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("bench/run: waiting for another run to end", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main():
    options = parse(sys.argv[1:])
    if options.list:
        for name, (group, run) in CELLS.items():
            print(f"{group:8} {name:17} {(run.__doc__ or '').splitlines()[0] if run.__doc__ else ''}")
        return 0
    with alone(), tempfile.TemporaryDirectory(prefix="host-bench-") as scratch:
        settings = Settings(
            host=options.host.resolve(),
            plugins=options.plugins.resolve(),
            rounds=options.rounds or (1 if options.quick else 3),
            seconds=options.seconds or (1 if options.quick else 4),
            connections=options.connections,
            quick=options.quick,
            priority=options.priority,
            realtime=options.realtime,
            wasmtime=find_wasmtime(),
            scratch=pathlib.Path(scratch),
        )
        rows, failed = run_cells(settings, chosen(options.only))
        text = report(settings, rows)
    print("\n" + text)
    if options.output:
        options.output.write_text(text + "\n")
    if options.update_readme:
        update_readme(text)
    return 1 if failed else 0


def shown(arguments):
    """The command without paths, which are of this machine alone."""
    return [argument for argument in arguments if "/" not in argument and argument not in PATH_OPTIONS]


def report(settings, rows):
    command = shlex.join(["bench/run", *shown(sys.argv[1:])])
    how = (
        f"`{command}`: {settings.rounds} rounds of {settings.seconds:g} s a side, interleaved, medians; "
        f"server on core {min(settings.server_cpus)}, load on core {min(settings.load_cpus)}, "
        f"{settings.connections} connections. Absolute figures hold for this machine and moment only."
    )
    commands = "\n".join(f"    {command}" for command in settings.commands)
    parts = [compare.table(rows), how, versions.table(settings), "Commands, each pinned as said:", commands]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
