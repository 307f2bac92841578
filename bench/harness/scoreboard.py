"""How many connections each worker has served. `host status` says so; where that command is not to
be had, the counter is read from the worker's scoreboard page, which begins with it."""

import json
import os
import re
import struct
import subprocess

from . import procfs

MAPPING = re.compile(r"^([0-9a-f]+)-\S+ rw-s .*memfd:host-scoreboard", re.M)


def connections(server):
    """Connections finished, by worker."""
    return from_status(server) or from_memory(server)


def from_status(server):
    argv = [server.argv[0], "status", "--format", "json"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=5)
        status = json.loads(done.stdout)
        hosts = status if isinstance(status, list) else [status]
        mine = next(host for host in hosts if host.get("pid") == server.pid)
        return {w["id"]: w["connections_closed"] for w in mine["workers"]}
    except (OSError, ValueError, KeyError, TypeError, StopIteration, subprocess.TimeoutExpired):
        return {}


def from_memory(server):
    counts = {}
    for pid in server.below():
        match = MAPPING.search(procfs.read(pid, "maps"))
        if match:
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                address = int(match.group(1), 16)
                counts[pid] = struct.unpack("=Q", os.pread(memory.fileno(), 8, address))[0]
    return counts
