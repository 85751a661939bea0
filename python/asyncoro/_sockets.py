"""Passes to the regular socket what it has and `AsyncSocket` has not."""

import socket
import ssl

from ._engine import AsyncSocket, DatagramSocket


def _method(name):
    def passed_on(self, *args, **kwargs):
        return getattr(self._regular(), name)(*args, **kwargs)

    original = getattr(socket.socket, name)
    passed_on.__name__ = name
    passed_on.__qualname__ = 'AsyncSocket.' + name
    passed_on.__doc__ = getattr(original, '__doc__', None)
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


_complete()


if socket.timeout is TimeoutError:
    Timeout = TimeoutError
else:

    class Timeout(socket.timeout, TimeoutError):
        """A socket's timeout, caught by both names of the exception."""


def timed_out():
    """Makes the exception of a socket's timeout."""
    return Timeout('timed out')


def unresolved(code, reason):
    """Makes the exception for a name that has no address."""
    return socket.gaierror(code, reason)


def unverified(reason):
    """Makes the exception for a certificate that does not verify."""
    return ssl.SSLCertVerificationError(1, reason)


def insecure(reason):
    """Makes the exception for any other failure of TLS."""
    return ssl.SSLError(1, reason)
