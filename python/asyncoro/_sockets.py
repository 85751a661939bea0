"""What a regular socket has and `AsyncSocket` has not: passed on to the regular socket."""

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
    # Datagrams have no borders to put bytes between.
    for name in ('recvall', 'sendall', 'recv_msg', 'send_msg'):
        setattr(DatagramSocket, name, None)


_ssl_version = None


def get_ssl_version(cls):
    """What `set_ssl_version` was told."""
    return _ssl_version


def set_ssl_version(cls, version):
    """Kept for old programs, and without effect, as it was: `ssl_version` has one."""
    global _ssl_version
    _ssl_version = version


_complete()
AsyncSocket.get_ssl_version = classmethod(get_ssl_version)
AsyncSocket.set_ssl_version = classmethod(set_ssl_version)


if socket.timeout is TimeoutError:
    Timeout = TimeoutError
else:

    class Timeout(socket.timeout, TimeoutError):
        """A socket's timeout, by both names that it has had."""


def timed_out():
    """What a socket's timeout raises."""
    return Timeout('timed out')


def unresolved(code, reason):
    """What a name that has no address raises."""
    return socket.gaierror(code, reason)


def unverified(reason):
    """What a certificate raises that does not verify."""
    return ssl.SSLCertVerificationError(1, reason)


def insecure(reason):
    """What any other failure of TLS raises."""
    return ssl.SSLError(1, reason)
