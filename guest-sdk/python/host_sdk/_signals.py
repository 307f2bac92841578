"""Signals by name, and ends of processes in Python's numbers."""

try:  # componentize-py adds the package to the name when the world has two interfaces called `types`
    from wit_world.imports import host_cluster_types as types
except ImportError:
    from wit_world.imports import types

FIRST_REALTIME = 34


def signal_of(wanted):
    """The WIT signal for a name, a member of `signal.Signals`, or a number as on Linux."""
    if isinstance(wanted, types.Signal):
        return wanted
    name = wanted if isinstance(wanted, str) else getattr(wanted, "name", None)
    try:
        return types.Signal(wanted - 1) if name is None else types.Signal[name.upper()]
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"unknown signal {wanted!r}") from None


def returncode_of(status):
    """As in `subprocess`: the code, or the negative number of the signal."""
    if isinstance(status, types.ExitStatus_Signal):
        return -(status.value.value + 1)
    return -status.value if isinstance(status, types.ExitStatus_RealtimeSignal) else status.value


def code_and_signal(status):
    """As in Node: the code or the name of the signal, and None for the other."""
    if isinstance(status, types.ExitStatus_Signal):
        return None, status.value.name
    if isinstance(status, types.ExitStatus_RealtimeSignal):
        return None, f"SIGRTMIN+{status.value - FIRST_REALTIME}"
    return status.value, None
