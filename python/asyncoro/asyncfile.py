"""Files, pipes and processes for coroutines: `AsyncFile` and `AsyncPipe`.

>>> async def checksum(path):
...     process = subprocess.Popen(['sha1sum'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
...     async with asyncoro.asyncfile.AsyncPipe(process) as pipe:
...         out, _ = await pipe.communicate(open(path, 'rb'))
...     return out.split()[0]

A verb of a file works with `yield` and with `await`, in coroutines and in tasks of asyncio's.
"""

import os
import subprocess
import types

from ._engine import AsyncFile, Call, first, sleep
from ._today import timeout as _bounded
from ._verbs import verb

__all__ = ['AsyncFile', 'AsyncPipe']

#: How much of the input of a process is read at once, in bytes.
_PIECE = 1 << 16


class AsyncPipe:
    """The standard streams of a process, or of the first and the last of a chain of processes.

    `first` and `last` are `subprocess.Popen` objects with pipes; what else a Popen has is that of
    `last`. Whoever wants text decodes what is read.

    >>> pipe = AsyncPipe(subprocess.Popen(['sort'], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    >>> out, err = await pipe.communicate(b'two\\none\\n')
    """

    def __init__(self, first, last=None):
        last = first if last is None else last
        for process in (first, last):
            if not isinstance(process, subprocess.Popen):
                raise TypeError('a subprocess.Popen is wanted, not %s' % type(process).__name__)
        self.first, self.last = first, last
        self.stdin = self.stdout = self.stderr = None
        #: What `communicate` has not written yet, and where it gets more.
        self._input = self._source = None
        #: What it has read, by the name of the stream, and the streams that have ended.
        self._pieces, self._ended = {'stdout': [], 'stderr': []}, set()
        try:
            self.stdin = first.stdin and AsyncFile(first.stdin)
            self.stdout = last.stdout and AsyncFile(last.stdout)
            self.stderr = last.stderr and AsyncFile(last.stderr)
        except BaseException:
            self.close()
            raise

    def __getattr__(self, name):
        if name in ('first', 'last'):
            raise AttributeError(name)
        return getattr(self.last, name)

    def __repr__(self):
        return '<AsyncPipe %r to %r>' % (self.first, self.last)

    @verb
    def write(self, buf, full=False, timeout=None):
        """Writes to the standard input of the first, as `AsyncFile.write`."""
        return _piped(self.stdin, 'input of the first').write(buf, full, timeout)

    @verb
    def read(self, size=0, full=False, timeout=None):
        """Reads the standard output of the last, as `AsyncFile.read`."""
        return _piped(self.stdout, 'output of the last').read(size, full, timeout)

    @verb
    def readline(self, size=0, sizehint=None, timeout=None):
        """Reads a line of the standard output of the last, as `AsyncFile.readline`."""
        return _piped(self.stdout, 'output of the last').readline(size, sizehint, timeout)

    @verb
    def read_stderr(self, size=0, full=False, timeout=None):
        """Reads the standard error of the last, as `AsyncFile.read`."""
        return _piped(self.stderr, 'error of the last').read(size, full, timeout)

    @verb
    def readline_stderr(self, size=0, sizehint=None, timeout=None):
        """Reads a line of the standard error of the last, as `AsyncFile.readline`."""
        return _piped(self.stderr, 'error of the last').readline(size, sizehint, timeout)

    def __aiter__(self):
        return self

    def __anext__(self):
        """Reads the next line of the standard output."""
        return _piped(self.stdout, 'output of the last').__anext__()

    @types.coroutine
    def communicate(self, input=None):
        """Writes `input` to the first and closes its standard input, reads standard output and
        error of the last to their ends, waits for its end; all at once. Gives both, None for what
        is not piped.

        `input` is bytes, text (encoded as UTF-8), or what has a method `read`: a file, which is
        read on a thread and closed, an `AsyncFile`, a socket. If it is given up, by a timeout say,
        `communicate()` goes on where it has stopped.

        >>> out, err = await pipe.communicate(b'input')
        """
        self._take(input)
        while True:
            calls = []
            if self.stdin is not None and not self.stdin.closed:
                if not self._input and self._source is not None:
                    more = self._source.read(_PIECE)
                    if not isinstance(more, Call):
                        self._input = yield from _bytes_of(more)
                        if not self._input:
                            self._end_input()
                        continue
                    calls.append((more, 'source'))
                elif self._input:
                    calls.append((self.stdin.write(self._input), 'stdin'))
                else:
                    self._end_input()
            # One that is given up for another one has done nothing.
            calls.extend((file.read(_PIECE), name) for name, file in self._unread())
            if not calls:
                break
            try:
                place, value = yield from first(*(call for call, _ in calls))
            except BrokenPipeError:
                # It does not want the rest.
                self._end_input()
            else:
                self._has_come(calls[place][1], value)
        yield from self.wait()
        for _, file in self._read_from():
            file.close()
        return self._joined('stdout'), self._joined('stderr')

    def _read_from(self):
        both = ('stdout', self.stdout), ('stderr', self.stderr)
        return [(name, file) for name, file in both if file is not None]

    def _unread(self):
        """Returns the streams that have not ended, with their names."""
        return [(name, file) for name, file in self._read_from() if name not in self._ended]

    def _has_come(self, name, value):
        """Notes what a call has given."""
        if name == 'stdin':
            self._input = self._input[value:]
        elif name == 'source':
            self._input = memoryview(value)
            if not value:
                self._end_input()
        elif value:
            self._pieces[name].append(value)
        else:
            self._ended.add(name)

    def _joined(self, name):
        pieces, self._pieces[name] = self._pieces[name], []
        return b''.join(pieces) if getattr(self, name) is not None else None

    def _take(self, input):
        """Keeps what is to be written."""
        if input is None or isinstance(input, (str, bytes)) and not input:
            return
        if self.stdin is None:
            raise ValueError('the standard input of the first process is not a pipe')
        if self.stdin.closed:
            raise ValueError('the standard input of the first process is closed')
        if self._input or self._source is not None:
            raise ValueError('an earlier communicate() was given up: what it has left goes first')
        if isinstance(input, str):
            input = input.encode()
        if hasattr(input, 'read') or hasattr(input, 'recv'):
            self._source = _Source(input)
        else:
            self._input = memoryview(input).cast('B')

    def _end_input(self):
        """Closes the standard input, and where its bytes come from."""
        source, self._source, self._input = self._source, None, None
        if source is not None:
            source.close()
        self.stdin.close()

    @types.coroutine
    def wait(self, timeout=None):
        """Waits for the end of the last process, and gives its exit code, which is its
        `returncode`, too; TimeoutError after `timeout` seconds.

        >>> code = await pipe.wait()
        """
        if timeout is None:
            code = yield from _end_of(self.last)
        else:
            code = yield from _bounded(timeout, _end_of(self.last))
        # Takes its status, too, if it has ended.
        self.first.poll()
        return code

    def poll(self):
        """Gives the exit code of the last process; None while it runs."""
        return self.last.poll()

    def close(self):
        """Closes the pipes. The processes go on: `terminate()` and `kill()` are those of `last`."""
        source, self._source, self._input = self._source, None, None
        if source is not None:
            source.close()
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        self.close()


