"""An asyncio event loop on wasi:io/poll.

asyncio's own loop does everything but waiting; it asks a selector for that. This selector has no sockets, only
pollables that somebody waits for, and the time until the next timer.
"""

import asyncio
import time

from wit_world.imports import monotonic_clock, poll


class _Pollables:
    def __init__(self):
        self._waiting = []

    def add(self, pollable, future):
        self._waiting.append((pollable, future))

    def select(self, timeout):
        """Waits until a pollable is ready or the time is over; without pollables it is a sleep."""
        if timeout is not None and timeout <= 0 and not self._waiting:
            return []
        pollables = [pollable for pollable, _ in self._waiting]
        if timeout is not None:
            pollables.append(monotonic_clock.subscribe_duration(max(0, int(timeout * 1e9))))
        if not pollables:
            raise RuntimeError("the application waits for something that cannot happen")
        ready = set(poll.poll(pollables))
        if timeout is not None:
            pollables[-1].__exit__(None, None, None)
        waiting, self._waiting = self._waiting, []
        for index, (pollable, future) in enumerate(waiting):
            if index not in ready:
                self._waiting.append((pollable, future))
                continue
            pollable.__exit__(None, None, None)
            if not future.done():
                future.set_result(None)
        return []

    def close(self):
        for pollable, _ in self._waiting:
            pollable.__exit__(None, None, None)
        self._waiting = []


class Loop(asyncio.BaseEventLoop):
    def __init__(self):
        super().__init__()
        self._selector = _Pollables()

    def time(self):
        return time.monotonic()

    def wait(self, pollable):
        """A future that is done when the pollable, which it takes over, is ready."""
        future = self.create_future()
        self._selector.add(pollable, future)
        return future

    def _process_events(self, event_list):
        pass  # the selector has completed the futures already

    def _write_to_self(self):
        pass  # there is no other thread that could wake this one

    def close(self):
        self._selector.close()
        super().close()


async def ready(pollable):
    """Waits for a pollable inside a coroutine."""
    await asyncio.get_running_loop().wait(pollable)
