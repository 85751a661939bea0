"""Runs the tests' coroutines in an event loop of asyncio's: `ASYNCORO_LOOP` says how.

`coro` and `coro:uvloop` make each `Coro` of a test in such a loop, which runs in a thread of its
own. `task` and `task:uvloop` do so, too, but let the function of a coroutine, if it is an
`async def` one, run as a task of asyncio's in which nothing but its verbs is ours; the `Coro`
stands for the task. The loop is the same in all tests of a process, as the scheduler is else.
"""

import asyncio
import inspect
import os
import threading

import asyncoro
from asyncoro import _guest

_Coro = asyncoro.Coro
_loop = None


def install():
    """Does what `ASYNCORO_LOOP` says."""
    how, _, which = os.environ["ASYNCORO_LOOP"].partition(":")
    assert how in ("coro", "task"), how
    global _loop
    if which == "uvloop":
        import uvloop

        _loop = uvloop.new_event_loop()
    elif which == "asyncoro":
        _loop = asyncoro.new_event_loop()
    else:
        _loop = asyncio.new_event_loop()
    threading.Thread(target=_loop.run_forever, daemon=True).start()
    asyncoro.Coro = asyncoro.Task = InLoop
    InLoop.as_tasks = how == "task"


def _in_loop(call):
    """Makes a call in the loop's thread."""
    if asyncio._get_running_loop() is _loop:
        return call()
    made = []
    done = threading.Event()

    def make():
        try:
            made.append((call(), None))
        except BaseException as error:
            made.append((None, error))
        done.set()

    _loop.call_soon_threadsafe(make)
    assert done.wait(20), "the loop hangs"
    value, error = made[0]
    if error is not None:
        raise error
    return value


class InLoop(_Coro):
    """A coroutine that begins in the loop, whichever thread makes it."""

    as_tasks = False

    def __init__(self, *args, **kwargs):
        _in_loop(lambda: self._begin(args, kwargs))

    def _begin(self, args, kwargs):
        target = args[0] if args else None
        if self.as_tasks and inspect.iscoroutinefunction(target) and not kwargs:
            names = inspect.signature(target).parameters
            given = {name: self for name in ("coro", "task") if name in names}
            task = _loop.create_task(target(*args[1:], **given))
            _guest.stand(task, self)
        else:
            _Coro.__init__(self, *args, **kwargs)
