"""What locks, queues and channels have that is written in Python: `Condition`, exceptions, and what
`statistics()` gives. The rest is in `python/src/sync/`.
"""

import inspect
import time
import types
from typing import NamedTuple

from . import _engine
from ._engine import Lock, RLock


class QueueEmpty(Exception):
    """Raised by `get_nowait` of a queue that is empty."""


class QueueFull(Exception):
    """Raised by `put_nowait` of a queue that is full."""


class QueueShutDown(Exception):
    """Raised by `put` of a queue that was shut down, and by `get` when nothing is left in it."""


class LockStatistics(NamedTuple):
    """What `Lock.statistics()` gives: whether somebody has it, the coroutine that has it, how many
    wait, and how many coroutines have ended while they had it.
    """

    is_held: bool
    holder: object
    waiting: int
    cut_off: int


class ConditionStatistics(NamedTuple):
    """What `Condition.statistics()` gives: how many wait to be notified, and its lock's."""

    waiting: int
    lock: LockStatistics


class EventStatistics(NamedTuple):
    """What `Event.statistics()` gives: whether it is set, and how many wait."""

    is_set: bool
    waiting: int


class SemaphoreStatistics(NamedTuple):
    """What `Semaphore.statistics()` gives: how many permits are left, and how many wait."""

    value: int
    waiting: int


class QueueStatistics(NamedTuple):
    """What `Queue.statistics()` gives: how many items are in it, how many fit (0: no limit), how
    many wait for an item, and for room, how many items are not done, how many were dropped for
    newer ones, and whether it was shut down.
    """

    size: int
    maxsize: int
    getting: int
    putting: int
    unfinished: int
    lost: int
    is_shut: bool


class ChannelStatistics(NamedTuple):
    """What `Channel.statistics()` gives: how many subscribers it has, how many `deliver` wait for
    subscribers, and whether it is closed.
    """

    subscribers: int
    delivering: int
    is_closed: bool


def is_transform(transform):
    """Returns whether it can be called with a name and a message."""
    try:
        signature = inspect.signature(transform)
    except TypeError:
        return False
    except ValueError:
        # A function of C's that does not tell.
        return callable(transform)
    try:
        signature.bind('', None)
    except TypeError:
        return False
    return True


class Condition:
    """A lock, and a place to wait until another coroutine that has had the lock notifies.

    >>> async with condition:
    ...     while not items:
    ...         await condition.wait()
    """

    __slots__ = ('__weakref__', '_lock', '_notices')

    def __init__(self, lock=None):
        if lock is None:
            lock = RLock()
        elif not isinstance(lock, Lock):
            raise TypeError('the lock of a condition is a Lock or an RLock, not %r' % (lock,))
        self._lock = lock
        self._notices = _engine.Notices()

    def acquire(self, blocking=True, timeout=None):
        """Takes its lock, as that does."""
        return self._lock.acquire(blocking, timeout)

    def release(self):
        """Frees its lock, as that does."""
        self._lock.release()

    def locked(self):
        """Returns whether somebody has its lock."""
        return self._lock.locked()

    def __aenter__(self):
        return self._lock.__aenter__()

    def __aexit__(self, kind, error, trace):
        return self._lock.__aexit__(kind, error, trace)

    @types.coroutine
    def wait(self, timeout=None):
        """Frees the lock, waits to be notified, `timeout` seconds at most, and takes the lock
        again: gives whether it was notified.

        An exception that is raised meanwhile comes out when the coroutine has the lock again, but
        for its end: a coroutine that is terminated does not wait for the lock, and if another one
        has that, its `release` does nothing.
        """
        lock, notices = self._lock, self._notices
        coro, depth = lock._held()
        told, late = False, None
        try:
            told = yield from notices.wait(lock, timeout)
        except GeneratorExit:
            lock._excuse(coro, depth)
            raise
        except BaseException as error:
            late = error
        while True:
            try:
                yield from lock._retake(coro, depth)
                break
            except GeneratorExit:
                lock._excuse(coro, depth)
                if told:
                    notices.tell(1)
                raise
            except BaseException as error:
                late = error
        if late is None:
            return told
        if told:
            # For whoever waits next: nobody acts on this one.
            notices.tell(1)
        try:
            raise late
        finally:
            # Its traceback refers to this frame.
            late = None

    @types.coroutine
    def wait_for(self, predicate, timeout=None):
        """Waits until `predicate()` is true, `timeout` seconds at most; gives what it gives."""
        end = None if timeout is None else time.monotonic() + timeout
        value = predicate()
        while not value:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            yield from self.wait(left)
            value = predicate()
        return value

    def notify(self, n=1):
        """Wakes the first `n` of those who wait. Any thread may."""
        self._notices.tell(n)

    def notify_all(self):
        """Wakes all who wait. Any thread may."""
        self._notices.tell(len(self._notices))

    notifyAll = notify_all

    def statistics(self):
        """Returns how many wait, and what its lock tells."""
        return ConditionStatistics(len(self._notices), self._lock.statistics())

    def __repr__(self):
        return '<Condition: %d wait, %r>' % (len(self._notices), self._lock)
