"""Ctrl-C and SIGTERM as something to wait for.

Each function gives an object that counts from when it was made. The first call of one takes the
signal over: it no longer ends the process or raises KeyboardInterrupt.
"""

from collections.abc import Generator
from typing import Any, final

from . import Call

__all__ = ["Signal", "ctrl_c", "shutdown", "terminate"]

@final
class Signal:
    """A signal to wait for: `yield` or `await` it, again and again, or use `async for`.

    One coroutine at a time may wait for it: each makes its own.
    Errors: RuntimeError if another coroutine waits for it; the system's, if no handler can be set.

        await asyncoro.signals.ctrl_c()
    """

    def wait(self) -> Call[None]:
        """Waits for the next one, where a verb's call is wanted.

            yield asyncoro.timeout(10, asyncoro.signals.terminate().wait())
        """
    def __await__(self) -> Generator[Any, Any, None]: ...
    def __aiter__(self) -> Signal: ...
    def __anext__(self) -> Call[None]: ...

def ctrl_c() -> Signal:
    """Waits for SIGINT, which Ctrl-C in a terminal sends.

        await asyncoro.signals.ctrl_c()
    """

def terminate() -> Signal:
    """Waits for SIGTERM, which `kill`, service managers and containers send to end a process.

        await asyncoro.signals.terminate()
    """

def shutdown() -> Signal:
    """Waits for SIGINT or SIGTERM, whichever comes first.

        async for _ in asyncoro.signals.shutdown():
            print("ending; once more to end at once")
    """
