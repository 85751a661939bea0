"""Passes to the regular socket what it has and `AsyncSocket` has not."""

import functools
import socket
import ssl
import sys

from ._engine import AsyncSocket, DatagramSocket


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


_ssl_version = None


def get_ssl_version(cls):
    """Returns what `set_ssl_version` was given, or None."""
    return _ssl_version


def set_ssl_version(cls, version):
    """Has no effect; old programs call it. Use `ssl_version`."""
    global _ssl_version
    _ssl_version = version


_complete()
AsyncSocket.listen = listen
AsyncSocket.get_ssl_version = classmethod(get_ssl_version)
AsyncSocket.set_ssl_version = classmethod(set_ssl_version)

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
