"""Defines `AsynCoro`, which starts and ends the scheduler's thread."""

import atexit
import os
import sys
import threading
import types
import _thread

from . import _engine, _interrupts, _sockets, _status, _sync, _waiting
from ._engine import Coro
from ._interrupts import Interrupts
from ._log import logger


class _Hooks:
    """The functions and classes that the bindings use."""

    HotSwapException = _status.HotSwapException
    MailboxFull = _status.MailboxFull
    MonitorStatus = _status.MonitorStatus
    QueueEmpty = _sync.QueueEmpty
    QueueFull = _sync.QueueFull
    QueueShutDown = _sync.QueueShutDown
    LockStatistics = _sync.LockStatistics
    EventStatistics = _sync.EventStatistics
    SemaphoreStatistics = _sync.SemaphoreStatistics
    QueueStatistics = _sync.QueueStatistics
    ChannelStatistics = _sync.ChannelStatistics
    is_transform = staticmethod(_sync.is_transform)
    failure = staticmethod(_status.failure)
    timed_out = staticmethod(_sockets.timed_out)
    unresolved = staticmethod(_sockets.unresolved)
    unverified = staticmethod(_sockets.unverified)
    insecure = staticmethod(_sockets.insecure)
    watch = staticmethod(_sockets.watch)
    unwatch = staticmethod(_sockets.unwatch)
    acquire = staticmethod(_waiting.acquire)

    # Imported when they are needed: without asyncio in the program they are not.
    @staticmethod
    def attach(loop):
        from . import _guest

        return _guest.attach(loop)

    @staticmethod
    def current_in_task():
        from . import _guest

        return _guest.current_in_task()

    @staticmethod
    def is_current_task(coro):
        from . import _guest

        return _guest.is_current(coro)

    @staticmethod
    def cancel_task(coro):
        from . import _guest

        return _guest.cancel(coro)

    @staticmethod
    def start_scheduler():
        AsynCoro.instance()._start()

    @staticmethod
    def is_daemon_thread():
        return threading.current_thread().daemon

    @staticmethod
    def warn(text):
        logger.warning('%s', text)

    @staticmethod
    def error(text):
        logger.error('%s', text)

    @staticmethod
    def debug(text):
        logger.debug('%s', text)

    @staticmethod
    def report(label, error):
        logger._report(label, error)

    @staticmethod
    def leave_child(label, error):
        if error is not None and not isinstance(error, SystemExit):
            _Hooks.report(label, error)
        _leave(_code_of(error))

    @staticmethod
    def terminated():
        return _status.Terminated('the coroutine was terminated')

    @staticmethod
    def cut_off(label, generator):
        logger.error('%s', _status.cut_off(label, generator))


