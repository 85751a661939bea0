"""Files, pipes and processes for coroutines: `AsyncFile` and `AsyncPipe`.

    import subprocess
    import asyncoro

    async def checksum(path):
        process = subprocess.Popen(["sha1sum"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        async with asyncoro.asyncfile.AsyncPipe(process) as pipe:
            out, _ = await pipe.communicate(open(path, "rb"))
        return out.split()[0]
"""

import subprocess
import sys
from os import PathLike
from types import TracebackType
from typing import Any, Protocol, Union

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self
if sys.version_info >= (3, 12):
    from collections.abc import Buffer
else:
    from typing_extensions import Buffer

from . import AsyncSocket, Call

__all__ = ["AsyncFile", "AsyncPipe"]

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

class _Readable(Protocol):
    def read(self, size: int, /) -> Any: ...

class AsyncFile:
    """A file, pipe, terminal, device or socket for coroutines, of bytes.

    `fd`: an open file, a pipe of a `subprocess.Popen`, a socket, an `AsyncSocket`, or the number of
    a descriptor. What it has written to a buffer is written; a regular file goes on at its
    position. `closefd`: whether `close()` closes it, too; by default it does, unless it is a
    number. Pipes, terminals and sockets are waited for by readiness, without being switched to
    non-blocking mode unless they are sockets; regular files on a thread, or not at all where the
    system has the bytes in memory. Verbs of one direction take turns, first come, first served, of
    a regular file all of them.

    Errors: TypeError if it is none of these, for a path, and for a socket with `blocking=True`;
    OSError (EBADF) if it is closed.

        file = asyncoro.asyncfile.AsyncFile(sys.stdin)
    """

    def __new__(
        cls, fd: Union[_HasFileno, AsyncSocket, int], *, closefd: bool | None = None
    ) -> Self: ...
    @staticmethod
    def open(path: Union[str, bytes, PathLike[str]], mode: str = "r") -> Call[AsyncFile]:
        """Opens a file, on a thread. `mode`: "r", "w", "x" or "a", with "+" for both ways; with and
        without "b" it is one of bytes. A pipe with a name is opened to read without waiting for
        its writer.

        Errors: ValueError for another mode; OSError, with the path.

            file = await AsyncFile.open("numbers.txt")
        """
    def read(
        self, size: int | None = 0, full: bool = False, timeout: float | None = None
    ) -> Call[bytes]:
        """Reads at most `size` bytes, once there are any; b"" at the end.

        With `full`, and from a regular file, it is exactly as many unless the end comes before.
        Without a size (0, None, negative) it is all up to the end. When `timeout` (seconds; 0 and
        None: no timeout) is over it gives what has come. If it is given up nothing is lost.
        Errors: TimeoutError if nothing has come; OSError (EBADF) when it is closed; the system's.

            data = yield file.read(4096)
        """
    def readline(
        self, size: int | None = 0, sizehint: int | None = None, timeout: float | None = None
    ) -> Call[bytes]:
        """Reads a line, with the newline at its end, or the first `size` bytes of it. A last line
        may have no newline; b"" is the end.

        What has come of a line stays with the file at a timeout, and if it is given up. `sizehint`
        has no effect.
        Errors: as `read`; TimeoutError, too, if a part has come.

            line = yield file.readline()
        """
    def write(self, buf: Buffer, full: bool = False, timeout: float | None = None) -> Call[int]:
        """Writes what there is room for, at least a byte; with `full`, and to a regular file, all.
        Gives how many bytes. Nobody else writes in between.

        When `timeout` (seconds) is over it gives how many were written. If it is given up a first
        part may have been written; to a regular file what has begun, 1 MiB at most, is carried out,
        and the position moves with it. A timeout waits for that, too.
        Errors: TimeoutError if none were written; BrokenPipeError; the system's.

            count = yield file.write(b"bytes", full=True)
        """
    def seek(self, offset: int, whence: int = 0) -> Call[int]:
        """Moves the position of a regular file, as `seek` of Python's files; gives the new one.

        Errors: ValueError before the start, and for another `whence`; OSError (ESPIPE) if it has
        none.

            await file.seek(0)
        """
    def tell(self) -> Call[int]:
        """Gives the position of a regular file, in bytes from its start.

        Errors: OSError (ESPIPE) if it has none.

            position = await file.tell()
        """
    def truncate(self, size: int | None = None) -> Call[int]:
        """Cuts or extends a regular file to `size` bytes (None: to the position, which stays), and
        gives that.

        Errors: the system's.

            await file.truncate(0)
        """
    def sync(self) -> Call[None]:
        """Waits until all that was written is on the disk, fsync(2).

        Errors: that of a write that was given up, and failed; the system's.

            await file.sync()
        """
    def fileno(self) -> int:
        """Gives the number of the descriptor that it was made of; -1 once it is closed."""
    @property
    def closed(self) -> bool:
        """Whether it is closed."""
    def close(self) -> None:
        """Closes it, and what it was made of unless `closefd` says otherwise. Whoever waits on it
        gets OSError (EBADF). It works in any thread.

            file.close()
        """
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Call[bytes]:
        """Reads the next line, with its newline; StopAsyncIteration at the end.

            async for line in file:
                print(line.decode())
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None = ...,
        error: BaseException | None = ...,
        trace: TracebackType | None = ...,
        /,
    ) -> None: ...
    def __aenter__(self) -> Call[Self]: ...
    def __aexit__(
        self,
        kind: type[BaseException] | None = ...,
        error: BaseException | None = ...,
        trace: TracebackType | None = ...,
        /,
    ) -> Call[None]: ...

class AsyncPipe:
    """The standard streams of a process, or of the first and the last of a chain of processes.

    `first`, `last`: `subprocess.Popen` objects, whose streams that are pipes become `AsyncFile`s.
    What else a Popen has is that of `last`: `pid`, `returncode`, `terminate()`, `kill()`.
    Errors: TypeError if they are none.

        process = subprocess.Popen(["sort"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        pipe = asyncoro.asyncfile.AsyncPipe(process)
    """

    first: subprocess.Popen[Any]
    last: subprocess.Popen[Any]
    stdin: AsyncFile | None
    stdout: AsyncFile | None
    stderr: AsyncFile | None
    def __init__(
        self, first: subprocess.Popen[Any], last: subprocess.Popen[Any] | None = None
    ) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
    def write(self, buf: Buffer, full: bool = False, timeout: float | None = None) -> Call[int]:
        """Writes to the standard input of the first, as `AsyncFile.write`.

        Errors: ValueError if it is not a pipe.

            yield pipe.write(b"two\\none\\n", full=True)
        """
    def read(
        self, size: int | None = 0, full: bool = False, timeout: float | None = None
    ) -> Call[bytes]:
        """Reads the standard output of the last, as `AsyncFile.read`.

        Errors: ValueError if it is not a pipe.

            out = yield pipe.read()
        """
    def readline(
        self, size: int | None = 0, sizehint: int | None = None, timeout: float | None = None
    ) -> Call[bytes]:
        """Reads a line of the standard output of the last, as `AsyncFile.readline`.

            line = yield pipe.readline()
        """
    def read_stderr(
        self, size: int | None = 0, full: bool = False, timeout: float | None = None
    ) -> Call[bytes]:
        """Reads the standard error of the last, as `AsyncFile.read`.

            err = yield pipe.read_stderr()
        """
    def readline_stderr(
        self, size: int | None = 0, sizehint: int | None = None, timeout: float | None = None
    ) -> Call[bytes]:
        """Reads a line of the standard error of the last, as `AsyncFile.readline`.

            line = yield pipe.readline_stderr()
        """
    def communicate(
        self, input: Union[str, Buffer, _Readable, AsyncSocket, None] = None
    ) -> Call[tuple[bytes | None, bytes | None]]:
        """Writes `input` to the first and closes its standard input, reads standard output and
        error of the last to their ends, and waits for its end; all at once. Gives both, None for
        what is not piped.

        `input` is bytes, text (encoded as UTF-8), or what has a method `read`: a file, which is
        read on a thread and closed, an `AsyncFile`, a socket. A process that does not want all of
        its input is no error. If it is given up, by a timeout say, `communicate()` goes on.
        Errors: ValueError for input without a pipe for it; the system's.

            out, err = yield pipe.communicate(b"two\\none\\n")
        """
    def wait(self, timeout: float | None = None) -> Call[int]:
        """Waits for the end of the last process, and gives its exit code, as `Popen.wait`.

        The system tells of the end (pidfd_open(2)), and the Popen takes the status itself.
        Errors: TimeoutError after `timeout` seconds; the process goes on.

            code = yield pipe.wait()
        """
    def poll(self) -> int | None:
        """Gives the exit code of the last process; None while it runs."""
    def close(self) -> None:
        """Closes the pipes. The processes go on."""
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Call[bytes]:
        """Reads the next line of the standard output."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exception: object) -> None: ...
