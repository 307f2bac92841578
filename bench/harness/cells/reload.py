"""Reload under load: what a client that checks every answer sees, ours and the peers'."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

from .. import compare, load, procfs, servers
from ..settings import PEERS
from . import cell
from .process import workers

BODIES = ("hello world", "hullo world")
PAUSE = 0.1


class Host:
    """Swaps the plugin's file between two that differ in one letter, then SIGHUP."""

    name = "host"
    h2 = True

    def __init__(self, settings, *flags):
        plugin = settings.plugin("hello")
        text = plugin.read_bytes()
        if BODIES[0].encode() not in text:
            raise RuntimeError(f"{plugin}: no {BODIES[0]!r} in it to replace")
        self.versions = [text, text.replace(BODIES[0].encode(), BODIES[1].encode())]
        self.path = settings.scratch / "swapped.wasm"
        self.path.write_bytes(text)
        self.generation = 1
        self.server = servers.host(settings, self.path, *flags, workers=2, pinned=False)
        self.port = self.h2_port = self.server.port

    def reload(self, version):
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(self.versions[version])
        fresh.rename(self.path)
        self.generation += 1
        begun = time.perf_counter()
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_for(re.compile(rf"serving .* generation {self.generation}$"), 30)
        self.took = time.perf_counter() - begun

    def drained(self):
        """Until only the new generation's workers live."""
        end = time.monotonic() + 30
        old = re.compile(rf"\(gen (?!{self.generation}\))\d+\)")
        while any(old.search(procfs.title(pid)) for pid in self.server.below()):
            if time.monotonic() > end:
                raise RuntimeError("workers of an old generation live 30 s after a reload")
            time.sleep(0.005)


class Nginx:
    name = "nginx"
    h2 = True

    def __init__(self, settings):
        self.settings = settings
        self.server = servers.nginx(settings, BODIES[0], workers=2, pinned=False)
        self.port, self.h2_port = self.server.ports

    def reload(self, version):
        server = self.server
        servers.nginx_config(self.settings, server.directory, BODIES[version], server.ports, 2)
        old = set(server.below())
        self.server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 10
        # Not until the old workers are gone: some of them linger on a connection for minutes.
        while len(set(server.below()) - old) < 2 and time.monotonic() < end:
            time.sleep(0.005)

    def drained(self):
        pass


class Pm2:
    """pm2's cluster mode with two instances and `wait_ready`, as its documentation advises."""

    name = "pm2"
    h2 = False

    def __init__(self, settings):
        self.port = self.h2_port = servers.free_port()
        self.home = settings.scratch / "pm2"
        self.pm2 = settings.program("pm2")
        self.call("start", PEERS / "node-http.js", "--name", "bench", "-i", "2", "--wait-ready")
        self.server = self
        servers.wait_open(self)

    output = ()

    def call(self, *arguments, body=BODIES[0]):
        env = {"PM2_HOME": str(self.home), "PORT": str(self.port), "BODY": body + "\n"}
        argv = [self.pm2, *map(str, arguments)]
        subprocess.run(argv, env={**os.environ, **env}, check=True, capture_output=True)

    def reload(self, version):
        self.call("reload", "bench", "--update-env", body=BODIES[version])

    def drained(self):
        pass

    def stop(self):
        self.call("kill")
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def running(target):
    try:
        yield target
    finally:
        target.server.stop()


def mix(target, rate):
    """64 connections: half keep-alive, a quarter closing, a quarter HTTP/2 where it is spoken."""
    arguments = ["--addr", f"127.0.0.1:{target.port}", "--h2-addr", f"127.0.0.1:{target.h2_port}"]
    arguments += ["--keepalive", 32 if target.h2 else 48, "--close", 16]
    arguments += ["--h2", 16] if target.h2 else []
    arguments += ["--allow", BODIES[0], "--allow", BODIES[1]]
    return [*arguments, "--rate", rate] if rate else arguments


def under_load(settings, target, reloads, rate, killer=None):
    """The client's report and how long each reload took."""
    took = []
    with load.CheckingLoad(settings, *mix(target, rate)) as client:
        time.sleep(2)
        for number in range(1, reloads + 1):
            version = number % 2
            client.say(f"also {BODIES[version]}")
            client.say("phase reload")
            begun = time.perf_counter()
            target.reload(version)
            took.append(time.perf_counter() - begun)
            target.drained()
            client.say("phase steady")
            if killer is None and isinstance(target, Host):
                client.say(f"allow {BODIES[version]}")
            time.sleep(PAUSE)
            if killer:
                killer(target.server)
        return client.finish(), took


