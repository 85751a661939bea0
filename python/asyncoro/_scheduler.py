"""Defines `AsynCoro`, which starts and ends the scheduler's thread."""

import atexit
import os
import threading
import _thread

from . import _engine, _sockets, _status
from ._log import logger


class _Hooks:
    """The functions and classes that the bindings use."""

    HotSwapException = _status.HotSwapException
    MonitorStatus = _status.MonitorStatus
    failure = staticmethod(_status.failure)
    timed_out = staticmethod(_sockets.timed_out)
    unresolved = staticmethod(_sockets.unresolved)
    unverified = staticmethod(_sockets.unverified)
    insecure = staticmethod(_sockets.insecure)
    watch = staticmethod(_sockets.watch)
    unwatch = staticmethod(_sockets.unwatch)

    @staticmethod
    def start_scheduler():
        AsynCoro.instance()._start()

    @staticmethod
    def warn(text):
        logger.warning('%s', text)

    @staticmethod
    def debug(text):
        logger.debug('%s', text)

    @staticmethod
    def report(label, error):
        logger.error('uncaught exception in %s:\n%s', label, _status.text_of(error))

    @staticmethod
    def terminated():
        return _status.Terminated('the coroutine was terminated')

    @staticmethod
    def awaiting(call):
        return (yield call)


class AsynCoro:
    """The scheduler: one in a process, in a thread of its own that the first coroutine starts.

    >>> AsynCoro().join()      # waits for all coroutines that are not daemons
    """

    _instance = None
    _lock = threading.RLock()

    def __new__(cls, *args, **kwargs):
        with AsynCoro._lock:
            if AsynCoro._instance is None:
                made = super().__new__(cls)
                made._thread = None
                made._at_exit = []
                made._registered = False
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

    def _start(self):
        with AsynCoro._lock:
            # Another thread may have started it while this one waited for the lock.
            if _engine.is_running():
                return
            if self._thread is not None:
                self._thread.join()
            if not self._registered:
                self._registered = True
                atexit.register(self._exit)
            started = threading.Event()
            failed = []

            def serve():
                try:
                    _engine.serve(started.set)
                except BaseException as error:
                    failed.append(error)
                    started.set()

            self._thread = threading.Thread(target=serve, name='asyncoro', daemon=True)
            self._thread.start()
            started.wait()
            if failed:
                raise failed[0]

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
        if timeout is None:
            return lock.acquire()
        return lock.acquire(True, min(max(0.0, timeout), threading.TIMEOUT_MAX))

    def finish(self):
        """Waits for all coroutines but daemons, then ends those and the scheduler."""
        self.join()
        self.terminate()

    def terminate(self):
        """Ends all coroutines, and the scheduler; a later coroutine starts a new one."""
        self._not_inside('terminate')
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        for coro in _engine.alive():
            coro.terminate()
        _engine.stop()
        thread.join()
        at_exit, self._at_exit = self._at_exit, []
        for _, function, args, kwargs in sorted(at_exit, key=lambda entry: -entry[0]):
            try:
                function(*args, **kwargs)
            except Exception as error:
                logger.warning('running %s failed:\n%s', function, _status.text_of(error))

    def atexit(self, priority, function, *args, **kwargs):
        """Calls `function` when the scheduler ends; a higher priority first."""
        self._at_exit.append((priority, function, args, kwargs))

    def drop_atexit(self, priority, function):
        """Removes a function that `atexit` was given."""
        self._at_exit = [entry for entry in self._at_exit if entry[:2] != (priority, function)]

    def _not_inside(self, what):
        if _engine.in_scheduler():
            raise RuntimeError('%s() would block the scheduler: call it in another thread' % what)

    def _exit(self):
        try:
            self.join()
        finally:
            try:
                self.terminate()
            finally:
                _engine.stop_watching()


def _after_fork():
    _engine.after_fork()
    AsynCoro._lock = threading.RLock()
    if AsynCoro._instance is not None:
        AsynCoro._instance._thread = None


os.register_at_fork(after_in_child=_after_fork)
_engine.set_hooks(_Hooks)
