"""Servers that end well: accept, serve, stop."""

import collections
import time
import types

from . import signals as _signals
from ._engine import AsyncSocket, Event, Semaphore, sleep
from ._log import logger
from ._scope import scope
from ._today import first

#: How long handlers may take to end, and connections may be silent, after a server was told to
#: stop; in seconds.
_GRACE, _QUIET = 8, 1
#: The longest time in which the next handshake that has begun is done, when a server ends.
_HANDSHAKE = 1
#: How often connections are looked at in the time that they may be silent.
_LOOKS = 8
#: The shortest time between two looks, in seconds.
_SHORTEST = 0.001
#: How many of the connections that were ended by force are named in the log.
_MOST_NAMED = 20

Served = collections.namedtuple('Served', 'connections failed idle forced')
Served.__doc__ = """What a server has done: the connections that were accepted, those whose handler
has raised an exception, those that were closed by the idle timeout, and those whose handler was
terminated at the end."""


class Server:
    """A server of listening sockets: calls a function for each connection, in a coroutine of its
    own, until it is told to stop.

    >>> server = asyncoro.Server(asyncoro.create_server('127.0.0.1:8010'), limit=1000)
    >>> served = await server.serve(handler)
    """

    def __init__(
        self, *listeners, limit=None, idle_timeout=None, quiet=_QUIET, grace=_GRACE, signals=True
    ):
        if not listeners or not all(isinstance(each, AsyncSocket) for each in listeners):
            raise TypeError('a server has listening AsyncSockets')
        if limit is not None and limit < 1:
            raise ValueError('a server with a limit of %s connections serves nobody' % limit)
        self._listeners = listeners
        self._slots = None if limit is None else Semaphore(limit)
        self._idle_timeout, self._quiet, self._grace = idle_timeout, quiet, grace
        self._has_signals = signals
        self._stop, self._end = Event(), Event()
        self._keeps_queue = self._has_begun = False
        self._open = {}
        self._accepted = self._failed = self._idle = self._forced = 0

    # ---- For any code, in any thread

    def stop(self):
        """Begins a graceful end, as the first signal does."""
        self._stop.set()

    def release(self):
        """Begins a graceful end, and leaves the listeners, and the connections in their queues, to
        another process that has them.
        """
        self._keeps_queue = True
        self._stop.set()

    def end(self):
        """Ends the server at once, as the second signal does: handlers are terminated."""
        self._end.set()
        self._stop.set()

    @property
    def connections(self):
        """How many connections have a handler that has not ended."""
        return len(self._open)

    @property
    def served(self):
        """What was served until now."""
        return Served(self._accepted, self._failed, self._idle, self._forced)

    # ---- Its life

    @types.coroutine
    def serve(self, handler):
        """Serves until it is told to stop; gives counts when all handlers have ended.

        `handler(client, address)` is a generator function or an `async def`. It is told by
        `asyncoro.stopping` and `asyncoro.is_stopping`.
        """
        if self._has_begun:
            raise RuntimeError('a server serves once')
        self._has_begun = True
        # A signal counts from now on.
        told = _signals.shutdown() if self._has_signals else None
        serving = _Serving(self, handler, told)
        try:
            yield from serving.run()
        finally:
            if not self._keeps_queue:
                for listener in self._listeners:
                    listener.close()
        return self.served


@types.coroutine
def serve(listener, handler, **options):
    """Serves the connections of a listening socket until Ctrl-C or SIGTERM, as `Server(listener,
    **options).serve(handler)` does; gives counts.

    >>> served = await asyncoro.serve(asyncoro.create_server('127.0.0.1:8010'), handler)
    """
    return (yield from Server(listener, **options).serve(handler))


#: What of a connection the server has ended.
_READING, _BOTH = 1, 2


class _Connection:
    """A connection as its server sees it."""

    __slots__ = ('address', 'client', 'cut', 'moved', 'watched')

    def __init__(self, client, address):
        self.client, self.address = client, address
        self.watched = client._watched()
        self.moved = time.monotonic()
        #: Whether the server has ended it: None, _READING or _BOTH.
        self.cut = None

    def end(self, cut):
        """Ends a direction, or both, for the handler."""
        self.cut = cut
        self.watched.end(cut == _READING)