def summary(report, took):
    """Failures first: they are what the cell is about."""
    silent, announced = report["keepalive_closed_silently"], report["keepalive_close_announced"]
    text = f"{report['failed']} failed, {report['refused']} refused, {silent + announced} closed"
    faults = ", ".join(f"{count} {name}" for name, count in report["faults"].items())
    if announced:
        text += f" ({announced} announced)"
    text += f" of {report['ok']} requests"
    text += f"; a reload takes {compare.median(took) * 1e3:.0f} ms"
    return text + (f" [{faults}]" if faults else "")


def lost(report):
    closed = report["keepalive_closed_silently"] + report["keepalive_close_announced"]
    return report["failed"] + report["refused"] + closed


# Load that leaves a core some room, so that latency says something about the reload itself.
PACED = 4000


@cell("reload", "reload")
def reload(settings):
    reloads = 5 if settings.quick else 100
    with running(Host(settings)) as target:
        report, took = under_load(settings, target, reloads, 0)
    title = f"{reloads} reloads under full load: failed + refused + closed"
    row = compare.at_most(title, lost(report), 0, "", "")
    row.ours = summary(report, took)
    ready = compare.at_most("a cached reload, full load", compare.median(took) * 1e3, None, "ms")
    return [row, ready, *paced(settings, min(reloads, 30))]


def paced(settings, reloads):
    with running(Host(settings)) as target:
        report, took = under_load(settings, target, reloads, PACED)
    steady, during = (report["phases"][name]["p99_us"] for name in ("steady", "reload"))
    detail = f"{during / 1e3:.2f} ms : {steady / 1e3:.2f} ms"
    title = f"p99 during reload / steady, {PACED} requests/s"
    latency = compare.at_most(title, during / steady, 3, "")
    latency.ours = detail
    title = f"a cached reload ready, {PACED} requests/s"
    ready = compare.at_most(title, compare.median(took) * 1e3, 100, "ms")
    ready.ours = summary(report, took)
    return [latency, ready]


@cell("reload-kill", "reload")
def reload_kill(settings):
    """A random worker killed after each reload; only what it was answering may fail."""
    killed = []

    def kill(server):
        time.sleep(0.9)
        victim = random.choice(workers(server))
        killed.append(victim)
        os.kill(victim, signal.SIGKILL)

    with running(Host(settings)) as target:
        report, took = under_load(settings, target, 3 if settings.quick else 30, 0, kill)
    each = report["failed"] / len(killed)
    # 64 connections over two workers: no more than half of them can be in flight in the killed one.
    row = compare.at_most("failed requests for each worker killed", each, 33, "")
    row.ours = summary(report, took)
    return [row]


def peer_reload(settings, start, reloads):
    reloads = 3 if settings.quick else reloads
    with running(start(settings)) as target:
        report, took = under_load(settings, target, reloads, 0)
    title = f"{start.name}: {reloads} reloads under full load: failed + refused + closed"
    return [compare.Row(title, f"**{lost(report)}**", peer=summary(report, took))]


@cell("reload-nginx", "reload")
def reload_nginx(settings):
    return peer_reload(settings, Nginx, 100)


@cell("reload-pm2", "reload")
def reload_pm2(settings):
    """Few, because each takes seconds."""
    return peer_reload(settings, Pm2, 10)


# The last thousand lines of log and of events are kept, and have filled up after so many.
FILL = 400


def holdings(target):
    """What the primary holds, once the last reload is over."""
    pid = target.server.pid
    time.sleep(0.5)
    links = procfs.links(pid)
    scratch = target.path.parent
    return {
        "KiB resident": procfs.rss_kib(pid),
        "descriptors": len(links),
        "memfds": sum("memfd:" in link for link in links),
        "zombies": sum(procfs.state(child) == "Z" for child in procfs.children(pid)),
        "processes": len(procfs.tree(pid)),
        "files": sum(len(files) for _, _, files in os.walk(scratch)) + len(os.listdir("/dev/shm")),
    }


@cell("reload-leak", "reload")
def reload_leak(settings):
    fill, reloads = (10, 50) if settings.quick else (FILL, 1000)
    seen = []
    with running(Host(settings)) as target:
        for number in range(1, fill + reloads + 1):
            target.reload(number % 2)
            target.drained()
            if number in (fill, fill + reloads):
                seen.append(holdings(target))
    before, after = seen
    growth = after["KiB resident"] / before["KiB resident"]
    row = compare.at_most(f"primary's RSS after {reloads} reloads more / before", growth, 1.02, "")
    row.ours = ", ".join(f"{before[name]} → {after[name]} {name}" for name in before)
    row.ok = row.ok and all(after[name] <= before[name] for name in list(before)[1:]) and not after["zombies"]
    return [row]
