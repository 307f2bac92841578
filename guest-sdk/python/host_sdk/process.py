"""The process this plugin runs in: Node's `process` over `host:cluster/process`, in Python's names.

Nothing here may be called while the module is being imported: that happens when the component is built.
"""

from componentize_py_types import Err
from wit_world.imports import process as _process

identity = _process.identity
versions = lambda: dict(_process.versions())
config = lambda: dict(_process.config())
title = _process.title
arch = _process.arch
platform = _process.platform
exec_path = _process.exec_path
exec_arguments = _process.exec_arguments
arguments = _process.arguments
memory_usage = _process.memory_usage
cpu_usage = _process.cpu_usage
credentials = _process.credentials
abort = _process.abort
exit = _process.exit
draining = _process.draining


def uptime():
    """Seconds since the process was started."""
    return _process.uptime() / 1e9


def set_title(title):
    """Sets what `ps` shows after the worker's number. ValueError if the host refuses it."""
    try:
        _process.set_title(title)
    except Err as error:
        raise ValueError(f"title {title!r}: {type(error.value).__name__}") from error


def kill(pid, signal):
    """Sends a signal (`wit_world.imports.host_cluster_types.Signal`) to a child of this component."""
    try:
        _process.kill(pid, signal)
    except Err as error:
        raise PermissionError(f"kill {pid}: {error.value}") from error
