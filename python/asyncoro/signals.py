"""Ctrl-C and SIGTERM as something to wait for.

>>> async def main():
...     asyncoro.Coro(serve)
...     await asyncoro.signals.terminate()
>>> asyncoro.run_until(main())

Each function gives an object that a coroutine may `yield` or `await`, again and again, and that
`async for` goes through. It counts from when it was made: an earlier signal is never seen. If
several are waited for, the same signal ends all of these waits.

From the first call on the signal no longer ends the process or raises KeyboardInterrupt, even if
the object is gone: the program has to end itself. A handler of `signal.signal` that was set before
still runs; one that is set later takes the place of this.
"""

import signal
import threading

from . import _engine
from ._engine import Signal

__all__ = ['Signal', 'ctrl_c', 'shutdown', 'terminate']

_taken = set()
_lock = threading.Lock()


def ctrl_c():
    """Waits for SIGINT, which Ctrl-C in a terminal sends.

    >>> await asyncoro.signals.ctrl_c()
    """
    return _made('ctrl_c', signal.SIGINT)


def terminate():
    """Waits for SIGTERM, which `kill`, service managers and containers send to end a process.

    >>> await asyncoro.signals.terminate()
    """
    return _made('terminate', signal.SIGTERM)


def shutdown():
    """Waits for SIGINT or SIGTERM, whichever comes first.

    >>> async for _ in asyncoro.signals.shutdown():
    ...     print('ending; once more to end at once')
    """
    return _made('shutdown', signal.SIGINT, signal.SIGTERM)


def takes(number):
    """Returns whether somebody has asked for this signal."""
    return number in _taken


def _made(kind, *numbers):
    with _lock:
        for number in numbers:
            if number not in _taken:
                if number == signal.SIGINT and _raises(signal.getsignal(number)):
                    _engine.ignore_signal(number)
                _taken.add(number)
        return _engine.signal(kind)


def _raises(handler):
    """Returns whether a handler is one that raises KeyboardInterrupt: Python's, `run`'s, or that of
    `asyncio.run`, which cancels the main task first.
    """
    module = getattr(getattr(handler, 'func', handler), '__module__', None)
    replaced = (__package__ + '._interrupts', 'asyncio.runners')
    return handler is signal.default_int_handler or module in replaced
