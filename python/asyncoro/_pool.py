"""Defines `AsyncThreadPool`, which runs functions on threads, and `AsyncDBCursor`, which runs those
of a database cursor.
"""

import atexit
import collections
import contextvars
import os
import queue
import sys
import threading
import weakref
import _thread

from . import _engine, _waiting
from ._log import logger
from ._status import text_of
from ._verbs import verb


class AsyncThreadPool:
    """Runs functions that block on `num_threads` threads, so that coroutines can wait for them.

    The threads are started when they are needed, and are daemons: at the end of the program nobody
    waits for a function whose coroutine has ended.

    >>> pool = AsyncThreadPool(4)
    >>> line = await pool.async_task(input, 'name: ')
    """

    def __init__(self, num_threads):
        if not isinstance(num_threads, int):
            raise TypeError('a number of threads is wanted, not %s' % type(num_threads).__name__)
        if num_threads < 1:
            raise ValueError('a pool has at least one thread')
        self._num_threads = num_threads
        self._workers = _Workers(num_threads)

    @verb
    def async_task(self, target, *args, **kwargs):
        """Calls `target` on a thread, and gives what it returns, or raises what it raises.

        As for a thread, `args` and `kwargs` may be given by name. Context variables are those of
        this call. A coroutine that no longer waits withdraws a function that was not begun; one
        that was begun goes on, and nobody sees its value.

        >>> value = await pool.async_task(target, 1, 2)
        >>> value = await pool.async_task(target, args=(1, 2), kwargs={'three': 3})
        """
        if not args and kwargs:
            args = kwargs.pop('args', ())
            kwargs = kwargs.pop('kwargs', kwargs)
        call = _Call(target, args, kwargs)
        return _engine.promised(
            'AsyncThreadPool.async_task', self, lambda promise: self._submit(call.keep(promise))
        )

    def _submit(self, job):
        self._here().submit(job)

    def _here(self):
        """Returns the threads of this process."""
        workers = self._workers
        if workers.process != os.getpid():
            # The parent's, before a fork.
            workers = self._workers = _Workers(self._num_threads, workers.is_ended)
        return workers

    @verb
    def join(self, timeout=None):
        """Waits until all functions have ended; False after `timeout` seconds. In a coroutine it is
        a verb. A function of the pool that calls it would wait for itself: RuntimeError.

        >>> await pool.join()
        """
        workers = self._here()
        workers.refuse_own()
        return self._wait('AsyncThreadPool.join', workers.when_done, timeout)

    @verb
    def terminate(self):
        """Lets the functions that were given end, takes no more, and waits for the end of the
        threads. In a coroutine it is a verb. A function of the pool gets RuntimeError.

        >>> await pool.terminate()
        """
        workers = self._here()
        workers.refuse_own()
        workers.end()
        return self._wait('AsyncThreadPool.terminate', workers.when_ended, None)

    def _wait(self, name, when, timeout):
        if _in_coroutine():
            call = _engine.promised(name, self, lambda promise: when(lambda: promise.set(True)))
            if timeout is None:
                return call
            return _within(timeout, call)
        lock = _thread.allocate_lock()
        lock.acquire()
        when(lock.release)
        return _waiting.acquire(lock, timeout)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if _in_coroutine():
            # Which cannot wait here: `async with` does.
            self._here().end()
        else:
            self.terminate()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        await self.terminate()

    def __del__(self):
        workers = self.__dict__.get('_workers')
        if workers is not None and workers.process == os.getpid():
            workers.end()


async def _within(timeout, call):
    from ._today import timeout as bound

    try:
        return await bound(timeout, call)
    except TimeoutError:
        return False


def _in_coroutine():
    if _engine.running() is not None:
        return True
    if 'asyncio' not in sys.modules:
        return False
    from . import _guest

    return _guest.in_task() is not None


class _Call:
    """A function to be called on a thread, and the promise that gets what it returns."""

    __slots__ = ('_args', '_context', '_kwargs', '_promise', '_target')

    def __init__(self, target, args, kwargs):
        self._target, self._args, self._kwargs = target, args, kwargs
        self._context = contextvars.copy_context()

    def keep(self, promise):
        self._promise = promise
        return self

    def run(self):
        promise = self._promise
        if not promise.is_wanted():
            return
        try:
            value = self._context.run(self._target, *self._args, **self._kwargs)
        except BaseException as error:
            if isinstance(error, StopIteration):
                # In a generator it would mean its end.
                wrapped = RuntimeError('a function of a pool has raised StopIteration')
                wrapped.__cause__ = error
                error = wrapped
            if not promise.fail(error):
                logger.warning(
                    '%r of a pool failed, and the coroutine that waited for it has ended:\n%s',
                    self._target, text_of(error),
                )
        else:
            promise.set(value)


