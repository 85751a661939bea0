"""Passes to the regular socket what it has and `AsyncSocket` has not."""

import functools
import socket
import ssl
import sys

from ._engine import AsyncSocket, DatagramSocket, close_over, release_over


def _method(name):
    # With the signature of the original, where that has one.
    @functools.wraps(getattr(socket.socket, name))
    def passed_on(self, *args, **kwargs):
        return getattr(self._regular(), name)(*args, **kwargs)

    passed_on.__module__ = 'asyncoro'
    passed_on.__qualname__ = 'AsyncSocket.' + name
    return passed_on


def _attribute(name):
    def get(self):
        return getattr(self._regular(), name)

    return property(get, doc='The %s of the regular socket.' % name)


def _complete():
    for name in dir(socket.socket):
        if name.startswith('_') or name in AsyncSocket.__dict__:
            continue
        made = _method if callable(getattr(socket.socket, name)) else _attribute
        setattr(AsyncSocket, name, made(name))
    # Verbs of streams.
    for name in ('recvall', 'sendall', 'recv_msg', 'send_msg'):
        setattr(DatagramSocket, name, None)


def listen(self, *backlog):
    """Listens for connections; an error of the options for TLS is raised here at the latest."""
    self._check_server()
    return self._regular().listen(*backlog)


class _Blocking(type):
    def __instancecheck__(cls, sock):
        return isinstance(sock, AsyncSocket) and sock.getblocking()


class BlockingSocket(metaclass=_Blocking):
    """Makes an `AsyncSocket(sock, blocking=True)`: its verbs wait in the thread.

    It is the name of that mode, also for `isinstance` and for type checkers. A socket changes its
    mode in place, so its class is `AsyncSocket` all the same.

    >>> sock = BlockingSocket(socket.socket())
    >>> isinstance(sock, BlockingSocket)
    True
    """

    def __new__(cls, sock, keyfile=None, certfile=None, ssl_version=None, **tls):
        return AsyncSocket(sock, True, keyfile, certfile, ssl_version, **tls)


class _Watched:
    """What a regular socket does while there is an AsyncSocket over it: it ends that first."""

    __slots__ = ()

    def _real_close(self, *args, **kwargs):
        # What was closed closes this one again, when it has let go of the descriptor.
        if not close_over(self):
            _own_class(self)._real_close(self, *args, **kwargs)

    def detach(self):
        release_over(self)
        return _own_class(self).detach(self)


def _own_class(sock):
    cls = type(sock)
    return cls.__bases__[1] if issubclass(cls, _Watched) else cls


_watched: dict = {}


def _watched_class(cls):
    made = _watched.get(cls)
    if made is None:
        names = {'__slots__': (), '__module__': cls.__module__, '__doc__': cls.__doc__}
        names['__qualname__'] = cls.__qualname__
        made = _watched[cls] = type(cls)(cls.__name__, (_Watched, cls), names)
    return made


def watch(sock):
    """Makes a regular socket end the AsyncSockets over it when it is closed or detached.

    Nobody else tells of that: epoll forgets the descriptor, whose number is soon another's.
    """
    if isinstance(sock, socket.socket) and not isinstance(sock, _Watched):
        try:
            sock.__class__ = _watched_class(type(sock))
        except TypeError:
            # A class of somebody else's, of which no other can be derived.
            pass


def unwatch(sock):
    """Gives a regular socket its own class back."""
    if isinstance(sock, _Watched):
        sock.__class__ = _own_class(sock)


_complete()
AsyncSocket.listen = listen

# So that `BlockingSocket.recv(sock, 10)` works, and the documentation of a method is found.
for _name, _value in list(AsyncSocket.__dict__.items()):
    if not _name.startswith('_'):
        setattr(BlockingSocket, _name, _value)


if sys.version_info >= (3, 10):
    Timeout = TimeoutError
else:

    class Timeout(socket.timeout, TimeoutError):
        """A socket's timeout, caught by both names of the exception."""


def timed_out():
    """Makes the exception of a socket's timeout."""
    return Timeout('timed out')


def unresolved(code, reason, host):
    """Makes the exception for a name that has no address."""
    return socket.gaierror(code, reason, host)


def unverified(reason):
    """Makes the exception for a certificate that does not verify."""
    return ssl.SSLCertVerificationError(1, reason)


def insecure(reason):
    """Makes the exception for any other failure of TLS."""
    return ssl.SSLError(1, reason)
