"""Scopes: what is started in one has ended when it is left."""

import contextvars
import math
import sys
import threading
import time
import types
import weakref

from . import _engine
from ._delegate import delegated
from ._engine import Coro, Event
from ._log import logger

#: The innermost scope in which a context was made. Whoever has the context is in the scope only if
#: the scope knows it: a coroutine that was started without the scope inherits it as well.
_current: contextvars.ContextVar = contextvars.ContextVar('asyncoro.scope', default=None)


class _Interrupted(BaseException):
    """Thrown into the owner of a scope whose block is to end."""


class Scope:
    """A scope, made by `asyncoro.scope`: coroutines that are spawned in it have ended when its
    block is left.

    >>> async with asyncoro.scope() as s:
    ...     s.spawn(work, 1)
    ...     s.spawn(work, 2)
    """

    __slots__ = (
        '__weakref__', '_children', '_deadline', '_elapsed', '_error', '_event', '_grace',
        '_inner', '_interrupt', '_is_leaving', '_keeper', '_outer', '_owner',
        '_phase', '_thread', '_timeout', '_token',
    )

    def __init__(self, timeout=None, grace=0):
        self._timeout = seconds(timeout)
        self._grace = seconds(grace) or 0
        self._phase = _NEW
        self._children = {}
        self._inner = weakref.WeakSet()
        self._event = self._error = self._interrupt = self._keeper = self._owner = None
        self._elapsed = self._is_leaving = False
        self._deadline = None

    # ---- For the program

    def spawn(self, target, /, *args, **kwargs):
        """Starts a coroutine as `Coro(target, ...)` does, which has ended when the block is left.

        The first one that raises ends the others and the block, which raises the same. One that is
        terminated has not failed.
        """
        if self._owner is None:
            raise RuntimeError('the scope has no block yet')
        if self._phase == _ENDED:
            raise RuntimeError('the scope has ended')
        self._be_in_thread()
        token = _current.set(self)
        try:
            coro = Coro(target, *args, **kwargs)
        finally:
            _current.reset(token)
        self._children[coro] = None
        coro._when_ended(self._child_ended)
        if self._phase == _HARD:
            coro.terminate()
        return coro

    def stop(self):
        """Asks all in the scope, and in those within it, to end: `stopping` is over for them. If
        the scope has a `grace`, those that have not ended after it are terminated.
        """
        if self._phase not in (_NEW, _OPEN):
            return
        has_block = self._phase == _OPEN
        if has_block:
            self._be_in_thread()
        self._phase = _SOFT
        if self._event is not None:
            self._event.set()
        for inner in list(self._inner):
            inner.stop()
        if has_block:
            self._keep()

    def is_stopping(self):
        """Returns whether the scope, or one around it, was asked to stop, has failed, or is near
        its deadline.
        """
        return self._phase not in (_NEW, _OPEN)

    def stopping(self):
        """Waits until it is to stop, with `yield` or `await`."""
        if self._event is None:
            self._event = Event()
            if self.is_stopping():
                self._event.set()
        return self._event.wait()

    @property
    def deadline(self):
        """When it ends at the latest, by `time.monotonic()`: the earliest of its own and those of
        the scopes around; None if there is none.
        """
        return self._deadline

    async def __aenter__(self):
        self._enter()
        return self

    async def __aexit__(self, kind, error, trace):
        await self._left(error)

    def _be_in_thread(self):
        if threading.get_ident() != self._thread:
            raise RuntimeError('a scope is used in the thread of its block only')

    # ---- Its block

    def _enter(self):
        if self._owner is not None:
            raise RuntimeError('a scope has one block')
        owner = _member()
        if owner is None:
            raise RuntimeError('scope is for coroutines')
        outer = _innermost(owner)
        self._owner, self._thread = owner, threading.get_ident()
        self._interrupt = _interrupt_of(owner)
        if self._timeout is not None:
            self._deadline = time.monotonic() + self._timeout
        if outer is not None:
            outer._inner.add(self)
            times = [scope._deadline for scope in (self, outer) if scope._deadline is not None]
            self._deadline = min(times, default=None)
        self._outer = outer
        self._token = _current.set(self)
        is_stopping = self._phase == _SOFT or outer is not None and outer.is_stopping()
        self._phase = _OPEN
        if is_stopping:
            self.stop()
        else:
            self._keep()

    @types.coroutine
    def _left(self, error):
        """Waits until all have ended, when the block has, and raises why the scope has failed."""
        self._is_leaving = True
        is_own = self._interrupt.end(error)
        # What ends the coroutine around goes before all else.
        ending = None
        if error is not None and not is_own:
            if isinstance(error, Exception):
                self._fail(error)
            else:
                ending = error
                self._end()
        try:
            ending = (yield from self._rest()) or ending
        finally:
            self._close()
        failure, self._error = self._error, None
        try:
            if ending is not None:
                if failure is not None and failure is not error:
                    logger._report('a scope that was ended', failure)
                if ending is not error:
                    raise ending
            elif failure is None:
                # An exception of the block comes out, also one of its clean-up.
                if is_own or self._elapsed and error is None:
                    raise TimeoutError(self._late()) from None
            elif failure is not error:
                _raise(failure, is_own)
        finally:
            # Their tracebacks refer to this frame.
            del failure, ending, error

    def _late(self):
        if self._elapsed:
            return 'the scope has not ended within its time'
        return 'the scope has not stopped within %s s' % self._grace

    @types.coroutine
    def _rest(self):
        """Waits until all children have ended; returns what was thrown in meanwhile."""
        late = None
        while self._children:
            child = next(iter(self._children))
            try:
                if late is not None:
                    # It may have been refused: a child waits for the owner, in its clean-up say.
                    yield from _engine.sleep(0)
                yield from child.finish()
            except GeneratorExit as error:
                self._end()
                # A generator that is closed cannot wait; a coroutine that is terminated can, until
                # its time for that is over.
                if late is not None or _member() is not self._owner:
                    raise
                late = error
                continue
            except BaseException as error:
                self._end()
                late = error
                continue
            self._children.pop(child, None)
        return late

    def _close(self):
        self._phase = _ENDED
        self._owner = _NOBODY
        if self._event is not None:
            self._event.set()
        if self._keeper is not None:
            self._keeper.terminate()
            self._keeper = None
        try:
            _current.reset(self._token)
        except ValueError:
            # An asynchronous generator may be resumed in another context.
            pass
        self._token = None
        if self._outer is not None:
            self._outer._inner.discard(self)

    # ---- Its end

    def _child_ended(self, coro):
        self._children.pop(coro, None)
        if coro._was_terminated():
            return
        error = coro._outcome()[1]
        if error is not None and not is_cancelled(error):
            self._fail(error, coro)

    def _fail(self, error, coro=None):
        """Notes why the scope ends; what comes after the first is logged."""
        if self._error is not None or self._phase in (_HARD, _ENDED):
            if coro is not None and error is not self._error:
                logger._report('%s, after its scope had failed' % coro, error)
            return
        self._error = error
        self.stop()
        if not self._grace:
            self._end()

    def _keep(self):
        """Lets the clock begin the next phase, if there is a time for that."""
        if self._keeper is not None:
            self._keeper.terminate()
            self._keeper = None
        now = time.monotonic()
        times = []
        if self._timeout is not None:
            times.append(self._deadline - (self._grace if self._phase == _OPEN else 0))
        if self._phase == _SOFT and self._grace:
            times.append(now + self._grace)
        if times:
            self._keeper = Coro(_watch_clock, weakref.ref(self), max(0, min(times) - now))

    def _next_phase(self):
        self._keeper = None
        if self._phase == _OPEN:
            self.stop()
        else:
            self._is_over()

    def _is_over(self):
        """Ends what has not stopped by itself."""
        if self._phase in (_HARD, _ENDED):
            return
        if self._timeout is not None and self._error is None:
            self._elapsed = time.monotonic() >= self._deadline
        if self._grace and self._children:
            logger.warning(
                'a scope has ended %d coroutines that did not stop within %s s: %s',
                len(self._children), self._grace,
                ', '.join(str(coro) for coro in list(self._children)[:20]),
            )
        self._end()

    def _end(self):
        """Ends the children, and the block."""
        if self._phase in (_HARD, _ENDED):
            return
        self.stop()
        self._phase = _HARD
        for child in list(self._children):
            child.terminate()
        if not self._is_leaving:
            self._interrupt.begin()

    def _has(self, member):
        return member is self._owner or member in self._children


