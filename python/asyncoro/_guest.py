"""Our coroutines and verbs in asyncio's event loops.

The first verb, or coroutine, of ours in a task of asyncio's attaches a scheduler to the loop that
runs there: its guest (`python/src/guest/`).
"""

import asyncio
import collections.abc
import sys
import weakref

from . import _engine
from ._engine import Coro

collections.abc.Coroutine.register(_engine.Driver)


def attach(loop):
    """Makes the guest of a loop, which ends with it."""
    if not hasattr(loop, 'add_reader'):
        raise RuntimeError('%r cannot watch descriptors, and so takes no guest' % loop)
    guest = _engine.Guest(loop)
    try:
        loop.add_reader(guest.fileno(), guest._turn)
        guest._start()
        _end_with(loop, guest)
    except BaseException:
        guest._close()
        raise
    loop._asyncoro_guest = guest
    return guest


def _end_with(loop, guest):
    """Lets the close of the loop end its guest before."""
    close = loop.close

    def close_both():
        if not loop.is_closed() and not loop.is_running():
            try:
                loop.remove_reader(guest.fileno())
            except RuntimeError:
                pass
            # In the loop's thread, as if the loop ran: what ends may use the guest.
            guest._close()
        try:
            del loop.close, loop._asyncoro_guest
        except AttributeError:
            pass
        close()

    loop.close = close_both


def in_task():
    """Returns the task of asyncio's that runs in this thread; None in a coroutine of ours on the
    process's scheduler, and outside of all.
    """
    if _engine.in_scheduler() or asyncio._get_running_loop() is None:
        return None
    return asyncio.current_task()


class Expiry:
    """Bounds a block in a task, in seconds: cancels it, and raises TimeoutError for that."""

    def __init__(self, task, seconds):
        self._task = task
        self._seconds = seconds
        self._has_expired = False
        self._cancelling = task.cancelling() if hasattr(task, 'cancelling') else 0
        self._handle = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(max(0, seconds), self._expire)

    def _expire(self):
        self._has_expired = True
        self._task.cancel()

    def end(self, error):
        if self._handle is not None:
            self._handle.cancel()
        if not self._has_expired:
            return
        # Whoever else has cancelled the task is heard.
        is_own = True
        if hasattr(self._task, 'uncancel'):
            is_own = self._task.uncancel() <= self._cancelling
        if is_own and isinstance(error, asyncio.CancelledError):
            raise TimeoutError('timed out after %s s' % self._seconds) from error


def run(main, started, waits, factory):
    """Runs `main` in a loop of asyncio's, as `asyncio.run` does; `started` makes the coroutine of
    it. With `waits` all others but daemons are waited for, too.
    """

    async def first():
        coro = started(main)
        value = await coro
        while waits:
            left = [run.coro for run in asyncio.get_running_loop()._asyncoro_guest._runs()]
            left = [coro for coro in left if coro.is_alive() and not coro._is_daemon()]
            if not left:
                break
            for coro in left:
                await coro.finish()
        return value

    if factory is None:
        return asyncio.run(first())
    if sys.version_info >= (3, 11):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(first())
    return _run_by(factory, first())


def _run_by(factory, main):
    """Runs `main` as asyncio.Runner does, which comes with Python 3.11."""
    loop = factory()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


#: The coroutines that stand for tasks of asyncio's, so that these have mailboxes.
_standing: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def current_in_task():
    """Returns what stands for the task that runs in this thread; None if none runs."""
    task = in_task()
    if task is None:
        return None
    return _standing.get(task) or stand(task, Coro.__new__(Coro))


def stand(task, coro):
    """Lets `coro`, which was not begun, stand for a task."""
    coro._stand(_name_of(task))
    _standing[task] = coro
    task.add_done_callback(_ended)
    return coro


def _name_of(task):
    return getattr(task, 'get_name', lambda: 'task')()


def _ended(task):
    coro = _standing.pop(task, None)
    if coro is not None:
        cancelled = task.cancelled()
        error = None if cancelled else task.exception()
        value = None if cancelled or error else task.result()
        coro._task_ended(value, error, cancelled)


def is_current(coro):
    """Returns whether a coroutine stands for the task that runs in this thread."""
    task = in_task()
    return task is not None and _standing.get(task) is coro


def cancel(coro):
    """Cancels the task that a coroutine stands for."""
    for task, standing in list(_standing.items()):
        if standing is coro:
            loop = task.get_loop()
            if asyncio._get_running_loop() is loop:
                task.cancel()
            else:
                loop.call_soon_threadsafe(task.cancel)
            return True
    return False
