"""What the kernel knows about a server's processes."""

import os
import pathlib
import re

TICKS = os.sysconf("SC_CLK_TCK")


def read(pid, name):
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def children(pid):
    found = []
    for task in list_tasks(pid):
        found += [int(child) for child in read(pid, f"task/{task}/children").split()]
    return found


def tree(pid):
    """The process and everything below it, itself first."""
    below = [process for child in children(pid) for process in tree(child)]
    return [pid, *below]


def list_entries(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def list_tasks(pid):
    return list_entries(f"/proc/{pid}/task")


def cpu_seconds(pids):
    """User and system time, ended threads included."""
    total = 0
    for pid in pids:
        stat = read(pid, "stat")
        if stat:
            fields = stat.rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def title(pid):
    return read(pid, "cmdline").replace("\0", " ").strip()


def pss_kib(pid):
    match = re.search(r"^Pss:\s+(\d+)", read(pid, "smaps_rollup"), re.M)
    return int(match.group(1)) if match else 0


def rss_kib(pid):
    match = re.search(r"^VmRSS:\s+(\d+)", read(pid, "status"), re.M)
    return int(match.group(1)) if match else 0


def peak_kib(pid):
    match = re.search(r"^VmHWM:\s+(\d+)", read(pid, "status"), re.M)
    return int(match.group(1)) if match else 0


def links(pid):
    """Where its descriptors lead."""
    found = []
    for fd in list_entries(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return found


def descriptors(pid):
    return len(list_entries(f"/proc/{pid}/fd"))


def state(pid):
    """One letter; `Z` is a zombie."""
    return read(pid, "stat").rpartition(")")[2].strip()[:1]


def wakeups(pid):
    """How often any thread of the process went to sleep by itself, which is how often one woke."""
    total = 0
    for task in list_tasks(pid):
        match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", read(pid, f"task/{task}/status"), re.M)
        total += int(match.group(1)) if match else 0
    return total