def _piped(file, name):
    if file is None:
        raise ValueError('the standard %s process is not a pipe' % name)
    return file


class _Source:
    """Where the input of a process comes from: something with `read`."""

    def __init__(self, source):
        self._source = self._read_from = source
        if not isinstance(source, AsyncFile) and _has_descriptor(source):
            self._read_from = AsyncFile(source)

    def read(self, count):
        """Reads at most `count` bytes; nothing at the end. It may give a call of that."""
        return self._read_from.read(count)

    def close(self):
        for each in (self._read_from, self._source):
            close = getattr(each, 'close', None)
            if close is not None:
                close()


@types.coroutine
def _bytes_of(data):
    """Waits for what a source's `read` has given, if it must, and gives its bytes."""
    if hasattr(data, '__await__'):
        data = yield from data.__await__()
    elif isinstance(data, types.GeneratorType):
        data = yield from data
    return memoryview(data.encode() if isinstance(data, str) else data or b'')


def _has_descriptor(source):
    try:
        return source.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False


#: The longest pause, in seconds, where the system cannot tell of the end of a process.
_LONGEST_PAUSE = 0.05


@types.coroutine
def _end_of(process):
    """Waits for the end of a process, and gives its exit code. Popen takes the status itself."""
    pause = 0.001
    while process.poll() is None:
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            # Another thread takes the status just now.
            return process.wait()
        except (AttributeError, OSError):
            yield from sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            continue
        with AsyncFile(descriptor, closefd=True) as end:
            yield from end._until_readable()
        # Returns at once: another thread may be about to take the status.
        return process.wait()
    return process.returncode