#: The owner of a scope that has ended.
_NOBODY = object()
#: The phases of a scope.
_NEW, _OPEN, _SOFT, _HARD, _ENDED = range(5)


def seconds(value):
    """Checks a number of seconds; None is none."""
    if value is None:
        return None
    if math.isinf(value):
        raise OverflowError('seconds must be finite: %s' % value)
    if not value >= 0:
        raise ValueError('seconds must not be negative: %s' % value)
    return float(value)


def is_cancelled(error):
    """Tells whether an exception is the one that cancels asyncio's tasks and futures."""
    asyncio = sys.modules.get('asyncio')
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def _raise(failure, is_own):
    """Raises the failure of a child; with `is_own` without what has ended the block for it."""
    context = failure.__context__
    try:
        raise failure
    finally:
        if is_own:
            failure.__context__ = context
        del failure


def _watch_clock(scope, seconds, coro=None):
    coro.set_daemon()
    yield coro.sleep(seconds)
    if scope() is not None:
        scope()._next_phase()


class _Throwing:
    """Ends the block of a coroutine of ours, by throwing into it."""

    def __init__(self, coro):
        self._coro = coro
        self._error = self._alarm = None

    def begin(self):
        self._error = _Interrupted()
        self._alarm = _engine.alarm(self._coro, 0, self._error)

    def end(self, error):
        """Takes it back; returns whether `error` is what it has thrown."""
        if self._alarm is None:
            return False
        self._alarm.cancel()
        return error is self._error


