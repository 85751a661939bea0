"""Functions that asyncoro and pycos do not have: run, timeout, gather and others."""

import concurrent.futures
import inspect
import os
import socket
import sys
import types
import weakref

from . import _engine
from ._delegate import delegated
from ._engine import AsyncSocket, Call, Coro, current
from ._scheduler import AsynCoro


def run(main, *, asyncio=False):
    """Runs `main`, a call of an `async def` or generator function; returns or raises what it does.

    In the main thread, if no scheduler runs, this is the scheduler: it returns when all coroutines
    other than daemons have ended, too, or when `main` has failed, and then ends what is left. Else
    it only waits for `main`. Ctrl-C ends all coroutines, and raises KeyboardInterrupt here.

    With `asyncio=True` all of it happens in an event loop of asyncio's, so that its futures and
    tasks can be awaited, and libraries for it be used; `asyncio` may also be what makes the loop,
    as `uvloop.new_event_loop`.

    >>> asyncoro.run(main())
    """
    if asyncio:
        return _run_in_loop(main, True, asyncio)
    return AsynCoro()._run(main, True)


def _run_in_loop(main, waits, factory):
    from . import _guest

    return _guest.run(main, Coro, waits, None if factory is True else factory)


def run_until(main, *, asyncio=False):
    """Runs `main` as `run` does, and ends all other coroutines as soon as it has ended.

    >>> asyncoro.run_until(main())
    """
    if asyncio:
        return _run_in_loop(main, False, asyncio)
    return AsynCoro()._run(main, False)


class _Expired(BaseException):
    """Thrown into a coroutine when the time of its `timeout` block is over."""


def timeout(seconds, body=None):
    """Bounds a block, or a call, in seconds: a wait in it raises TimeoutError when they are over.

    >>> with asyncoro.timeout(2.5):
    ...     data = await sock.recvall(1000)
    >>> data = await asyncoro.timeout(2.5, sock.recvall(1000))
    """
    return _Bound(seconds) if body is None else _bounded(seconds, body)


class _Bound:
    """Bounds the block of a `with`."""

    __slots__ = ('_alarm', '_coro', '_expired', '_expiry', '_seconds')

    def __init__(self, seconds):
        self._seconds = seconds
        self._alarm = self._expiry = None

    def __enter__(self):
        self._coro = _engine.running()
        if self._coro is None:
            self._expiry = _expiry_in_task(self._seconds)
            return self
        self._expired = _Expired()
        if self._seconds is not None:
            self._alarm = _engine.alarm(self._coro, self._seconds, self._expired)
        return self

    def __exit__(self, kind, error, trace):
        if self._expiry is not None:
            return self._expiry.end(error)
        if self._alarm is not None:
            self._alarm.cancel()
        if error is not None and error is self._expired:
            raise TimeoutError('timed out after %s s' % self._seconds) from None

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, kind, error, trace):
        return self.__exit__(kind, error, trace)


def _expiry_in_task(seconds):
    """Bounds a block in a task of asyncio's."""
    if 'asyncio' in sys.modules:
        from . import _guest

        task = _guest.in_task()
        if task is not None:
            return _guest.Expiry(task, seconds)
    raise RuntimeError('timeout is for coroutines')


@types.coroutine
def _bounded(seconds, body):
    with _Bound(seconds):
        return (yield from delegated(body))


def _started(body):
    return body if isinstance(body, Coro) else Coro(body)


def _collect(coros, coro=None):
    for place, each in enumerate(coros):
        each._when_ended(lambda _, place=place: coro.send(place))
    for _ in coros:
        place = yield coro.receive()
        error = coros[place]._outcome()[1]
        if error is not None:
            raise error
    return [each._outcome()[0] for each in coros]


def _terminate(coros):
    for coro in coros:
        if coro.is_alive():
            coro.terminate()


def _ended(coros, owner, is_ending=False):
    """Terminates them and waits until they have ended. What is thrown in meanwhile is raised after
    that.
    """
    _terminate(coros)
    late = None
    for coro in coros:
        while coro.is_alive() and coro is not current():
            try:
                yield from coro.finish()
            except GeneratorExit as error:
                # Its time for that is over, or it is closed, and cannot wait.
                if is_ending or _engine.running() is not owner:
                    raise
                is_ending, late = True, error
            except BaseException as error:
                late = error
    if late is not None:
        raise late


@types.coroutine
def gather(*bodies):
    """Runs coroutines at once, and gives their values in order.

    Each is a function, a call of one, or a Coro. The first exception of any is raised here, when
    the others were terminated and have ended.

    >>> one, two = await asyncoro.gather(work(1), work(2))
    """
    coros = []
    owner = _engine.running()
    try:
        for body in bodies:
            coros.append(_started(body))
        coros.append(Coro(_collect, coros[:]))
        return (yield from coros[-1].__await__())
    except GeneratorExit:
        # A coroutine that is terminated can wait; a generator that is closed cannot.
        if owner is None or _engine.running() is not owner:
            _terminate(coros)
            raise
        yield from _ended(coros, owner, True)
        raise
    except BaseException:
        yield from _ended(coros, owner)
        raise


