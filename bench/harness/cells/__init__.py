"""The cells of the table. A cell is a function of the settings that gives rows; it names its group
so that `--only GROUP` runs a few."""

CELLS = {}


def cell(name, group):
    def register(function):
        CELLS[name] = (group, function)
        return function

    return register


# Importing a module registers its cells; the order here is the table's.
from . import http, process, ipc, raw, reload, children, languages, walls  # noqa: E402, F401