def _interrupt_of(owner):
    if isinstance(owner, Coro):
        return _Throwing(owner)
    from . import _guest

    return _guest.Cancelling(owner)


def _member():
    """Returns the coroutine, or the task of asyncio's, that runs in this thread."""
    coro = _engine.running()
    if coro is None and 'asyncio' in sys.modules:
        from . import _guest

        return _guest.in_task()
    return coro


def _innermost(member):
    scope = _current.get()
    while scope is not None and scope._phase == _ENDED:
        # It was left in another context, as that of an asynchronous generator may be.
        scope = scope._outer
    return scope if scope is not None and scope._has(member) else None


def scope(body=None, *, timeout=None, grace=0):
    """Makes a scope, whose block is left when all coroutines that were spawned in it have ended.

    With `body`, a function, that is called with the scope, and its value given: for `yield`.

    >>> async with asyncoro.scope() as s:
    ...     s.spawn(work, 1)
    >>> value = yield asyncoro.scope(body)
    """
    made = Scope(timeout, grace)
    return made if body is None else _run(made, body)


@types.coroutine
def _run(scope, body):
    scope._enter()
    try:
        value = yield from delegated(body(scope))
    except BaseException as error:
        yield from scope._left(error)
        raise
    yield from scope._left(None)
    return value


def is_stopping():
    """Returns whether the innermost scope around is to end; False outside of all."""
    scope = _innermost(_member())
    return scope is not None and scope.is_stopping()


def stopping():
    """Waits until the innermost scope around is to end; for ever outside of all.

    >>> place, _ = await asyncoro.first(work(), asyncoro.stopping())
    """
    scope = _innermost(_member())
    return _engine.sleep(None) if scope is None else scope.stopping()


@types.coroutine
def map_bounded(function, items, limit):
    """Calls `function` with each item, at most `limit` of the calls at once, and gives the values
    in order. The first exception ends the others, and is raised here.

    >>> pages = await asyncoro.map_bounded(fetch, urls, 10)
    """
    if limit < 1:
        raise ValueError('limit must be at least 1: %s' % limit)
    values = {}
    source = enumerate(items)

    def work(pair):
        while pair is not None:
            place, item = pair
            values[place] = yield function(item)
            pair = next(source, None)

    def start(scope):
        for _ in range(limit):
            pair = next(source, None)
            if pair is None:
                break
            scope.spawn(work, pair)
        yield

    yield from _run(Scope(), start)
    return [values[place] for place in sorted(values)]
