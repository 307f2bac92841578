"""Starting a program: what `Popen` takes in the host's words, and the host's refusals as Python's exceptions."""

from subprocess import DEVNULL, PIPE

from componentize_py_types import Err
from wit_world.imports import child_process as raw

from ._signals import signal_of
from ._wait import nanoseconds

_STDIO = {None: raw.Stdio.INHERIT, PIPE: raw.Stdio.PIPE, DEVNULL: raw.Stdio.IGNORE}


def words(args):
    """The program's name and its arguments; a text is a name alone, as there is no shell."""
    name, *arguments = [args] if isinstance(args, str) else [str(word) for word in args]
    return name, arguments


def stdio(name, wanted):
    if wanted not in _STDIO:
        raise ValueError(f"{name} is None, PIPE or DEVNULL here")
    return _STDIO[wanted]


def spawn(args, env, cwd, kill_signal, timeout, **options):
    name, arguments = words(args)
    options = raw.SpawnOptions(
        arguments=arguments,
        environment=None if env is None else [(str(key), str(value)) for key, value in env.items()],
        cwd=None if cwd is None else str(cwd),
        kill_signal=signal_of(kill_signal),
        timeout=nanoseconds(timeout),
        **options,
    )
    try:
        return raw.spawn(name, options)
    except Err as error:
        raise _exception(name, cwd, error.value) from None


def _exception(name, cwd, error):
    """What Python's own module raises in such a case, with what an operator can do about it."""
    kind, text = _REFUSALS[type(error)]
    value = getattr(error, "value", None)
    return kind(text.format(name=name, cwd=cwd, value=value))


_REFUSALS = {
    raw.SpawnError_NotGranted: (
        FileNotFoundError,
        "program {name} is not granted; the operator names it with --program {name}=PATH",
    ),
    raw.SpawnError_ProgramMissing: (FileNotFoundError, "the file of program {name} is gone"),
    raw.SpawnError_ProgramChanged: (
        OSError,
        "the file of program {name} is not the one the host started with; a reload takes the new one",
    ),
    raw.SpawnError_Invalid: (ValueError, "{value}"),
    raw.SpawnError_TooLarge: (OSError, "arguments and environment exceed {value} bytes"),
    raw.SpawnError_NoSuchDirectory: (FileNotFoundError, "program {name} sees no directory {cwd}"),
    raw.SpawnError_NotPermitted: (
        PermissionError,
        "this user or group is not granted with program {name}; the operator names it with uid= and gid=",
    ),
    raw.SpawnError_Unsupported: (ValueError, "program {name} is native: it cannot have ipc=True"),
    raw.SpawnError_TooManyChildren: (BlockingIOError, "there are {value} children (--max-children)"),
    raw.SpawnError_TooMuchMemory: (
        BlockingIOError,
        "the children's memory would exceed {value} bytes (--max-children-memory)",
    ),
    raw.SpawnError_TooMuchCpuTime: (
        BlockingIOError,
        "the children used {value} ns of processor time within a minute (--max-children-cpu)",
    ),
    raw.SpawnError_Stopping: (OSError, "the host is stopping"),
    raw.SpawnError_Failed: (OSError, "program {name}: {value}"),
}
