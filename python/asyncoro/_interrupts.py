"""Lets Ctrl-C end a scheduler that runs in the main thread, in a call of `run`."""

import os
import signal
import socket

from . import _engine, signals
from ._engine import AsyncSocket, Coro


class Interrupts:
    """Handles SIGINT while a scheduler runs in this thread, the main one.

    A coroutine that runs gets KeyboardInterrupt where it is; in any case the scheduler ends. It is
    never raised in the code between the coroutines, where it might be lost.

    Python's handlers run in the main thread, as soon as it runs code of Python's. While the
    scheduler waits for the kernel, a byte in a socket wakes it, and a coroutine that reads it.
    """

    def __init__(self):
        self.count = 0
        self._process = os.getpid()
        self._heeding = None
        self._before = -1

    def __enter__(self):
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        self._handles = is_default and not signals.takes(signal.SIGINT)
        if self._handles:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exception):
        if os.getpid() == self._process:
            signal.set_wakeup_fd(self._before)
        self._writing.close()
        self._reading.close()
        if self._handles and signal.getsignal(signal.SIGINT) == self._handle:
            if not signals.takes(signal.SIGINT):
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def heed(self):
        """Starts to read what signals write; called in the scheduler."""
        self._heeding = Coro(self._heed, AsyncSocket(self._reading))

    def _heed(self, sock, coro=None):
        coro.set_daemon()
        while True:
            data = yield sock.recv(4096)
            # The interpreter's own note that a signal has come may be lost: it is overwritten where
            # one comes just while the GIL is taken. The byte is not.
            _engine.check_signals()
            if self._before != -1:
                try:
                    os.write(self._before, data)
                except OSError:
                    pass

    def _handle(self, number, frame):
        if os.getpid() != self._process:
            raise KeyboardInterrupt
        self.count += 1
        _engine.stop()
        if _engine.current() not in (None, self._heeding):
            raise KeyboardInterrupt


def after_fork():
    """Leaves the parent's socket alone, in the child of a fork that a coroutine has made."""
    try:
        signal.set_wakeup_fd(-1)
    except ValueError:
        pass
