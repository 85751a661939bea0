"""Passes to the regular socket what it has and `AsyncSocket` has not."""

import functools
import socket
import ssl
import sys

from ._engine import AsyncSocket, DatagramSocket, close_over, release_over


def _passed_on(name):
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
        made = _passed_on if callable(getattr(socket.socket, name)) else _attribute
        setattr(AsyncSocket, name, made(name))
    # Verbs of streams.
    for name in ('recvall', 'sendall', 'recv_msg', 'send_msg'):
        setattr(DatagramSocket, name, None)


def listen(self, *backlog):
    """Listens for connections; an error of the options for TLS is raised here at the latest."""
    self._check_server()
    return self._regular().listen(*backlog)


class _Stream:
    """What a file of `makefile` takes for the socket; TLS, and what was read ahead, are there."""

    def __init__(self, sock):
        self._sock = sock
        self._refs = 0

    @property
    def _io_refs(self):
        return self._refs

    @_io_refs.setter
    def _io_refs(self, count):
        self._refs = count
        self._sock._file_opened()

    def _decref_socketios(self):
        self._sock._file_closed()

    def recv_into(self, buffer):
        return self._sock._read_into(buffer)

    def send(self, data):
        return self._sock._write(data)

    def fileno(self):
        return self._sock.fileno()


@functools.wraps(socket.socket.makefile)
def makefile(self, *args, **kwargs):
    return socket.socket.makefile(_Stream(self), *args, **kwargs)


@functools.wraps(socket.socket.dup)
def dup(self):
    self._check_bypass('a duplicate')
    return self._regular().dup()


def connect_ex(self, address, /):
    """Connects as `connect` of the regular socket does, and gives the number of its error or 0."""
    if self._asks_for_tls():
        if not self.getblocking():
            self._check_bypass('connect_ex')
        try:
            return self.connect(address)
        except OSError as error:
            if error.errno is None:
                raise
            return error.errno
    return self._regular().connect_ex(address)


def sendfile(self, file, offset=0, count=None):
    """Sends the bytes of a binary file from `offset` on, `count` of them (None: to its end); gives
    how many were sent, and sets the file to what comes after them. A verb in coroutines.
    """
    check = getattr(socket.socket, '_check_sendfile_params')
    check(_Sendable(self.type), file, offset, count)
    if self.getblocking():
        return _send_file(self, file, offset, count)
    return _sending_file(self, file, offset, count)


class _Sendable:
    def __init__(self, type):
        self.type = type


_BLOCK = 1 << 18


def _blocks(file, offset, count):
    file.seek(offset)
    while count is None or count > 0:
        block = file.read(_BLOCK if count is None else min(_BLOCK, count))
        if not block:
            break
        yield block
        if count is not None:
            count -= len(block)


def _send_file(sock, file, offset, count):
    sent = 0
    try:
        for block in _blocks(file, offset, count):
            sock.sendall(block)
            sent += len(block)
    finally:
        if sent:
            file.seek(offset + sent)
    return sent


async def _sending_file(sock, file, offset, count):
    sent = 0
    try:
        for block in _blocks(file, offset, count):
            view = memoryview(block)
            while view:
                # After a timeout in its midst, `sendall` gives how many bytes were sent.
                done = await sock.send(view)
                sent += done
                view = view[done:]
    finally:
        if sent:
            file.seek(offset + sent)
    return sent


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
for _method in (listen, makefile, dup, connect_ex, sendfile):
    _method.__module__ = 'asyncoro'
    _method.__qualname__ = 'AsyncSocket.' + _method.__name__
    setattr(AsyncSocket, _method.__name__, _method)

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