#: By the future, the coroutines that wait for it: the future knows one callback for all.
_waiting: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


@types.coroutine
def first(*bodies):
    """Waits for the first of several that ends, and gives its place among them and its value, or
    raises its exception.

    Each is a call, as `sock.recv(100)`, a function, a call of one, or a Coro. The others are given
    up: a call of a socket has then done nothing, and a coroutine is terminated.

    >>> place, value = await asyncoro.first(sock.recv(100), asyncoro.sleep(1))
    """
    coros = []
    try:
        for body in bodies:
            coros.append(None if isinstance(body, Call) else _started(body))
        pairs = zip(bodies, coros)
        calls = [body if coro is None else coro.__await__() for body, coro in pairs]
        return (yield from _engine.first(*calls))
    finally:
        for coro in coros:
            if coro is not None and coro.is_alive():
                coro.terminate()


def _told(coro=None):
    yield coro.receive()


def _tell(future):
    for told in _waiting.pop(future, ()):
        told.send(future)


@types.coroutine
def wait_future(future):
    """Waits for a concurrent.futures.Future, and gives its result or raises what it raises.

    >>> value = await asyncoro.wait_future(pool.submit(work))
    """
    if not future.done():
        told = Coro(_told)
        others = _waiting.get(future)
        if others is None:
            others = _waiting[future] = []
            others.append(told)
            future.add_done_callback(_tell)
        else:
            others.append(told)
            if future.done():
                # Its callback may have run before.
                told.send(future)
        try:
            yield from told.finish()
        finally:
            told.terminate()
            if told in others:
                others.remove(told)
    return future.result()


#: The futures of coroutines that have not ended, by the address of the coroutine: one for all who
#: ask.
_futures: dict = {}


def _future(self):
    """Makes a concurrent.futures.Future of its end, for threads, and for asyncio by
    `asyncio.wrap_future`.

    >>> value = await asyncio.wrap_future(Coro(work).future())
    """
    future = _futures.get(id(self))
    if future is not None:
        return future
    future = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    _futures[id(self)] = future

    def ended(coro):
        _futures.pop(id(coro), None)
        value, error = coro._outcome()
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    self._when_ended(ended)
    return future


Coro.future = _future


def _named(address):
    """Returns the host and the port that a text names; any other address as it is.

    A text with a slash, or without a colon, is the path of a Unix socket.
    """
    if isinstance(address, os.PathLike):
        return os.fspath(address)
    if not isinstance(address, str) or address[:1] == '\0':
        return address
    if '/' in address or ':' not in address:
        return address
    host, _, port = address.rpartition(':')
    bracketed = host[:1] == '[' and host[-1:] == ']' and ':' in host
    if bracketed:
        host = host[1:-1]
    is_port = port.isascii() and port.isdigit() and int(port) < 65536
    if not is_port or not bracketed and any(mark in host for mark in ':[]'):
        raise ValueError(
            'invalid address %r: expected host:port with a port of 0 to 65535, [::1]:80 for IPv6, '
            'or a path with a slash' % address
        )
    return host, int(port)


@types.coroutine
def create_connection(address, timeout=None, source_address=None, **tls):
    """Connects to (host, port), 'host:port' or a path, and gives an AsyncSocket. `timeout`
    (seconds) is for all of it.

    IPv6 and IPv4 race. `certfile`, `cafile` and the other options of AsyncSocket ask for TLS.

    >>> sock = await asyncoro.create_connection('localhost:8010')
    """
    address = _named(address)
    with _Bound(timeout):
        if source_address is None:
            return (yield from _engine.connect(address, **tls))
        source_address = _named(source_address)
        family = socket.AF_INET6 if ':' in source_address[0] else socket.AF_INET
        sock = _converted(socket.socket(family), tls)
        try:
            yield from sock.create_connection(address, source_address=source_address)
        except BaseException:
            sock.close()
            raise
        return sock


def create_server(address, *, family=socket.AF_INET, backlog=None, reuse_port=False, **tls):
    """Makes a listening AsyncSocket, bound to (host, port) or 'host:port', with SO_REUSEADDR, or
    to a path.

    >>> server = asyncoro.create_server('127.0.0.1:8010')
    """
    named = _named(address)
    if isinstance(named, (str, bytes)):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(named)
            sock.listen(*([] if backlog is None else [backlog]))
        except BaseException:
            sock.close()
            raise
    else:
        if isinstance(address, str) and ':' in named[0]:
            family = socket.AF_INET6
        sock = socket.create_server(named, family=family, backlog=backlog, reuse_port=reuse_port)
    return _converted(sock, tls)


def _converted(sock, tls):
    """Converts a plain socket, which is closed if that fails."""
    try:
        return AsyncSocket(sock, **tls)
    except BaseException:
        sock.close()
        raise
