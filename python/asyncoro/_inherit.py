"""Listeners that go from one process to the next."""

import errno
import fcntl
import os
import socket
import types

from ._engine import AsyncSocket
from ._today import create_server

#: The first descriptor that is handed over.
_FIRST = 3
#: The most descriptors that one message carries, and the longest list of names, in bytes.
_MOST, _LONGEST = 253, 64 << 10
#: What the taker answers.
_READY = b'ready'

_is_taken = False


def inherited():
    """Takes the descriptors that this process was started with, by socket activation
    (sd_listen_fds(3)) or by `inheriting`: a list of names and sockets of `socket`. It is empty if
    they are for another process, and at a second call.

    >>> for name, sock in asyncoro.inherited():
    ...     asyncoro.Coro(serve, asyncoro.AsyncSocket(sock))
    """
    global _is_taken
    if _is_taken or os.environ.get('LISTEN_PID') != str(os.getpid()):
        return []
    _is_taken = True
    text = os.environ.get('LISTEN_FDS', '')
    if not text.isdecimal():
        raise ValueError('LISTEN_PID is of this process, and LISTEN_FDS is no number: %r' % text)
    names = os.environ.get('LISTEN_FDNAMES', '').split(':')
    numbers = range(_FIRST, _FIRST + int(text))
    # All are looked at before one is taken.
    for number in numbers:
        if fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            raise FileExistsError(
                errno.EEXIST, 'LISTEN_FDS: this process itself has opened descriptor %d' % number
            )
    taken = []
    for place, number in enumerate(numbers):
        os.set_inheritable(number, False)
        name = (names[place] if place < len(names) else '') or 'unknown'
        taken.append((name, socket.socket(fileno=number)))
    # They are not for the children of this process.
    for name in ('LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'):
        os.environ.pop(name, None)
    return taken


def listener(address, **options):
    """Returns the listener that this process was started with, the first one, as an AsyncSocket;
    or else makes one, as `create_server(address, **options)`.

    >>> server = asyncoro.listener('127.0.0.1:8010')
    """
    taken = inherited()
    if not taken:
        return create_server(address, **options)
    tls = {
        name: value
        for name, value in options.items()
        if name not in ('family', 'backlog', 'reuse_port')
    }
    return _converted(taken[0][1], **tls)


def _converted(sock, **tls):
    # For good: another process that shares it might wait in accept(2) else.
    sock.setblocking(False)
    return AsyncSocket(sock, **tls)


def inheriting(command, listener, name='listener', **options):
    """Starts a program with a listener, which `inherited`, `listener` and all other programs that
    know socket activation find there; gives the subprocess.Popen, which `options` are for. Its
    standard input is empty.

    >>> asyncoro.inheriting([sys.executable, *sys.argv], server)
    """
    import subprocess

    if not name or ':' in name or not name.isprintable():
        raise ValueError('a listener cannot be named %r' % name)
    listener._leave_nonblocking()
    variables = dict(os.environ if options.get('env') is None else options['env'])
    variables.update(LISTEN_FDS='1', LISTEN_FDNAMES=name)
    # The shell knows the number of the process that it becomes.
    script = 'export LISTEN_PID=$$; exec "$0" "$@" 3<&0 </dev/null'
    options.update(stdin=listener.fileno(), env=variables)
    return subprocess.Popen(['/bin/sh', '-c', script, *command], **options)


@types.coroutine
def hand_over(to, listeners):
    """Hands listeners, by their names, to another process, over a connected Unix socket, and waits
    until that says that it accepts. Both have them then; `Server.release` ends this one.

    >>> await asyncoro.hand_over(sock, {'http': server})
    """
    for name in listeners:
        if not name or '\n' in name:
            raise ValueError('a listener cannot be named %r' % name)
    if not 0 < len(listeners) <= _MOST:
        raise ValueError('%d listeners are handed over' % len(listeners))
    for each in listeners.values():
        each._leave_nonblocking()
    names = ''.join(name + '\n' for name in listeners) + '\n'
    fds = [each.fileno() for each in listeners.values()]
    names = names.encode()
    sent = yield from to.send_fds([names], fds)
    yield from to.sendall(names[sent:])
    answer = yield from to.recv_line(len(_READY) + 1)
    if answer != _READY:
        raise EOFError('the other process has ended before it was ready to accept')


class TakenOver:
    """What `take_over` gives: `listeners`, a dict of AsyncSockets by their names. If it is dropped
    without a call of `ready`, the stream to the other process ends, which does not wait for ever.
    """

    def __init__(self, origin, listeners):
        self._origin = origin
        #: The way to the process that waits, until it was told.
        self._giver = origin._watched()
        self.listeners = listeners

    @types.coroutine
    def ready(self):
        """Tells the other process that this one accepts.

        >>> await taken.ready()
        """
        yield from self._origin.sendall(_READY + b'\n')
        yield from self._origin.flush()
        self._giver = None

    def __del__(self):
        if self._giver is not None:
            self._giver.end(False)


@types.coroutine
def take_over(origin):
    """Takes the listeners that another process hands over, over a connected Unix socket.

    >>> taken = await asyncoro.take_over(sock)
    """
    text, fds = b'', []
    try:
        while not text.endswith(b'\n\n'):
            data, more, _, _ = yield from origin.recv_fds(_LONGEST, _MOST)
            fds.extend(more)
            text += data
            if not data:
                raise EOFError('the stream has ended before the listeners had come')
            if len(text) > _LONGEST:
                raise ValueError('the names of listeners that are handed over do not end')
        names = text.decode().split('\n')[:-2]
        if len(names) != len(fds):
            raise ValueError('%d listeners have come, and %d names' % (len(fds), len(names)))
        listeners = {}
        for name in names:
            sock = socket.socket(fileno=fds.pop(0))
            listeners[name] = _converted(sock)
    finally:
        for fd in fds:
            os.close(fd)
    return TakenOver(origin, listeners)
