"""Everything a reader needs to judge or repeat a run."""

import os
import platform
import re
import subprocess

from .settings import REPOSITORY


def first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "not installed"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def cpu_model():
    with open("/proc/cpuinfo") as info:
        match = re.search(r"^model name\s*:\s*(.*)", info.read(), re.M)
    return match.group(1) if match else platform.machine()


def table(settings):
    commit = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    rows = {
        "host": f"{first_line([str(settings.host), '--version'])} at {first_line(commit)}",
        "rustc": first_line(["rustc", "--version"]),
        "wasmtime": first_line([str(settings.wasmtime or "wasmtime"), "--version"]),
        "node": first_line(["node", "--version"]),
        "nginx": first_line(["nginx", "-v"]),
        "slowhttptest": first_line(["slowhttptest", "-h"]),
        "wrk": first_line(["wrk", "--version"]),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "CPU": f"{cpu_model()}, {os.cpu_count()} online",
    }
    return "\n".join(f"- {name}: {text}" for name, text in rows.items())
