"""An event loop of asyncio's that is a scheduler of ours."""

import asyncio
import selectors
import socket
from asyncio import base_events, selector_events

from . import _engine


class _Watched(selectors.BaseSelector):
    """What a loop of ours watches, as asyncio's selector shows it."""

    def __init__(self):
        self.loop = None

    def _key(self, fd):
        reader, writer = self.loop._handles(fd)
        events = (selectors.EVENT_READ if reader is not None else 0) | (
            selectors.EVENT_WRITE if writer is not None else 0
        )
        return selectors.SelectorKey(fd, fd, events, (reader, writer))

    def get_map(self):
        if self.loop is None:
            return None
        return {fd: self._key(fd) for fd in self.loop._watched()}

    def get_key(self, fileobj):
        if self.loop is None:
            raise RuntimeError('Selector is closed')
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._key(fd)
        if not key.events:
            raise KeyError('%r is not registered' % (fileobj,))
        return key

    def _refuse(self, *args):
        raise NotImplementedError('asyncoro.EventLoop watches by add_reader() and add_writer()')

    register = unregister = modify = select = _refuse

    def close(self):
        self.loop = None


class _Transport(selector_events._SelectorSocketTransport):  # type: ignore[name-defined]
    """Receives by the loop, which has the memory, and not into 256 KiB of new memory each time."""

    def _read_ready__data_received(self):
        if self._conn_lost:
            return
        what = 'Fatal read error on socket transport'
        try:
            if self._sock.fileno() == self._sock_fd:
                data = self._loop._receive(self._sock_fd)
                if data is None:
                    return
            else:
                # Somebody else has closed it, and the number may be another's.
                data = self._sock.recv(self.max_size)
            if data:
                what = 'Fatal error: protocol.data_received() call failed.'
                self._protocol.data_received(data)
                return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, what)
            return
        self._read_ready__on_eof()


class EventLoop(_engine.Loop, asyncio.SelectorEventLoop):
    """An event loop of asyncio's that is a scheduler of ours.

    Coroutines and sockets of asyncoro run in it beside asyncio's tasks, with one wait for both.

    >>> asyncio.run(main(), loop_factory=asyncoro.new_event_loop)  # Python 3.12
    """

    def __init__(self):
        watched = _Watched()
        watched.loop = self
        try:
            super().__init__(watched)
        except BaseException:
            self._end_guest()
            self._end()
            self._closed = True
            raise

    def __repr__(self):
        return '<asyncoro.EventLoop running=%s closed=%s debug=%s>' % (
            self.is_running(), self.is_closed(), self.get_debug()
        )

    def _make_self_pipe(self):
        self._asyncoro_guest = self._begin()
        # For signals alone: what wakes it otherwise is the scheduler's.
        self._ssock, self._csock = socket.socketpair()
        self._ssock.setblocking(False)
        self._csock.setblocking(False)
        self._internal_fds += 1

    def _make_socket_transport(self, sock, protocol, waiter=None, *, extra=None, server=None):
        if type(sock) is not socket.socket:
            # One whose methods may be its own.
            return super()._make_socket_transport(
                sock, protocol, waiter, extra=extra, server=server
            )
        return _Transport(self, sock, protocol, waiter, extra, server)

    def add_signal_handler(self, sig, callback, *args):
        super().add_signal_handler(sig, callback, *args)
        # A signal that has come meanwhile is in the pipe.
        self._add_reader(self._ssock.fileno(), self._read_from_self)

    def remove_signal_handler(self, sig):
        removed = super().remove_signal_handler(sig)
        if not self._signal_handlers and not self.is_closed():
            self._remove_reader(self._ssock.fileno())
        return removed

    def set_debug(self, enabled):
        self._set_debug(bool(enabled))
        super().set_debug(enabled)

    def _run_in_debug(self, handle):
        if handle._cancelled:
            return
        try:
            self._current_handle = handle
            begun = self.time()
            handle._run()
            taken = self.time() - begun
            if taken >= self.slow_callback_duration:
                base_events.logger.warning(
                    'Executing %s took %.3f seconds', base_events._format_handle(handle), taken
                )
        finally:
            # Tracebacks refer to this frame.
            self._current_handle = handle = None

    async def sock_connect(self, sock, address):
        base_events._check_ssl_socket(sock)
        if self._debug and sock.gettimeout() != 0:
            raise ValueError('the socket must be non-blocking')
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            resolved = await self._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=self
            )
            address = resolved[0][4]
        return await self._connect(sock, address)

    def close(self):
        if self.is_running():
            raise RuntimeError('Cannot close a running event loop')
        if self.is_closed():
            return
        self._end_guest()
        vars(self).pop('_asyncoro_guest', None)
        super().close()
        self._end()


def new_event_loop():
    """Returns a new event loop of asyncio's that is a scheduler of ours."""
    return EventLoop()


def __getattr__(name):
    if name != 'EventLoopPolicy':
        raise AttributeError(name)

    # Made when it is asked for: asyncio warns of policies from Python 3.14 on.
    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        """A policy of asyncio's that makes event loops of ours, for programs that set one."""

        _loop_factory = EventLoop

    EventLoopPolicy.__module__ = 'asyncoro'
    EventLoopPolicy.__qualname__ = 'EventLoopPolicy'
    globals()[name] = EventLoopPolicy
    return EventLoopPolicy


EventLoop.__module__ = new_event_loop.__module__ = 'asyncoro'