class _Workers:
    """The threads of a pool, in one process."""

    #: All that were not ended, to be ended with the program.
    alive: weakref.WeakSet = weakref.WeakSet()

    def __init__(self, most, is_ended=False):
        self.process = os.getpid()
        self.is_ended = is_ended
        self._most = most
        # A pool that is collected while one of its threads has the lock ends them there.
        self._lock = threading.RLock()
        self._jobs = queue.SimpleQueue()
        self._threads = set()
        #: How many threads wait for a job that no job waits for.
        self._spare = 0
        #: How many jobs no thread has been woken for, and how many have not ended.
        self._queued = self._unfinished = 0
        self._busy = set()
        self._when_done, self._when_ended = [], []
        _Workers.alive.add(self)

    def submit(self, job):
        with self._lock:
            if self.is_ended:
                raise RuntimeError('the pool was terminated: it takes no function any more')
            self._start_for_one()
            self._unfinished += 1
            self._jobs.put(job)

    def _start_for_one(self):
        if self._spare:
            self._spare -= 1
        elif len(self._threads) < self._most:
            name = 'asyncoro-pool-%d' % len(self._threads)
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.add(thread)
            try:
                thread.start()
            except BaseException:
                self._threads.discard(thread)
                if not self._threads:
                    raise
                self._queued += 1
        else:
            self._queued += 1

    def _work(self):
        own = threading.current_thread()
        while True:
            job = self._jobs.get()
            if job is None:
                break
            self._busy.add(own)
            try:
                job.run()
            finally:
                # An idle thread keeps nothing alive.
                del job
                self._busy.discard(own)
                self._ended_one()
        with self._lock:
            self._threads.discard(own)
            told = self._told_ended()
        _tell(told)

    def _ended_one(self):
        with self._lock:
            if self._queued:
                self._queued -= 1
            else:
                self._spare += 1
            self._unfinished -= 1
            told = self._told_done()
        _tell(told)

    def _told_done(self):
        told = []
        if not self._unfinished:
            told, self._when_done = self._when_done, told
        return told

    def _told_ended(self):
        told = []
        if self.is_ended and not self._threads:
            told, self._when_ended = self._when_ended, told
        return told

    def refuse_own(self):
        """Refuses a thread of the pool, which would wait for itself."""
        if threading.current_thread() in self._threads:
            raise RuntimeError('a function of a pool cannot wait for the end of that pool')

    def when_done(self, tell):
        """Calls `tell` when no function is left."""
        with self._lock:
            self._when_done.append(tell)
            told = self._told_done()
        _tell(told)

    def when_ended(self, tell):
        """Calls `tell` when the threads have ended, or do nothing more."""
        with self._lock:
            self._when_ended.append(tell)
            told = self._told_ended()
        _tell(told)

    def end(self):
        """Ends the threads when they have done what was given to them."""
        with self._lock:
            if self.is_ended:
                return
            self.is_ended = True
            for _ in self._threads:
                self._jobs.put(None)

    def leave(self):
        """Ends the threads with the program: those that do nothing, and no others."""
        if self.process != os.getpid():
            return
        self.end()
        for thread in list(self._threads):
            if thread not in self._busy:
                thread.join(_SECONDS_TO_END)


#: How long the end of the program waits for a thread that has nothing to do.
_SECONDS_TO_END = 1.0


def _tell(told):
    for tell in told:
        tell()


def _leave_all():
    for workers in list(_Workers.alive):
        workers.leave()


atexit.register(_leave_all)


class AsyncDBCursor:
    """A cursor of a database whose statements run on the threads of a pool, one after the other.

    What else a cursor has is its own, and does not wait: `fetchall()`, `rowcount`, `close()`. The
    database's module must allow its use by several threads: for sqlite3, connect with
    `check_same_thread=False`.

    >>> cursor = AsyncDBCursor(pool, connection.cursor())
    >>> await cursor.execute('select name from users where id = ?', (1,))
    >>> name, = cursor.fetchone()
    """

    def __init__(self, thread_pool, cursor):
        self._thread_pool = thread_pool
        self._cursor = cursor
        self._statements = _OneByOne(thread_pool)

    def _one_by_one(self):
        """Returns what runs the statements in this process."""
        if self._statements.process != os.getpid():
            # The parent's, before a fork.
            self._statements = _OneByOne(self._thread_pool)
        return self._statements

    def __getattr__(self, name):
        if name == '_cursor':
            raise AttributeError(name)
        return getattr(self._cursor, name)

    def __iter__(self):
        return iter(self._cursor)

    @verb
    def execute(self, query, args=None):
        """Runs a statement, and gives what the cursor's `execute` returns.

        >>> await cursor.execute('insert into users values (?)', ('name',))
        """
        args = (query,) if args is None else (query, args)
        return self._call('AsyncDBCursor.execute', self._cursor.execute, args)

    @verb
    def executemany(self, query, args):
        """Runs a statement for each of `args`.

        >>> await cursor.executemany('insert into users values (?)', [('one',), ('two',)])
        """
        return self._call('AsyncDBCursor.executemany', self._cursor.executemany, (query, args))

    @verb
    def callproc(self, proc, args=()):
        """Calls a stored procedure.

        >>> await cursor.callproc('clean_up', (30,))
        """
        return self._call('AsyncDBCursor.callproc', self._cursor.callproc, (proc, args))

    def _call(self, name, target, args):
        call = _Call(target, args, {})
        submit = self._one_by_one().submit
        return _engine.promised(name, self, lambda promise: submit(call.keep(promise)))


class _OneByOne:
    """Runs functions on a pool in their order, no two at a time."""

    def __init__(self, pool):
        self.process = os.getpid()
        self._pool = pool
        self._lock = threading.Lock()
        self._jobs = collections.deque()
        #: Whether a thread runs them, or will.
        self._runs = False

    def submit(self, job):
        with self._lock:
            if not self._runs:
                self._pool._submit(self)
                self._runs = True
            self._jobs.append(job)

    def run(self):
        """Runs all that there are, in a thread of the pool."""
        while True:
            with self._lock:
                if not self._jobs:
                    self._runs = False
                    return
                job = self._jobs.popleft()
            job.run()
            del job
