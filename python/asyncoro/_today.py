"""Functions that asyncoro and pycos do not have: run, timeout, gather and others."""

import concurrent.futures
import inspect
import socket
import types

from . import _engine
from ._engine import AsyncSocket, Coro, current
from ._scheduler import AsynCoro


def run(main):
    """Runs `main`, a call of an `async def` or generator function; returns or raises what it does.

    In the main thread, if no scheduler runs, this is the scheduler: it returns when all coroutines
    other than daemons have ended, too, or when `main` has failed, and then ends what is left. Else
    it only waits for `main`. Ctrl-C ends all coroutines, and raises KeyboardInterrupt here.

    >>> asyncoro.run(main())
    """
    return AsynCoro()._run(main, True)


def run_until(main):
    """Runs `main` as `run` does, and ends all other coroutines as soon as it has ended.

    >>> asyncoro.run_until(main())
    """
    return AsynCoro()._run(main, False)


class _Expired(BaseException):
    """Thrown into a coroutine when the time of its `timeout` block is over."""


class timeout:
    """Bounds a block, or a call, in seconds: a wait in it raises TimeoutError when they are over.

    >>> with asyncoro.timeout(2.5):
    ...     data = await sock.recvall(1000)
    >>> data = await asyncoro.timeout(2.5, sock.recvall(1000))
    """

    __slots__ = ('_alarm', '_coro', '_expired', '_seconds')

    def __new__(cls, seconds, body=None):
        return super().__new__(cls) if body is None else _bounded(seconds, body)

    def __init__(self, seconds):
        self._seconds = seconds
        self._alarm = None

    def __enter__(self):
        self._coro = current()
        if self._coro is None:
            raise RuntimeError('timeout is for coroutines')
        self._expired = _Expired()
        if self._seconds is not None:
            self._alarm = _engine.alarm(self._coro, self._seconds, self._expired)
        return self

    def __exit__(self, kind, error, trace):
        if self._alarm is not None:
            self._alarm.cancel()
        if error is not None and error is self._expired:
            raise TimeoutError('timed out after %s s' % self._seconds) from None

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, kind, error, trace):
        return self.__exit__(kind, error, trace)


@types.coroutine
def _bounded(seconds, body):
    with timeout(seconds):
        if isinstance(body, Coro):
            return (yield from body.__await__())
        if inspect.isgenerator(body) or inspect.iscoroutine(body):
            return (yield from body)
        return (yield body)


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


@types.coroutine
def gather(*bodies):
    """Runs coroutines at once, and gives their values in order.

    Each is a function, a call of one, or a Coro. The first exception of any is raised here, and the
    others are terminated.

    >>> one, two = await asyncoro.gather(work(1), work(2))
    """
    coros = [_started(body) for body in bodies]
    collecting = Coro(_collect, coros)
    try:
        return (yield from collecting.__await__())
    finally:
        for coro in (collecting, *coros):
            if coro.is_alive():
                coro.terminate()


def _told(coro=None):
    yield coro.receive()


@types.coroutine
def wait_future(future):
    """Waits for a concurrent.futures.Future, and gives its result or raises what it raises.

    >>> value = await asyncoro.wait_future(pool.submit(work))
    """
    if not future.done():
        told = Coro(_told)
        future.add_done_callback(told.send)
        try:
            yield told.finish()
        finally:
            told.terminate()
    return future.result()


def _future(self):
    """Makes a concurrent.futures.Future of its end, for threads, and for asyncio by
    `asyncio.wrap_future`.

    >>> value = await asyncio.wrap_future(Coro(work).future())
    """
    future = concurrent.futures.Future()
    future.set_running_or_notify_cancel()

    def ended(coro):
        value, error = coro._outcome()
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    self._when_ended(ended)
    return future


Coro.future = _future


@types.coroutine
def create_connection(address, timeout=None, source_address=None, **tls):
    """Connects to (host, port), and gives an AsyncSocket. `timeout` (seconds) is for all of it.

    IPv6 and IPv4 race. `certfile`, `cafile` and the other options of AsyncSocket ask for TLS.

    >>> sock = await asyncoro.create_connection(('localhost', 8010))
    """
    with _timeout(timeout):
        if source_address is None:
            return (yield _engine.connect(address, **tls))
        family = socket.AF_INET6 if ':' in source_address[0] else socket.AF_INET
        sock = AsyncSocket(socket.socket(family), **tls)
        try:
            yield sock.create_connection(address, source_address=source_address)
        except BaseException:
            sock.close()
            raise
        return sock


_timeout = timeout


def create_server(address, *, family=socket.AF_INET, backlog=None, reuse_port=False, **tls):
    """Makes a listening AsyncSocket, bound to (host, port), with SO_REUSEADDR, or to a path.

    >>> server = asyncoro.create_server(('127.0.0.1', 8010))
    """
    if isinstance(address, (str, bytes)):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(address)
            sock.listen(*([] if backlog is None else [backlog]))
        except BaseException:
            sock.close()
            raise
    else:
        sock = socket.create_server(
            address, family=family, backlog=backlog, reuse_port=reuse_port
        )
    return AsyncSocket(sock, **tls)
