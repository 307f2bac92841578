"""Starts and stops servers: each in a session of its own, pinned, its output drained by a thread."""

import os
import pathlib
import queue
import re
import signal
import socket
import subprocess
import threading
import time

from . import procfs
from .settings import PEERS

READY = re.compile(r"(?:http|tcp)://127\.0\.0\.1:(\d+)")
DEADLINE = 60


class Server:
    """A running server; use it as a context manager."""

    def __init__(self, settings, argv, *, name=None, env=None, ready=READY, pinned=True):
        self.name = name or pathlib.Path(argv[0]).name
        self.argv = [str(argument) for argument in argv]
        settings.commands.setdefault(shown(self.argv, env))
        self.lines = queue.SimpleQueue()
        self.output = []
        self.port = None
        cpus = settings.server_cpus if pinned else settings.server_cpus | settings.load_cpus
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(env or {})},
            start_new_session=True,
            preexec_fn=lambda: place(cpus, settings),
        )
        threading.Thread(target=self.drain, daemon=True).start()
        if ready is not None:
            match = self.wait_for(ready)
            self.port = int(match.group(1)) if match.groups() else None

    @property
    def pid(self):
        return self.process.pid

    def drain(self):
        for line in self.process.stdout:
            self.output.append(line)
            self.lines.put(line)
        self.lines.put(None)

    def wait_for(self, pattern, deadline=DEADLINE):
        """The first match of `pattern` in a line not yet looked at."""
        end = time.monotonic() + deadline
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                self.stop()
                raise RuntimeError(f"{self.name}: {self.complaint()} (awaited {pattern.pattern})")
            match = pattern.search(line)
            if match:
                return match

    def complaint(self):
        """The line of its output that most likely says what went wrong."""
        lines = [line.strip() for line in self.output if line.strip()]
        errors = [line for line in lines if line.startswith(("error:", f"{self.name}:"))]
        return (errors or lines or ["no output"])[-1]

    def below(self):
        return procfs.tree(self.pid)[1:]

    def cpu_seconds(self):
        return procfs.cpu_seconds(procfs.tree(self.pid))

    def stop(self):
        pids = procfs.tree(self.pid)
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        for pid in pids[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()


def place(cpus, settings):
    """In the child, once it leads a session: where sessions are scheduled as groups, a nice value
    means nothing to the rest of the machine unless the group has it too."""
    os.sched_setaffinity(0, cpus)
    if settings.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(20))
    if settings.priority:
        os.setpriority(os.PRIO_PROCESS, 0, settings.priority)
        group = pathlib.Path("/proc/self/autogroup")
        if group.exists():
            group.write_text(str(settings.priority))


def shown(argv, env):
    """The command as a reader would type it: without directories and ports of the moment."""
    words = [f"{key}={value}" for key, value in (env or {}).items() if "/" not in value and key != "PORT"]
    words += [re.sub(r"(?<!:)(?<!/)/\S*/(?=\S)", "", argument) for argument in argv]
    return " ".join(words)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def host(settings, plugin, *flags, workers=1, name="host", **options):
    argv = [settings.host, "serve", "--plugin", plugin, "--workers", workers]
    env = {"XDG_CACHE_HOME": str(settings.scratch / "cache")}
    argv += ["--listen", "127.0.0.1:0", *flags]
    return Server(settings, argv, name=name, env=env, **options)


def wasmtime_serve(settings, plugin, *flags, name="wasmtime serve", **options):
    argv = [settings.wasmtime_path(), "serve", "-S", "cli", "--addr", "127.0.0.1:0", *flags, plugin]
    return Server(settings, argv, name=name, **options)


def node(settings, script, name=None, **options):
    argv = [settings.program("node"), PEERS / script]
    return Server(settings, argv, name=name or script.removesuffix(".js"), **options)


def plain_hyper(settings):
    return Server(settings, [settings.built("plain-hyper")], name="plain hyper")


def nginx_config(settings, directory, body, ports, workers=1):
    text = (PEERS / "nginx.conf").read_text()
    values = {"DIR": directory, "BODY": body, "WORKERS": workers}
    values |= {"PORT": ports[0], "H2PORT": ports[1]}
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    path = pathlib.Path(directory) / "nginx.conf"
    path.write_text(text)
    return path


def nginx(settings, body="hello world", workers=1, **options):
    directory = settings.scratch / "nginx"
    directory.mkdir(exist_ok=True)
    ports = (free_port(), free_port())
    path = nginx_config(settings, directory, body, ports, workers)
    argv = [settings.program("nginx"), "-c", path, "-p", directory, "-e", "stderr"]
    server = Server(settings, argv, name="nginx", ready=None, **options)
    server.ports, server.port, server.directory = ports, ports[0], directory
    wait_open(server)
    return server


def wait_open(server, deadline=DEADLINE):
    """For servers that print no ready line: until the port answers."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    server.stop()
    raise RuntimeError(f"{server.name}: port {server.port} never opened\n{''.join(server.output)}")