class _Serving:
    """The life of a server."""

    def __init__(self, server, handler, signal):
        self._server = server
        self._handler = handler
        self._signal = signal
        self._error = None

    @types.coroutine
    def run(self):
        yield from scope(self._block)
        if self._error is not None:
            raise self._error

    async def _block(self, scope):
        server, self._scope = self._server, scope
        accepting = [scope.spawn(self._accept_from, each) for each in server._listeners]
        watching = scope.spawn(self._watch)
        await first(server._stop.wait(), scope.stopping(), *self._signals())
        for each in accepting:
            each.terminate()
        for each in accepting:
            await each.finish()
        for connection in server._open.values():
            connection.watched.take_moved()
            connection.moved = time.monotonic()
        scope.stop()
        place, _ = await first(
            self._finish, server._end.wait(), sleep(server._grace), *self._signals()
        )
        if place:
            await self._force('within %s s' % server._grace if place == 2 else 'at once')
        watching.terminate()

    def _signals(self):
        return [] if self._signal is None else [self._next_signal]

    def _next_signal(self):
        yield self._signal

    def _accept_from(self, listener):
        server = self._server
        try:
            while True:
                if server._slots is not None:
                    yield server._slots.acquire()
                try:
                    client, address = yield listener.accept()
                except BaseException:
                    self._give_back()
                    raise
                self._start(client, address)
        except OSError as error:
            if self._error is None:
                self._error = error
            server._stop.set()

    def _give_back(self):
        if self._server._slots is not None:
            self._server._slots.release()

    def _start(self, client, address):
        server = self._server
        server._accepted += 1
        connection = _Connection(client, address)
        coro = self._scope.spawn(self._serve, connection)
        server._open[coro] = connection
        coro._when_ended(self._ended)

    def _serve(self, connection):
        try:
            yield self._handler(connection.client, connection.address)
        except Exception as error:
            self._failed(connection, error)

    def _failed(self, connection, error):
        line = 'connection of %s ended: %s'
        if connection.cut is not None:
            logger.debug(line + ', after the server had ended it', connection.address, error)
            return
        self._server._failed += 1
        if isinstance(error, (ConnectionResetError, BrokenPipeError)):
            logger.debug(line, connection.address, error)
        elif isinstance(error, EOFError):
            logger.info(line, connection.address, error)
        else:
            logger._report('the connection of %s' % (connection.address,), error)

    def _ended(self, coro):
        connection = self._server._open.pop(coro)
        connection.client.close()
        self._give_back()

    def _finish(self):
        """Serves what is queued, and waits for the handlers."""
        server = self._server
        for listener in server._listeners:
            if not server._keeps_queue:
                yield self._take_queued(listener)
                listener.close()
        while server._open:
            yield next(iter(server._open)).finish()

    def _take_queued(self, listener):
        # A handshake that has begun takes a while.
        pause = _HANDSHAKE if listener._is_secure() else 0
        while True:
            if self._server._slots is not None:
                yield self._server._slots.acquire()
            try:
                place, accepted = yield first(listener.accept(), sleep(pause))
            except OSError:
                place = 1
            if place:
                self._give_back()
                return
            self._start(*accepted)

    async def _force(self, when):
        """Terminates the handlers that are left."""
        left = list(self._server._open.items())
        for coro, _ in left:
            coro.terminate()
        for coro, _ in left:
            await coro.finish()
        cut_off = [connection for coro, connection in left if coro._was_terminated()]
        self._server._forced += len(cut_off)
        if cut_off:
            logger.warning(
                'a server has ended %d connections that did not end %s: %s', len(cut_off), when,
                ', '.join(str(connection.address) for connection in cut_off[:_MOST_NAMED]),
            )

    def _watch(self):
        """Looks after silent connections."""
        server = self._server
        while True:
            quiet = server._quiet if self._scope.is_stopping() else None
            times = [each for each in (server._idle_timeout, quiet) if each is not None]
            if not times:
                yield self._scope.stopping()
                continue
            yield sleep(max(min(times) / _LOOKS, _SHORTEST))
            self._look(server._idle_timeout, quiet)

    def _look(self, idle_timeout, quiet):
        now = time.monotonic()
        for connection in list(self._server._open.values()):
            if connection.cut == _BOTH:
                continue
            if connection.watched.take_moved():
                connection.moved = now
                continue
            silent = now - connection.moved
            if idle_timeout is not None and silent >= idle_timeout:
                self._server._idle += 1
                connection.end(_BOTH)
            elif (
                quiet is not None
                and silent >= quiet
                and connection.cut is None
                and not connection.watched.has_received()
            ):
                connection.end(_READING)
