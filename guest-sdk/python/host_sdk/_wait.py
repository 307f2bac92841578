"""Waiting without an event loop: it holds up this instance of the plugin and no other."""

import time

from wit_world.imports import monotonic_clock, poll


def nanoseconds(seconds):
    return None if seconds is None else int(seconds * 1e9)


def deadline(timeout):
    """What `time.monotonic()` says when so many seconds have passed; None for no limit."""
    return None if timeout is None else time.monotonic() + timeout


def first_ready(pollables, until=None):
    """Waits for one of the pollables, which it takes over. Gives the indexes of those that are ready: none if
    the deadline came first."""
    count = len(pollables)
    if until is not None:
        left = max(0.0, until - time.monotonic())
        pollables = [*pollables, monotonic_clock.subscribe_duration(nanoseconds(left))]
    try:
        return [index for index in poll.poll(pollables) if index < count]
    finally:
        for pollable in pollables:
            pollable.__exit__(None, None, None)
