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

    def end():
        try:
            loop.remove_reader(guest.fileno())
        except RuntimeError:
            pass
        # In the loop's thread, as if the loop ran: what ends may use the guest.
        guest._close()
        try:
            del loop._asyncoro_guest
        except AttributeError:
            pass

    _before_close(loop, end)


def _before_close(loop, end):
    """Lets the close of the loop call `end` before."""
    close, own = loop.close, vars(loop).get('close')

    def close_both():
        if loop.is_running():
            # That is refused, and comes again.
            return close()
        if not loop.is_closed():
            end()
        if own is None:
            del loop.close
        else:
            loop.close = own
        return close()

    loop.close = close_both


def in_task():
    """Returns the task of asyncio's that runs in this thread; None in a coroutine of ours on the
    process's scheduler, and outside of all.
    """
    if _engine.in_scheduler() or asyncio._get_running_loop() is None:
        return None
    return asyncio.current_task()


class Cancelling:
    """Cancels a task once, and tells that from what others do from now on."""

    def __init__(self, task):
        self._task = task
        self._by_others = task.cancelling() if hasattr(task, 'cancelling') else 0
        self._is_begun = False

    def begin(self):
        self._is_begun = True
        self._task.cancel()

    def end(self, error):
        """Takes it back; returns whether `error` comes from it, and nobody else has cancelled."""
        if not self._is_begun:
            return False
        is_own = True
        if hasattr(self._task, 'uncancel'):
            is_own = self._task.uncancel() <= self._by_others
        return is_own and isinstance(error, asyncio.CancelledError)


class Expiry:
    """Bounds a block in a task, in seconds: cancels it, and raises TimeoutError for that."""

    def __init__(self, task, seconds):
        self._seconds = seconds
        self._cancelling = Cancelling(task)
        self._handle = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(max(0, seconds), self._cancelling.begin)

    def end(self, error):
        if self._handle is not None:
            self._handle.cancel()
        if self._cancelling.end(error):
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


class _Standing:
    """A coroutine that stands for a task of asyncio's, so that this has a mailbox."""

    __slots__ = ('__weakref__', 'address', 'coro', 'task')

    def __init__(self, task, coro):
        self.coro = coro
        self.address = id(task)
        # The task may be dropped without having ended.
        self.task = weakref.ref(task, lambda _: _leave(self))


#: By the address of the task, and by that of the coroutine. Several threads use them at once, so
#: nothing is done with them that runs other code in between.
_by_task: dict = {}
_by_coro: dict = {}


def current_in_task():
    """Returns what stands for the task that runs in this thread; None if none runs."""
    task = in_task()
    if task is None:
        return None
    standing = _of_task(task)
    return stand(task, Coro.__new__(Coro)) if standing is None else standing.coro


def _of_task(task):
    standing = _by_task.get(id(task))
    return standing if standing is not None and standing.task() is task else None


def stand(task, coro):
    """Lets `coro`, which was not begun, stand for a task."""
    coro._stand(_name_of(task))
    standing = _Standing(task, coro)
    _by_task[id(task)] = _by_coro[id(coro)] = standing
    task.add_done_callback(_ended)
    _end_with_loop(task.get_loop(), standing)
    return coro


def _end_with_loop(loop, standing):
    """Lets the close of the loop end what stands for a task that has not ended then."""
    try:
        left = loop._asyncoro_standing
    except AttributeError:
        left = loop._asyncoro_standing = weakref.WeakSet()
        _before_close(loop, lambda: [_leave(standing) for standing in list(left)])
    left.add(standing)


def _name_of(task):
    return getattr(task, 'get_name', lambda: 'task')()


def _ended(task):
    standing = _of_task(task)
    if standing is None:
        return
    cancelled = task.cancelled()
    # `exception()` would count as a look at it, and asyncio would not tell of it any more.
    error = None if cancelled else getattr(task, '_exception', None)
    if error is None and not cancelled:
        error = task.exception()
    value = task.result() if error is None and not cancelled else None
    if _leave(standing, value, error, cancelled) and error is not None:
        task.exception()


def _no_task():
    return None


def _leave(standing, value=None, error=None, cancelled=True):
    """Ends what stands for a task; returns whether somebody waits for that."""
    coro = standing.coro
    if _by_coro.pop(id(coro), None) is None:
        return False
    # Which refers to `standing` again.
    standing.task = _no_task
    if _by_task.get(standing.address) is standing:
        del _by_task[standing.address]
    return coro._task_ended(value, error, cancelled)


def is_current(coro):
    """Returns whether a coroutine stands for the task that runs in this thread."""
    task = in_task()
    standing = None if task is None else _of_task(task)
    return standing is not None and standing.coro is coro


def cancel(coro):
    """Cancels the task that a coroutine stands for."""
    standing = _by_coro.get(id(coro))
    task = None if standing is None else standing.task()
    if task is None:
        return False
    loop = task.get_loop()
    if asyncio._get_running_loop() is loop:
        task.cancel()
        return True
    try:
        loop.call_soon_threadsafe(task.cancel)
    except RuntimeError:
        # It was closed.
        return False
    return True