def _leave(code):
    """Ends this process, the child of a fork, in which only a scheduler of its parent's is left."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
    os._exit(code)


def _code_of(error):
    if error is None:
        return 0
    code = error.code if isinstance(error, SystemExit) else 1
    return 0 if code is None else code & 0xff if isinstance(code, int) else 1


def _refuse_patched_threads():
    """Refuses threads that are none: the scheduler would block all of them, or wait for ever."""
    for function in (_thread.start_new_thread, _thread.allocate_lock):
        if not isinstance(function, types.BuiltinFunctionType):
            who = (getattr(function, '__module__', None) or 'another package').split('.')[0]
            raise RuntimeError(
                'asyncoro needs threads of the system, and %s has replaced them (monkey patching): '
                'leave `thread` out of the patches' % who
            )


class AsynCoro:
    """The scheduler: one in a process, in a thread of its own that the first coroutine starts.

    >>> AsynCoro().join()      # waits for all coroutines that are not daemons
    """

    _instance = None
    _lock = threading.RLock()

    def __new__(cls, *args, **kwargs):
        # Without the lock, which a thread may hold that waits for the end of a scheduler.
        if AsynCoro._instance is not None:
            return AsynCoro._instance
        with AsynCoro._lock:
            if AsynCoro._instance is None:
                made = super().__new__(cls)
                made._thread = None
                made._at_exit = []
                made._registered = False
                made._closed = False
                made._cut_off = False
                AsynCoro._instance = made
            return AsynCoro._instance

    def __init__(self, *args, **kwargs):
        pass

    @classmethod
    def instance(cls, *args, **kwargs):
        """Returns the scheduler."""
        return cls()

    @staticmethod
    def scheduler():
        """Returns the scheduler in its own thread; None in others."""
        return AsynCoro._instance if _engine.in_scheduler() else None

    @staticmethod
    def cur_coro(scheduler=None):
        """Returns the coroutine that runs in this thread; None outside of one."""
        return _engine.current()

    cur_task = cur_coro

    @property
    def name(self):
        return 'asyncoro'

    @property
    def drain(self):
        """The longest time, in seconds, for the clean-up of a coroutine that was terminated: for
        what its `finally` waits for.
        """
        return _engine.get_drain()

    @drain.setter
    def drain(self, seconds):
        _engine.set_drain(seconds)

    def _start(self):
        """Starts the scheduler in a thread of its own, unless one runs."""
        with AsynCoro._lock:
            # Another thread may have started it while this one waited for the lock.
            if _engine.is_running():
                return
            self._prepare()
            started = threading.Event()
            failed = []

            def serve():
                process = os.getpid()
                # What the `finally` of an asynchronous generator awaits is done.
                sys.set_asyncgen_hooks(finalizer=_close_generator)
                try:
                    _engine.serve(started.set, False)
                except BaseException as error:
                    failed.append(error)
                    started.set()
                if os.getpid() != process:
                    _leave(1)

            self._thread = threading.Thread(target=serve, name='asyncoro', daemon=True)
            self._thread.start()
            started.wait()
            if failed:
                raise failed[0]

    def _prepare(self):
        """Makes room for a new scheduler; the lock is held."""
        _refuse_patched_threads()
        if self._closed:
            raise RuntimeError('the interpreter is ending: nothing will run a coroutine')
        if self._thread is not None:
            _waiting.join(self._thread)
        self._register()

    def _run(self, main, waits):
        """Runs `main`; returns when it has ended, with `waits` also the others but daemons."""
        self._not_inside('run')
        if threading.current_thread() is threading.main_thread() and not _engine.is_running():
            with Interrupts() as interrupts:
                served = self._serve_here(main, waits, interrupts)
            if interrupts.count:
                raise KeyboardInterrupt
            if served is not None:
                return _result(*served._outcome())
        coro = Coro(main)
        try:
            return coro.result()
        except KeyboardInterrupt:
            if coro.is_alive():
                self._cut()
            raise
        finally:
            if not waits:
                self.terminate()

    def _serve_here(self, main, waits, interrupts):
        """Runs a scheduler in this thread, and in it `main`; returns the coroutine of that, or None
        if another thread has started a scheduler.
        """
        made = []

        def started():
            AsynCoro._lock.release()
            made.append(Coro(main))
            made[0]._when_ended(ended)
            interrupts.heed()

        def ended(coro):
            if waits and coro._outcome()[1] is None:
                _engine.stop_when_idle()
            else:
                _engine.stop()

        AsynCoro._lock.acquire()
        if _engine.is_running():
            AsynCoro._lock.release()
            return None
        here = _Here()
        process = os.getpid()
        try:
            self._prepare()
            self._thread = here
            _engine.serve(started, True)
        finally:
            if not made and AsynCoro._lock._is_owned():
                AsynCoro._lock.release()
            if os.getpid() != process:
                _leave(1)
            here.end()
        self._run_at_exit()
        return made[0]

    def _cut(self):
        """Ends all coroutines after Ctrl-C, those too that compute, and the scheduler: one that is
        just being started must not stay. Waits for that, but not for ever.
        """
        self._cut_off = True
        self._interrupt()
        self._end(_leave_after_a_while)
        self._cut_off = self._thread.is_alive()

    def _interrupt(self):
        for coro in _engine.alive():
            coro.terminate()
        _engine.interrupt(KeyboardInterrupt)

    def is_alive(self):
        """Returns whether it runs."""
        return self._thread is not None and self._thread.is_alive()

    def join(self, show_running=False, timeout=None):
        """Waits in a thread until all coroutines but daemons have ended; False after `timeout`
        seconds.
        """
        self._not_inside('join')
        if show_running:
            for coro in _engine.alive():
                logger.info('waiting for %s', coro)
        lock = _thread.allocate_lock()
        lock.acquire()
        if not _engine.when_none_holds(lock):
            return True
        try:
            return _waiting.acquire(lock, timeout)
        finally:
            _engine.give_up(lock)

    def finish(self):
        """Waits for all coroutines but daemons, then ends those and the scheduler."""
        self.join()
        self.terminate()

    def terminate(self):
        """Ends all coroutines, and the scheduler; a later coroutine starts a new one."""
        self._not_inside('terminate')
        self._end(_waiting.join)

    def _end(self, wait):
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        for coro in _engine.alive():
            coro.terminate()
        _engine.stop()
        wait(thread)
        self._run_at_exit()

    def _run_at_exit(self):
        at_exit, self._at_exit = self._at_exit, []
        for _, function, args, kwargs in sorted(at_exit, key=lambda entry: -entry[0]):
            try:
                function(*args, **kwargs)
            except Exception as error:
                logger.warning('running %s failed:\n%s', function, _status.text_of(error))

    def atexit(self, priority, func, *args, **kwargs):
        """Calls `func` when the scheduler ends; a higher priority first."""
        self._at_exit.append((priority, func, args, kwargs))

    def drop_atexit(self, priority, func):
        """Removes a function that `atexit` was given."""
        self._at_exit = [entry for entry in self._at_exit if entry[:2] != (priority, func)]

    def _not_inside(self, what):
        if _engine.in_scheduler():
            raise RuntimeError('%s() would block the scheduler: call it in another thread' % what)

    def _register(self):
        if self._registered:
            return
        self._registered = True
        # Functions of `threading`'s own end run last in, first out. Ours comes after the one that
        # shuts the pools, so that coroutines can use pools, and start threads, while they are
        # waited for.
        import concurrent.futures.thread  # noqa: F401

        try:
            threading._register_atexit(self._main_has_ended)
        except (AttributeError, RuntimeError):
            pass
        atexit.register(self._exit)

    def _main_has_ended(self):
        """Waits for the coroutines, when the main thread has ended."""
        _engine.process_ends()
        try:
            self.join()
        except BaseException:
            self._cut_off = True
            self._interrupt()
            raise

    def _exit(self):
        """Ends the scheduler, when threads other than daemons have ended, too."""
        try:
            if not self._cut_off:
                self._main_has_ended()
        finally:
            with AsynCoro._lock:
                self._closed = True
            try:
                self._end(_leave_after_a_while)
            finally:
                _engine.stop_watching()


class _Here:
    """Stands for the thread of a scheduler that runs in a call of `run`."""

    def __init__(self):
        self._ended = threading.Event()

    def is_alive(self):
        return not self._ended.is_set()

    def join(self, timeout=None):
        self._ended.wait(timeout)

    def end(self):
        self._ended.set()


def _result(value, error):
    if error is not None:
        raise error
    return value


def _leave_after_a_while(thread):
    """Waits for the scheduler's thread; interrupts coroutines that compute for long, or leaves it
    behind: the interpreter stops it.
    """
    # What waits in a clean-up ends by itself when the drain time is over.
    seconds = _engine.get_drain() + _SECONDS_MORE
    for _ in range(_PATIENCE):
        thread.join(seconds)
        if not thread.is_alive():
            return
        _engine.interrupt(GeneratorExit)
    thread.join(seconds)
    if thread.is_alive():
        logger.warning('a coroutine does not end and is cut off')


_SECONDS_MORE = 0.5
_PATIENCE = 2


async def _close(generator):
    await generator.aclose()


def _close_generator(generator):
    _engine.Coro(_close, generator)


def _after_fork():
    if _engine.in_scheduler():
        _interrupts.after_fork()
    _engine.after_fork()
    AsynCoro._lock = threading.RLock()
    if AsynCoro._instance is not None:
        AsynCoro._instance._thread = None
        AsynCoro._instance._closed = AsynCoro._instance._cut_off = False


os.register_at_fork(after_in_child=_after_fork)
_engine.set_hooks(_Hooks)
_engine.note_origins(sys.flags.dev_mode)
