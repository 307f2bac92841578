"""Load generators, pinned to the load's core."""

import json
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass

from .servers import place, shown


@dataclass
class Sample:
    """One measured stretch: what got done each second and what it cost the server."""

    rate: float
    cpu_us: float = 0.0
    p99_us: float = 0.0
    errors: int = 0


UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


def command(settings, argv, **options):
    argv = [str(argument) for argument in argv]
    settings.commands.setdefault(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", shown(argv, None)))
    return subprocess.Popen(
        argv,
        text=True,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: place(settings.load_cpus, settings),
        **options,
    )


def output(settings, argv):
    process = command(settings, argv)
    try:
        text, _ = process.communicate()
    finally:
        process.kill()
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit {process.returncode}\n{text}")
    return text


def wrk_argv(settings, url, seconds, close=False):
    argv = [settings.program("wrk"), "-t1", f"-c{settings.connections}", f"-d{seconds:g}s", "--latency"]
    return [*argv, *(["-H", "Connection: close"] if close else []), url]


def wrk(settings, server, seconds=None, close=False, path="/"):
    """wrk takes whole seconds only."""
    seconds = max(1, round(seconds or settings.seconds))
    url = f"http://127.0.0.1:{server.port}{path}"
    before = server.cpu_seconds()
    text = output(settings, wrk_argv(settings, url, seconds, close))
    cpu = server.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    if not requests:
        raise RuntimeError(f"{server.name} answered nothing\n{''.join(server.output[-20:])}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", text).groups()
    errors = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    broken = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors += sum(map(int, broken.groups())) if broken else 0
    return Sample(rate, cpu * 1e6 / max(requests, 1), float(value) * UNITS[unit], errors)


def client(settings, *arguments):
    """Runs our own checking client to its end; gives its report."""
    return json.loads(output(settings, [settings.built("bench-client"), *arguments]))


class CheckingLoad:
    """Our client in the background, steered through its stdin."""

    def __init__(self, settings, *arguments):
        argv = [settings.built("bench-client"), "http", *arguments]
        self.process = command(settings, argv, stdin=subprocess.PIPE, bufsize=1)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self):
        self.say("stop")
        text, _ = self.process.communicate(timeout=30)
        return json.loads(text.splitlines()[-1])

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()


def h2load(settings, server):
    """HTTP/2 with prior knowledge, eight requests under way on each of a few connections."""
    seconds = max(1, round(settings.seconds))
    argv = [settings.program("h2load"), "-t1", "-c8", "-m8", "-D", seconds, "--warm-up-time=0"]
    port = getattr(server, "ports", (0, server.port))[1]
    before = server.cpu_seconds()
    text = output(settings, [*argv, f"http://127.0.0.1:{port}/"])
    cpu = server.cpu_seconds() - before
    rate = float(re.search(r"finished in .*?, ([\d.]+) req/s", text).group(1))
    done, bad = re.search(r"(\d+) succeeded, (\d+) failed", text).groups()
    return Sample(rate, cpu * 1e6 / max(int(done), 1), errors=int(bad))


PACE = 0.002
ASKED = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"


def paced(settings, port, seconds):
    """One client on one connection at a modest rate, in this process: what a user would notice."""
    waits, errors, stream = [], 0, None
    mine = os.sched_getaffinity(0)
    # Beside the worker it asks nobody competes with it for a CPU but that worker.
    place(settings.server_cpus, settings)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        try:
            stream = stream or socket.create_connection(("127.0.0.1", port), 5)
            stream.sendall(ASKED)
            answer = stream.recv(4096)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise OSError(f"answer {answer[:40]!r}")
        except OSError:
            errors, stream = errors + 1, None
        waits.append(time.perf_counter() - begun)
        time.sleep(PACE)
    os.sched_setaffinity(0, mine)
    waits.sort()
    return Sample(len(waits) / seconds, p99_us=waits[int(len(waits) * 0.99)] * 1e6, errors=errors)
