"""Servers that end well: accept, serve, stop."""

import collections
import time
import types

from . import signals as _signals
from ._engine import AsyncSocket, Event, Semaphore, sleep
from ._log import logger
from ._scope import is_cancelled, scope, seconds
from ._today import first

#: How long handlers may take to end, and connections may be silent, after a server was told to
#: stop; in seconds.
_GRACE, _QUIET = 8, 1
#: Connections that are taken from the queue of a listener that is about to be closed, at most, how
#: many of them before others come first, and the pause where there is no descriptor, in seconds.
_MOST_QUEUED, _SHARE, _PAUSE = 1 << 16, 64, 0.02
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
        self._idle_timeout, self._quiet = seconds(idle_timeout), seconds(quiet)
        self._grace = seconds(grace) or 0
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

    __slots__ = ('address', 'client', 'cut', 'has_failed', 'moved', 'watched')

    def __init__(self, client, address):
        self.client, self.address = client, address
        self.watched = client._watched()
        self.moved = time.monotonic()
        #: Whether the server has ended it: None, _READING or _BOTH.
        self.cut = None
        self.has_failed = False

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
        #: Connections that were accepted and wait for a slot: as many as there are listeners, and
        #: those that were queued when the server was told to stop.
        self._waiting = collections.deque()
        self._ends = None

    @types.coroutine
    def run(self):
        yield from scope(self._block)
        if self._error is not None:
            raise self._error

    async def _block(self, scope):
        server, self._scope = self._server, scope
        accepting = [scope.spawn(self._accept_from, each) for each in server._listeners]
        watching = scope.spawn(self._watch)
        place, _ = await first(server._stop.wait(), scope.stopping(), *self._signals(1))
        # The first signal asks for what has begun already.
        left = 1 if place == 2 else 2
        for each in accepting:
            each.terminate()
        for each in accepting:
            await each.finish()
        for connection in server._open.values():
            connection.watched.take_moved()
            connection.moved = time.monotonic()
        scope.stop()
        self._ends = time.monotonic() + server._grace
        finishing = [scope.spawn(self._finish_queue, each) for each in server._listeners]
        place, _ = await first(
            self._all_ended(finishing), server._end.wait(), sleep(server._grace),
            *self._signals(left),
        )
        if place:
            for each in finishing:
                each.terminate()
            await self._force('within %s s' % server._grace if place == 2 else 'at once')
        watching.terminate()

    def _signals(self, count):
        return [] if self._signal is None else [self._wait_for_signals(count)]

    def _wait_for_signals(self, count):
        for _ in range(count):
            yield self._signal

    def _accept_from(self, listener):
        server = self._server
        try:
            while True:
                # It has no slot while it waits for a client: another listener may need it.
                yield self._slot()
                self._give_back()
                self._waiting.append((yield listener.accept()))
                yield self._start_waiting()
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
        except BaseException as error:
            # A future or a task that it has waited for was cancelled: its failure, like others.
            if not is_cancelled(error):
                raise
            self._failed(connection, error)

    def _failed(self, connection, error):
        line = 'connection of %s ended: %s'
        is_peers = isinstance(error, (OSError, EOFError))
        if connection.cut == _BOTH or connection.cut == _READING and is_peers:
            logger.debug(line + ', after the server had ended it', connection.address, error)
            return
        if connection.has_failed:
            return
        connection.has_failed = True
        self._server._failed += 1
        if isinstance(error, (ConnectionResetError, BrokenPipeError)):
            logger.debug(line, connection.address, error)
        elif isinstance(error, EOFError):
            logger.info(line, connection.address, error)
        else:
            logger._report('the connection of %s' % (connection.address,), error)

    def _ended(self, coro):
        connection = self._server._open.pop(coro)
        self._give_back()
        try:
            connection.client.close()
        except OSError as error:
            # What was queued could not be sent.
            self._failed(connection, error)

    def _all_ended(self, finishing):
        """Waits until what is queued was served, and the handlers have ended."""
        for each in finishing:
            yield each.finish()
        while self._server._open:
            yield next(iter(self._server._open)).finish()

    def _finish_queue(self, listener):
        """Takes the connections that wait for a listener, unless others do, and closes it. Those
        whose handshake has begun are served in any case.
        """
        try:
            begun = listener._begun()
            if not self._server._keeps_queue:
                yield self._take_queued(listener)
                listener.close()
        except OSError:
            # Somebody has closed it.
            return
        yield self._start_waiting()
        while True:
            place, accepted = yield first(begun.next(), sleep(self._server._quiet))
            if place or not accepted:
                break
            self._waiting.append(accepted)
            yield self._start_waiting()
        begun.end()

    def _take_queued(self, listener):
        # All at once, whatever the limit: those that come later are not this server's.
        for number in range(1, _MOST_QUEUED + 1):
            accepted = listener._accept_now()
            if isinstance(accepted, tuple):
                self._waiting.append(accepted)
            elif accepted is False:
                break
            yield self._start_ready()
            if accepted is None:
                # There is no descriptor.
                yield sleep(_PAUSE)
            elif number % _SHARE == 0:
                yield sleep(0)

    def _start_waiting(self):
        """Starts those that wait for a slot, as there is one for them."""
        while self._waiting:
            yield self._slot()
            if self._waiting:
                self._start(*self._waiting.popleft())
            else:
                self._give_back()

    def _start_ready(self):
        """Starts those for which there is a slot now."""
        slots = self._server._slots
        while self._waiting and (slots is None or (yield slots.acquire(False))):
            self._start(*self._waiting.popleft())

    def _slot(self):
        """Waits until there may be one more connection."""
        if self._server._slots is not None:
            yield self._server._slots.acquire()

    async def _force(self, when):
        """Terminates the handlers that are left, and closes what waits for a slot."""
        if self._waiting:
            logger.warning(
                'a server has closed %d connections that nobody had served %s: the limit was '
                'reached', len(self._waiting), when,
            )
        while self._waiting:
            self._waiting.popleft()[0].close()
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
                if self._scope.is_stopping():
                    return
                yield self._scope.stopping()
                continue
            yield sleep(max(min(times) / _LOOKS, _SHORTEST))
            self._look(server._idle_timeout, quiet)

    def _look(self, idle_timeout, quiet):
        now = time.monotonic()
        # Those on which a request may be under way have their last chance to end in order.
        is_late = quiet is not None and self._ends - now <= quiet
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
                and (is_late or not connection.watched.has_received())
            ):
                connection.end(_READING)
