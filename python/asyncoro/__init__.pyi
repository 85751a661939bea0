"""Asynchronous network programming with the calls of blocking sockets.

A call that may wait (a verb) is written with `yield` in a generator, or with `await` in an
`async def`; both run as coroutines of one scheduler. The tutorial is docs/python.md.

    import asyncoro, socket

    def serve(coro=None):
        server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", 7007)))
        while True:
            client, address = yield server.accept()
            asyncoro.Coro(echo, client)

    async def echo(client):
        while data := await client.recv(4096):
            await client.sendall(data)
        client.close()

    asyncoro.Coro(serve)
"""

import concurrent.futures
import io
import socket
import subprocess
import sys
from asyncio import AbstractEventLoop, DefaultEventLoopPolicy, SelectorEventLoop
from collections.abc import (
    AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence,
)
from os import PathLike
from pickle import dumps as serialize, loads as deserialize, loads as unserialize
from types import GenericAlias, TracebackType
from typing import (
    IO, Any, ClassVar, Generic, Literal, NamedTuple, TextIO, Type, TypeVar, Union, final, overload,
    type_check_only,
)

if sys.version_info >= (3, 10):
    from typing import ParamSpec, TypeAlias
else:
    from typing_extensions import ParamSpec, TypeAlias
if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self
if sys.version_info >= (3, 12):
    from collections.abc import Buffer
else:
    from typing_extensions import Buffer

from . import asyncfile as asyncfile, signals as signals

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_P = ParamSpec("_P")
_Item = TypeVar("_Item")

_Address: TypeAlias = Union[tuple[Any, ...], str, Buffer]
"""An address of `socket`: `(host, port)`, `(host, port, flow, scope)`, a path."""
_RetAddress: TypeAlias = Any
"""An address that `socket` gives: its form depends on the family, as in typeshed."""
_Endpoint: TypeAlias = Union[
    tuple[Union[str, None], int], tuple[str, int, int, int], str, bytes, PathLike[str]
]
"""`(host, port)`; the text `"host:port"` or `"[::1]:port"`; the path of a Unix socket: bytes, a
`Path`, or a text with a slash or without a colon."""
_Path: TypeAlias = Union[str, PathLike[str]]
_Bytes: TypeAlias = Union[bytes, bytearray]
_Body: TypeAlias = Callable[..., Union[Generator[Any, Any, _T], Coroutine[Any, Any, _T]]]
"""The function of a coroutine: a generator function or an `async def`."""

__version__: str

__all__ = [
    "AsynCoro", "AsynCoroSocket", "AsyncDBCursor", "AsyncSocket", "AsyncThreadPool",
    "BlockingSocket", "Call", "CategorizeMessages", "Channel", "ChannelStatistics", "Condition",
    "ConditionStatistics", "Coro", "Event", "EventStatistics", "HotSwapException", "Lock",
    "LockStatistics", "Logger", "MailboxFull", "MonitorException", "MonitorStatus", "Pycos",
    "Queue", "QueueEmpty", "QueueFull", "QueueShutDown", "QueueStatistics", "RLock", "Scope",
    "Semaphore", "SemaphoreStatistics", "Served", "Server", "Singleton", "TakenOver", "Task",
    "Terminated", "asyncfile", "create_connection", "create_server", "current", "deserialize",
    "first", "gather", "hand_over", "inherited", "inheriting", "install_aliases", "is_stopping",
    "listener", "logger", "map_bounded", "run", "run_until", "scope", "serialize", "serve",
    "signals", "sleep", "stopping", "take_over", "timeout", "unserialize", "wait_future",
]

@final
class Call(Coroutine[Any, Any, _T_co], Generic[_T_co]):
    """The call of a verb: it does nothing before it is yielded or awaited, once.

    It may be stored, passed to another coroutine, to `gather`, `first` and `timeout`, or run by
    `Coro(call)`. One that is dropped has done nothing, and gives a RuntimeWarning.
    Errors: RuntimeError if it is awaited a second time, or outside of a coroutine.

        pending = sock.recv(1024)
        print("nothing is received yet")
        data = yield pending
    """

    def send(self, value: Any, /) -> Any: ...
    def throw(self, *args: Any) -> Any: ...
    def close(self) -> None: ...
    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def __iter__(self) -> Generator[Any, Any, _T_co]: ...
    def __next__(self) -> Any: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

# ---- Sockets ------------------------------------------------------------------------------------

@final
class AsyncSocket:
    """A socket of `socket.socket`, converted for coroutines, or with `blocking=True` for threads.

    `sock`: a `socket.socket` of any family, or an `AsyncSocket`, which is converted anew.
    `keyfile`, `certfile`: on a server its own chain and key (`keyfile=None`: the key is inside
    `certfile`); on a client `certfile` alone is the CA file, with `keyfile` it is the client's own
    certificate. `ssl_version`: None or `ssl.PROTOCOL_TLS*` is TLS 1.2 and 1.3,
    `ssl.PROTOCOL_TLSv1_2` that one only. `cafile`: authorities to verify the peer with; a
    server's own certificate in it is pinned: it is taken whatever its name.
    `server_name`: the name to verify, if it is not the host of `connect`. `alpn`: protocols to
    offer, the best first. `danger_unverified`: True takes any certificate.

    Errors: TypeError if `sock` is no socket, an `ssl.SSLSocket` or an `ssl.SSLContext`; ValueError
    for an older `ssl_version`; FileNotFoundError and the like, with the file's name, and
    ssl.SSLError, which says which option's file is wrong and how.

        sock = asyncoro.AsyncSocket(socket.socket())
    """

    @overload
    def __new__(
        cls,
        sock: Union[socket.socket, AsyncSocket],
        blocking: Literal[False] = False,
        keyfile: _Path | None = None,
        certfile: _Path | None = None,
        ssl_version: int | None = None,
        *,
        cafile: _Path | None = None,
        server_name: str | None = None,
        alpn: Sequence[str] | None = None,
        danger_unverified: bool = False,
    ) -> Self: ...
    @overload
    def __new__(
        cls,
        sock: Union[socket.socket, AsyncSocket],
        blocking: Literal[True],
        keyfile: _Path | None = None,
        certfile: _Path | None = None,
        ssl_version: int | None = None,
        *,
        cafile: _Path | None = None,
        server_name: str | None = None,
        alpn: Sequence[str] | None = None,
        danger_unverified: bool = False,
    ) -> BlockingSocket: ...
    @overload
    def __new__(
        cls,
        sock: Union[socket.socket, AsyncSocket],
        blocking: bool,
        keyfile: _Path | None = None,
        certfile: _Path | None = None,
        ssl_version: int | None = None,
        *,
        cafile: _Path | None = None,
        server_name: str | None = None,
        alpn: Sequence[str] | None = None,
        danger_unverified: bool = False,
    ) -> Self:
        """Converts by a mode that is only known at run time; `isinstance(sock, BlockingSocket)`
        tells which it was.
        """

    # Verbs: `yield` or `await` them, in a coroutine.

    def accept(self) -> Call[tuple[AsyncSocket, _RetAddress]]:
        """Waits for a connection: an asynchronous socket, with no timeout set, and its address.

        Errors: TimeoutError. A client that fails its TLS handshake never makes it fail.

            client, address = yield server.accept()
        """
    def connect(self, address: _Address, /) -> Call[int]:
        """Connects, and gives 0; host names are looked up without holding up other coroutines.

        Errors: ConnectionRefusedError and the like with `errno`, and the address as `filename`;
        socket.gaierror, UnicodeError, TimeoutError; with TLS ssl.SSLCertVerificationError,
        ssl.SSLError.

            yield sock.connect(("localhost", 7007))
        """
    def create_connection(
        self,
        address: _Address,
        timeout: float | None = None,
        source_address: _Address | None = None,
    ) -> Call[None]:
        """Connects this socket; `timeout` (seconds) and `source_address` are set first, and stay.

        Errors: those of `connect`.

            yield sock.create_connection(("localhost", 7007), timeout=5)
        """
    def recv(self, bufsize: int, flags: int = 0, /) -> Call[bytes]:
        """Receives 1 to `bufsize` bytes; b'' is the end of the stream.

        Errors: TimeoutError, ConnectionResetError; ValueError if `bufsize` is negative.

            data = yield sock.recv(4096)
        """
    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> Call[int]:
        """Receives into `buffer`, at most `nbytes` (0: all of it), and gives the number of bytes.

        Errors: those of `recv`; ValueError if `nbytes` is more than the buffer holds.

            count = yield sock.recv_into(buffer)
        """
    def recvall(self, bufsize: int, flags: int = 0) -> Call[_Bytes]:
        """Receives exactly `bufsize` bytes; b'' if the stream ends before.

        At a timeout, which runs anew with each chunk, it gives the bytes that came.
        Errors: TimeoutError if none came, ConnectionResetError; ValueError if negative.

            header = yield sock.recvall(8)
        """
    def recv_until(self, delimiter: Buffer, max: int = 65536) -> Call[bytes]:
        """Receives up to and including `delimiter`, which must be within the first `max` bytes.

        After an error the bytes that came are still there.
        Errors: EOFError if the stream ends before; OSError (EMSGSIZE) if it is not within `max`
        bytes; TimeoutError, ConnectionResetError; ValueError if `delimiter` is empty, `max`
        negative, or the socket one of datagrams.

            head = yield sock.recv_until(b"\r\n\r\n")
        """
    def recv_line(self, max: int = 65536) -> Call[bytes | None]:
        """Receives a line without the `\n` or `\r\n` at its end, which must be within the first
        `max` bytes; None is the end of the stream.

        After an error the bytes that came are still there.
        Errors: EOFError if the stream ends within a line; else those of `recv_until`.

            while (line := (yield sock.recv_line())) is not None:
                print(line)
        """
    def lines(self, max: int = 65536) -> AsyncIterator[bytes]:
        """Goes through the lines up to the end of the stream, as `recv_line` receives them.

        A loop that is left, or ended by an error, loses nothing: the next verb goes on there. A
        generator yields `recv_line()`, or `anext(lines)` until it raises StopAsyncIteration.
        Errors: those of `recv_line`; TypeError for the other kind of `for` than the socket's mode
        has.

            async for line in sock.lines():
                print(line)
        """
    def recvfrom(self, bufsize: int, flags: int = 0, /) -> Call[tuple[bytes, _RetAddress]]:
        """Receives a datagram, cut to `bufsize` bytes, and the address that it came from.

        Errors: TimeoutError.

            data, address = yield sock.recvfrom(2048)
        """
    def send(self, data: Buffer, flags: int = 0, /) -> Call[int]:
        """Sends as many bytes as the system takes now, and gives their number.

        Errors: TimeoutError, BrokenPipeError, ConnectionResetError.

            count = yield sock.send(b"hello")
        """
    def sendall(self, data: Buffer, flags: int = 0, /) -> Call[int | None]:
        """Sends all bytes, and gives None; at a timeout the number of bytes that were sent.

        Below 16 KiB they may be queued, and are sent in one call with others at the latest when the
        coroutines of this turn have run; an error is then raised by a later verb.
        Errors: TimeoutError if none were sent, BrokenPipeError, ConnectionResetError.

            yield sock.sendall(b"hello")
        """
    @overload
    def sendto(self, data: Buffer, address: _Address, /) -> Call[int]: ...
    @overload
    def sendto(self, data: Buffer, flags: int, address: _Address, /) -> Call[int]:
        """Sends one datagram, and gives the number of its bytes.

        Errors: OSError (EMSGSIZE) if it is too long, TimeoutError.

            yield sock.sendto(b"hello", ("127.0.0.1", 7007))
        """
    def send_msg(self, data: Buffer) -> Call[int | None]:
        """Sends a message: its length in 4 bytes, big-endian, then `data`; queues as `sendall`.

        After a timeout it gives how many bytes were sent, header counted, and the rest is still
        sent, so that the next message can follow; TimeoutError if none were.
        Errors: those of `sendall`; ValueError above 4 GiB - 1 bytes.

            yield sock.send_msg(b"hello")
        """
    def recv_msg(self) -> Call[_Bytes]:
        """Receives one message of `send_msg`; b'' is an empty message or the end of the stream.

        A timeout loses nothing: the next `recv_msg` goes on where this one stood.
        Errors: TimeoutError, ConnectionResetError; OSError (EMSGSIZE) above `message_limit`, which
        asks, if the message begins with text, whether the peer speaks messages.

            message = yield sock.recv_msg()
        """
    def messages(self) -> AsyncIterator[bytearray]:
        """Goes through the messages of `send_msg` up to the end of the stream, empty ones too.

        A loop that is left, or ended by an error, loses nothing: the next verb goes on there. A
        generator yields `recv_msg()`, or `anext(messages)` until it raises StopAsyncIteration.
        Errors: EOFError if the stream ends within a message; else those of `recv_msg`; TypeError
        for the other kind of `for` than the socket's mode has.

            async for message in sock.messages():
                print(message)
        """
    def flush(self) -> Call[None]:
        """Waits until the system has taken all that was queued.

        Errors: TimeoutError, BrokenPipeError, ConnectionResetError.

            yield sock.flush()
        """

    # Methods that never wait.

    def close(self) -> None:
        """Closes the socket after what was queued is sent; whoever waits on it is woken.

        A second close does nothing. Those who wait get OSError (EBADF), also on another AsyncSocket
        over the same plain socket, which is closed with it.
        Errors: those of sending what was queued, if known at once; later ones are logged.

            sock.close()
        """
    def unwrap(self) -> socket.socket:
        """Takes the plain socket out, which stays non-blocking; this object is closed.

        Any thread may.
        Errors: RuntimeError while bytes were received that nobody has taken, messages that came
        with an earlier one say: `recv` them first. So does `detach`.

            plain = sock.unwrap()
        """
    def setblocking(self, flag: bool, /) -> None:
        """Converts in place: True for threads, False for coroutines. Any thread may.

        What was received and not taken is kept. The timeout for threads is None at first; that for
        coroutines is what it was.

            sock.setblocking(True)
        """
    def settimeout(self, timeout: float | None, /) -> None:
        """Sets the timeout of each operation in seconds; None, and for coroutines 0, is for ever.

        An operation that already waits keeps its own. A blocking socket with 0 is converted.
        Errors: ValueError if negative, OverflowError if too long (inf), TypeError if it is no
        number. The timeout then stays as it was.

            sock.settimeout(2.5)
        """
    def gettimeout(self) -> float | None:
        """Returns the timeout in seconds; 0 if a socket for coroutines has none.

            assert sock.gettimeout() == 2.5
        """
    @staticmethod
    def setdefaulttimeout(timeout: float | None, /) -> None:
        """Sets the timeout, in seconds, of sockets converted from now on; None for none.

            asyncoro.AsyncSocket.setdefaulttimeout(10)
        """
    @staticmethod
    def getdefaulttimeout() -> float | None:
        """Returns the timeout in seconds that new sockets get, or None.

            asyncoro.AsyncSocket.getdefaulttimeout()
        """
    @classmethod
    def set_ssl_version(cls, version: int | None) -> None:
        """Sets the `ssl_version` of sockets that are made without one from now on.

        Errors: ValueError for a version that is not offered.

            asyncoro.AsyncSocket.set_ssl_version(ssl.PROTOCOL_TLSv1_2)
        """
    @classmethod
    def get_ssl_version(cls) -> int | None:
        """Returns what `set_ssl_version` was given; None at first.

            asyncoro.AsyncSocket.get_ssl_version()
        """
    @property
    def message_limit(self) -> int:
        """The longest message, in bytes, that `recv_msg` takes; 4 GiB - 1 unless set.

            sock.message_limit = 1 << 20
        """
    @message_limit.setter
    def message_limit(self, limit: int, /) -> None: ...
    @staticmethod
    def set_default_message_limit(limit: int) -> None:
        """Sets the longest message, in bytes, of sockets converted from now on.

            asyncoro.AsyncSocket.set_default_message_limit(1 << 20)
        """

    # Methods of socket.socket; what is queued is flushed before. Where they would wait they raise
    # BlockingIOError at once.

    def bind(self, address: _Address, /) -> None: ...
    def listen(self, backlog: int = ..., /) -> None:
        """Listens, as `socket.listen`.

        Errors: those of a server's TLS files, if they could not be told earlier.

            sock.listen()
        """
    def connect_ex(self, address: _Address, /) -> int: ...
    def detach(self) -> int: ...
    def dup(self) -> socket.socket: ...
    def fileno(self) -> int: ...
    def get_inheritable(self) -> bool: ...
    def set_inheritable(self, inheritable: bool) -> None: ...
    def getblocking(self) -> bool: ...
    def getpeername(self) -> _RetAddress: ...
    def getsockname(self) -> _RetAddress: ...
    @overload
    def getsockopt(self, level: int, optname: int, /) -> int: ...
    @overload
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...
    @overload
    def setsockopt(self, level: int, optname: int, value: int | Buffer, /) -> None: ...
    @overload
    def setsockopt(self, level: int, optname: int, value: None, optlen: int, /) -> None: ...
    @overload
    def makefile(
        self,
        mode: Literal["b", "rb", "br", "wb", "bw", "rwb", "rbw", "wrb", "wbr", "brw", "bwr"],
        buffering: Literal[0],
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> socket.SocketIO: ...
    @overload
    def makefile(
        self,
        mode: Literal["rwb", "rbw", "wrb", "wbr", "brw", "bwr"],
        buffering: Literal[-1, 1] | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.BufferedRWPair: ...
    @overload
    def makefile(
        self,
        mode: Literal["rb", "br"],
        buffering: Literal[-1, 1] | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.BufferedReader: ...
    @overload
    def makefile(
        self,
        mode: Literal["wb", "bw"],
        buffering: Literal[-1, 1] | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.BufferedWriter: ...
    @overload
    def makefile(
        self,
        mode: Literal["b", "rb", "br", "wb", "bw", "rwb", "rbw", "wrb", "wbr", "brw", "bwr"],
        buffering: int,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.IOBase: ...
    @overload
    def makefile(
        self,
        mode: Literal["r", "w", "rw", "wr", ""] = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.TextIOWrapper: ...
    def recvfrom_into(
        self, buffer: Buffer, nbytes: int = 0, flags: int = 0
    ) -> Call[tuple[int, _RetAddress]]:
        """Receives a datagram into `buffer`; gives the number of bytes, and their sender.

        Errors: those of `recvfrom`; ValueError if `nbytes` is more than the buffer holds.

            count, address = yield sock.recvfrom_into(buffer)
        """
    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> Call[tuple[bytes, list[tuple[int, int, bytes]], int, Any]]:
        """Receives bytes and ancillary data: gives data, ancillary data, flags and address.

        With TLS, and for bytes that were read ahead, there is no ancillary data.
        Errors: those of `recv`.

            data, ancillary, flags, address = yield sock.recvmsg(4096, socket.CMSG_SPACE(4))
        """
    def recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> Call[tuple[int, list[tuple[int, int, bytes]], int, Any]]:
        """Receives as `recvmsg` does, into buffers, and gives the number of bytes in their place.

        Errors: those of `recv`.

            count, ancillary, flags, address = yield sock.recvmsg_into([header, body])
        """
    def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = ...,
        flags: int = 0,
        address: _Address | None = None,
        /,
    ) -> Call[int]:
        """Sends bytes from several buffers, with ancillary data; gives the number of bytes.

        Errors: those of `send`; OSError (EOPNOTSUPP) for ancillary data with TLS.

            count = yield sock.sendmsg([header, body])
        """
    def send_fds(
        self,
        buffers: Iterable[Buffer],
        fds: Iterable[int],
        flags: int = 0,
        address: _Address | None = None,
    ) -> Call[int]:
        """Sends bytes, and descriptors with the first of them, over a Unix socket; gives how many
        bytes. The receiver gets duplicates; keep these open until the call is over.

        Errors: those of `send`; ValueError for another kind of socket, and for descriptors without
        a byte on a stream; OSError: EINVAL for more than 253 descriptors, EOPNOTSUPP with TLS.

            yield sock.send_fds([b"a file"], [file.fileno()])
        """
    def recv_fds(
        self, bufsize: int, maxfds: int, flags: int = 0
    ) -> Call[tuple[bytes, list[int], int, Any]]:
        """Receives bytes over a Unix socket, and the descriptors that come with them: gives data,
        descriptors, flags and address, as `socket.recv_fds`. b'' is the end of the stream.

        The descriptors are closed on exec. If more than `maxfds` came, or more than this process
        may open, all are closed, the list is empty, and the flags have MSG_CTRUNC. Other verbs lose
        descriptors that come with their bytes.
        Errors: those of `recv`; ValueError for another kind of socket, OSError (EOPNOTSUPP) with
        TLS.

            data, (fd,), flags, address = yield sock.recv_fds(100, 1)
        """
    if sys.platform == "linux":
        def sendmsg_afalg(
            self,
            msg: Iterable[Buffer] = ...,
            *,
            op: int,
            iv: Any = ...,
            assoclen: int = ...,
            flags: int = 0,
        ) -> int: ...
    def sendfile(
        self, file: IO[bytes], offset: int = 0, count: int | None = None
    ) -> Coroutine[Any, Any, int]:
        """Sends a binary file from `offset` on, `count` bytes of it; gives how many were sent.

        Errors: those of `send` and of the file; ValueError for a text file or a datagram socket.

            with open("page.html", "rb") as page:
                yield sock.sendfile(page)
        """
    def shutdown(self, how: int) -> None:
        """Ends sending (SHUT_WR), receiving (SHUT_RD) or both, behind what is queued.

        What cannot be sent at once is sent in the background; a later verb raises the error.

            sock.shutdown(socket.SHUT_WR)
        """
    @property
    def family(self) -> socket.AddressFamily: ...
    @property
    def type(self) -> socket.SocketKind: ...
    @property
    def proto(self) -> int: ...
    @property
    def timeout(self) -> float | None: ...
    def start_tls(self, server: bool = False) -> Call[None]:
        """Begins TLS on a connection, with the options of the constructor, as STARTTLS does.

        `server`: True on the side that has accepted the connection.
        Errors: those of the options' files; ssl.SSLCertVerificationError, ssl.SSLError.

            yield sock.start_tls()
        """
    def has_received(self) -> bool:
        """Returns whether bytes were received that nobody has taken, such as those that came with
        a message. The next verb that receives gets them; `select`, which looks at the descriptor,
        does not see them (nor does it those of an `ssl.SSLSocket`).

            ready = sock.has_received() or select.select([sock], [], [], 0)[0]
        """
    def selected_alpn_protocol(self) -> str | None:
        """Returns the protocol that ALPN has selected; None if there is none.

            sock.selected_alpn_protocol()
        """
    def version(self) -> str | None:
        """Returns the version of TLS, `"TLSv1.3"` say; None without TLS.

            sock.version()
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def __lt__(self, other: AsyncSocket, /) -> bool: ...
    def __gt__(self, other: AsyncSocket, /) -> bool: ...
    def __hash__(self) -> int: ...

AsynCoroSocket = AsyncSocket

@type_check_only
class _Blocking(type): ...

@final
class BlockingSocket(AsyncSocket, metaclass=_Blocking):  # type: ignore[misc]
    """Makes an `AsyncSocket(sock, blocking=True)`, and is the name of that mode: verbs wait in the
    thread.

    `isinstance(sock, BlockingSocket)` says whether `sock` is one now. The object is an
    `AsyncSocket` all the same, since `setblocking` changes the mode in place; for that reason no
    class can be derived.

    The GIL is released meanwhile, and Ctrl-C raises. Timeouts are those of `socket.socket`:
    TimeoutError, None is for ever.

        sock = asyncoro.BlockingSocket(socket.socket())
        sock.connect(("localhost", 7007))
        sock.send_msg(b"hello")
    """

    def __new__(
        cls,
        sock: Union[socket.socket, AsyncSocket],
        keyfile: _Path | None = None,
        certfile: _Path | None = None,
        ssl_version: int | None = None,
        *,
        cafile: _Path | None = None,
        server_name: str | None = None,
        alpn: Sequence[str] | None = None,
        danger_unverified: bool = False,
    ) -> Self: ...

    def accept(self) -> tuple[BlockingSocket, _RetAddress]: ...  # type: ignore[override]
    def connect(self, address: _Address, /) -> int: ...  # type: ignore[override]
    def create_connection(  # type: ignore[override]
        self,
        address: _Address,
        timeout: float | None = None,
        source_address: _Address | None = None,
    ) -> None: ...
    def recv(self, bufsize: int, flags: int = 0, /) -> bytes: ...  # type: ignore[override]
    def recv_into(  # type: ignore[override]
        self, buffer: Buffer, nbytes: int = 0, flags: int = 0
    ) -> int: ...
    def recvall(self, bufsize: int, flags: int = 0) -> _Bytes: ...  # type: ignore[override]
    def recv_until(  # type: ignore[override]
        self, delimiter: Buffer, max: int = 65536
    ) -> bytes: ...
    def recv_line(self, max: int = 65536) -> bytes | None: ...  # type: ignore[override]
    def lines(self, max: int = 65536) -> Iterator[bytes]: ...  # type: ignore[override]
    def messages(self) -> Iterator[bytearray]: ...  # type: ignore[override]
    def recvfrom(  # type: ignore[override]
        self, bufsize: int, flags: int = 0, /
    ) -> tuple[bytes, _RetAddress]: ...
    def recvmsg(  # type: ignore[override]
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]: ...
    def recvmsg_into(  # type: ignore[override]
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Any]: ...
    def sendmsg(  # type: ignore[override]
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = ...,
        flags: int = 0,
        address: _Address | None = None,
        /,
    ) -> int: ...
    def send_fds(  # type: ignore[override]
        self,
        buffers: Iterable[Buffer],
        fds: Iterable[int],
        flags: int = 0,
        address: _Address | None = None,
    ) -> int: ...
    def recv_fds(  # type: ignore[override]
        self, bufsize: int, maxfds: int, flags: int = 0
    ) -> tuple[bytes, list[int], int, Any]: ...
    def sendfile(  # type: ignore[override]
        self, file: IO[bytes], offset: int = 0, count: int | None = None
    ) -> int: ...
    def recvfrom_into(  # type: ignore[override]
        self, buffer: Buffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, _RetAddress]: ...
    def start_tls(self, server: bool = False) -> None: ...  # type: ignore[override]
    def send(self, data: Buffer, flags: int = 0, /) -> int: ...  # type: ignore[override]
    def sendall(self, data: Buffer, flags: int = 0, /) -> None: ...  # type: ignore[override]
    @overload  # type: ignore[override]
    def sendto(self, data: Buffer, address: _Address, /) -> int: ...
    @overload
    def sendto(self, data: Buffer, flags: int, address: _Address, /) -> int: ...
    def send_msg(self, data: Buffer) -> None: ...  # type: ignore[override]
    def recv_msg(self) -> _Bytes: ...  # type: ignore[override]
    def flush(self) -> None: ...  # type: ignore[override]

def create_connection(
    address: _Endpoint,
    timeout: float | None = None,
    source_address: Union[tuple[str, int], str, None] = None,
    *,
    keyfile: _Path | None = None,
    certfile: _Path | None = None,
    ssl_version: int | None = None,
    cafile: _Path | None = None,
    server_name: str | None = None,
    alpn: Sequence[str] | None = None,
    danger_unverified: bool = False,
) -> Call[AsyncSocket]:
    """Connects to a host and port, IPv6 and IPv4 in a race, or to the path of a Unix socket.

    `address`: `(host, port)`, the text `"host:port"` or `"[::1]:port"`, or a path: a text with a
    slash or without a colon, bytes, a `Path`. `timeout` (seconds) is for all of it.
    Errors: those of `AsyncSocket` and `AsyncSocket.connect`; ValueError for any other text.

        sock = await asyncoro.create_connection("localhost:7007")
    """

def create_server(
    address: _Endpoint,
    *,
    family: int = ...,
    backlog: int | None = None,
    reuse_port: bool = False,
    keyfile: _Path | None = None,
    certfile: _Path | None = None,
    ssl_version: int | None = None,
    cafile: _Path | None = None,
    alpn: Sequence[str] | None = None,
) -> AsyncSocket:
    """Makes a listening socket, which may be bound again at once (SO_REUSEADDR); does not wait.

    `address` as in `create_connection`; `"[::1]:7007"` is of IPv6, whatever `family`.
    Errors: OSError (EADDRINUSE and the like); those of `AsyncSocket` for TLS files; ValueError for
    a text that is neither host and port nor a path.

        server = asyncoro.create_server("127.0.0.1:7007")
    """

# ---- Coroutines ---------------------------------------------------------------------------------

class Coro(Generic[_T]):
    """A coroutine that runs: `target` is a generator function or an `async def`, called with the
    arguments; it starts by itself.

    A parameter `coro=None` or `task=None` of the target becomes this object. The `__init__` of
    a class derived from this one calls `super().__init__(target, ...)`, once.
    Errors: Exception ("... is not a generator!", as in pycos) if `target` is neither. An error
    inside is logged, and `value` gives a MonitorStatus. RuntimeError if it was made already.

        def hello(name, coro=None):
            yield coro.sleep(1)
            print("hello", name)

        asyncoro.Coro(hello, "world")
    """

    @overload
    def __init__(self, target: _Body[_T], /, *args: Any, **kwargs: Any) -> None: ...
    @overload
    def __init__(
        self, *, target: _Body[_T], args: Sequence[Any] = (), kwargs: dict[str, Any] = ...,
        mailbox_capacity: int | None = None,
    ) -> None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @property
    def name(self) -> str:
        """The name of the function that it runs.

            coro.name
        """
    @property
    def mailbox_capacity(self) -> int | None:
        """How many messages its mailbox has room for; None, as at first, is no limit.

        Anybody may set it, at any time. MonitorStatus messages come in above it, too.
        Errors: ValueError for less than 1.

            coro.mailbox_capacity = 100
        """
    @mailbox_capacity.setter
    def mailbox_capacity(self, capacity: int | None) -> None: ...

    # For the coroutine itself, with `yield` or `await`.

    def sleep(self, timeout: float | None = None, alarm_value: Any = None) -> Call[Any]:
        """Waits `timeout` seconds, then gives `alarm_value`; or what `resume` gives before.

        None waits for `resume`. Gives -1 at once unless the coroutine itself calls it.

            reason = yield coro.sleep(1.5, "late")
        """
    suspend = sleep
    def receive(self, timeout: float | None = None, alarm_value: Any = None) -> Call[Any]:
        """Waits for the earliest message of `send`; after `timeout` seconds gives `alarm_value`.

        0 gives what is there once the others have run, None waits for ever.
        Errors: RuntimeError for another coroutine's messages.

            message = yield coro.receive(timeout=5)
        """
    recv = receive
    def monitor(self, observe: Coro[Any]) -> Call[int]:
        """Asks for a MonitorStatus as a message when `observe` ends; gives 0, -1 if it has ended.

            yield coro.monitor(asyncoro.Coro(work))
        """
    def set_daemon(self, flag: bool = True) -> int:
        """Says that the program may end without this coroutine; 0, or -1 if called by another.

            coro.set_daemon()
        """
    def hot_swappable(self, flag: bool = True) -> int:
        """Says whether `hot_swap` may replace this coroutine's function now.

            coro.hot_swappable(True)
        """

    # For other coroutines, with `yield` or `await`.

    def finish(self, timeout: float | None = None) -> Call[Any]:
        """Waits for the end and gives the value as `value` does; None after `timeout` seconds.

            value = yield other.finish()
        """
    def __call__(self, timeout: float | None = None) -> Call[Any]:
        """Waits as `finish` does.

            value = yield other()
        """
    def __await__(self) -> Generator[Any, Any, _T]:
        """Waits for the end, and gives what the function returned, or raises what it raised.

        Errors: Terminated.

            value = await other
        """
    def deliver(self, message: Any, timeout: float | None = None) -> Call[int]:
        """Sends a message, and waits while the mailbox is full; gives 1, 0 after `timeout` seconds,
        -1 if the coroutine has ended or ends.

        Senders are served first come, first served. One that gives 0, or is ended, has sent
        nothing. `Coro(other.deliver(x)).value()` waits in a thread.

            status = yield other.deliver("hello", timeout=5)
        """

    # For any code; only `value` and `result` wait.

    def send(self, message: Any) -> int:
        """Puts any object at the end of the coroutine's messages; 0, or -1 if it has ended.

        Errors: MailboxFull if there are `mailbox_capacity` of them, or senders that wait for room.

            other.send("hello")
        """
    def resume(self, update: Any = None) -> int:
        """Wakes it from `sleep`, which then gives `update`; 0, or -1 if it has ended.

            other.resume("now")
        """
    wakeup = resume
    @overload
    def throw(self, error: BaseException, /) -> int: ...
    @overload
    def throw(
        self, kind: Type[BaseException], value: Any = ..., trace: Any = ..., /
    ) -> int:
        """Raises an exception where it waits; what it waited for loses no bytes. 0 or -1.

            other.throw(TimeoutError("no answer"))
        """
    def terminate(self) -> int:
        """Raises GeneratorExit where it waits, the innermost generator first; 0, -1 if it is over.

        What a `finally` yields or awaits is done, for `AsynCoro().drain` seconds at most.

            other.terminate()
        """
    def hot_swap(self, target: _Body[Any], /, *args: Any, **kwargs: Any) -> int:
        """Replaces its function as soon as it allows it (see HotSwapException); 0 or -1.

            other.hot_swap(new_function, 5)
        """
    def notify(self, monitor: Coro[Any]) -> int:
        """Makes `monitor` a monitor of this coroutine; 0, or -1 if it has ended.

            other.notify(watcher)
        """
    def is_alive(self) -> bool:
        """Returns whether it has not ended yet.

            assert other.is_alive()
        """
    def value(self, timeout: float | None = None) -> Any:
        """Waits in a thread for the end; gives what was returned, or a MonitorStatus if it failed.

        None after `timeout` seconds, and if it was terminated. Not for coroutines: see `finish`.
        Errors: RuntimeError in a coroutine.

            print(asyncoro.Coro(work).value())
        """
    def result(self, timeout: float | None = None) -> _T:
        """Waits in a thread for the end; gives what was returned, or raises what was raised.

        Errors: TimeoutError after `timeout` seconds; Terminated; RuntimeError in a coroutine.

            print(asyncoro.Coro(work).result())
        """
    def future(self) -> concurrent.futures.Future[_T]:
        """Makes a Future of the end, for threads and, through `asyncio.wrap_future`, for asyncio.

            value = asyncoro.Coro(work).future().result(timeout=5)
        """

Task = Coro

class AsynCoro:
    """The scheduler of this process: one, started by the first coroutine, on a thread of its own,
    or by `run`, in the main thread.

        asyncoro.AsynCoro().join()
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @classmethod
    def instance(cls, *args: Any, **kwargs: Any) -> AsynCoro:
        """Returns the scheduler.

            asyncoro.AsynCoro.instance()
        """
    @staticmethod
    def cur_coro(scheduler: Any = None) -> Coro[Any] | None:
        """Returns the coroutine that runs; None outside the scheduler's thread.

            me = asyncoro.AsynCoro.cur_coro()
        """
    cur_task = cur_coro
    @staticmethod
    def scheduler() -> AsynCoro | None:
        """Returns the scheduler; None outside its thread.

            asyncoro.AsynCoro.scheduler()
        """
    @property
    def name(self) -> str: ...
    def is_alive(self) -> bool:
        """Returns whether it runs.

            asyncoro.AsynCoro().is_alive()
        """
    def join(self, show_running: bool = False, timeout: float | None = None) -> bool:
        """Waits in a thread until only daemons are left; False after `timeout` seconds.

        `show_running` logs the names of those that run.
        Errors: RuntimeError in a coroutine.

            asyncoro.AsynCoro().join(timeout=10)
        """
    def finish(self) -> None:
        """Waits as `join`, then ends the scheduler; the next coroutine starts a new one.

            asyncoro.AsynCoro().finish()
        """
    @property
    def drain(self) -> float:
        """The longest time, in seconds, for the clean-up of a terminated coroutine; 1 unless set.

        It counts for each coroutine from its `terminate()`; what takes longer is cut off, and the
        log says where. With 0, nothing that a `finally` yields or awaits is done.
        Errors: ValueError if negative, TypeError if it is no number.

            asyncoro.AsynCoro().drain = 0.2
        """
    @drain.setter
    def drain(self, seconds: float, /) -> None: ...
    def terminate(self) -> None:
        """Terminates all coroutines, waits for their clean-up, and ends the scheduler.

            asyncoro.AsynCoro().terminate()
        """
    def atexit(
        self, priority: int, func: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        """Calls `func` when the scheduler ends; a higher priority first.

            asyncoro.AsynCoro().atexit(10, print, "over")
        """
    def drop_atexit(self, priority: int, func: Callable[..., object]) -> None:
        """Removes a function that `atexit` was given.

            asyncoro.AsynCoro().drop_atexit(10, print)
        """

Pycos = AsynCoro

class MonitorStatus:
    """Tells how a coroutine ended: `info` is the coroutine; `type` StopIteration and `value` what
    it returned, or `type` the exception's class and `value` the traceback as text.

        status = yield coro.receive()
        if status.type is not StopIteration:
            print(status.value)
    """

    info: Any
    type: Type[BaseException]
    value: Any
    def __init__(self, info: Any, type: Type[BaseException], value: Any = None) -> None: ...

MonitorException = MonitorStatus

class HotSwapException(Exception):
    """Raised in a coroutine that is hot-swappable: `args[0]` is the new generator. Raise it again
    to agree.

        except asyncoro.HotSwapException:
            raise
    """

class MailboxFull(Exception):
    """Raised by `send` to a coroutine whose mailbox is full; nothing was sent.

        except asyncoro.MailboxFull:
            other.terminate()
    """

class Terminated(Exception):
    """Raised by `await coro` and `coro.result()` if the coroutine was terminated.

        except asyncoro.Terminated:
            pass
    """

def current() -> Coro[Any] | None:
    """Returns the coroutine that runs in this thread; None outside of one.

        me = asyncoro.current()
    """

# ---- Locks, queues, channels --------------------------------------------------------------------

class Lock:
    """A lock that one coroutine at a time has, also while it waits; the others get it first come,
    first served.

    It is freed when the coroutine that has it ends, which is logged if that has returned. What does
    not wait may be called by any thread.

        async with lock:
            await sock.send_msg(b"nobody comes between this")
            answer = await sock.recv_msg()
    """

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> Call[bool]:
        """Takes the lock, and waits for it, `timeout` seconds at most (None, or below 0: for ever);
        gives whether the coroutine has it. With `blocking=False` it does not wait.

        Errors: RuntimeError if the coroutine has it already, and would wait for ever.

            if (yield lock.acquire(timeout=1)):
                lock.release()
        """
    def release(self) -> None:
        """Frees the lock, which the first who waits has then.

        Errors: RuntimeError if another coroutine has it, or nobody.

            lock.release()
        """
    def locked(self) -> bool:
        """Returns whether somebody has it.

            lock.locked()
        """
    def statistics(self) -> LockStatistics:
        """Tells who has it, and how many wait.

            lock.statistics().holder
        """
    async def __aenter__(self) -> None: ...
    async def __aexit__(
        self, kind: Type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None, /,
    ) -> None: ...

class RLock(Lock):
    """A lock that the coroutine that has it may take again; it is freed by as many releases.

        async with rlock:
            async with rlock:
                pass
    """

class Condition:
    """A lock, and a place to wait until another coroutine that had the lock says that something has
    changed. `lock`: a Lock or an RLock, None for a new RLock.

        async with condition:
            while not items:
                await condition.wait()
            item = items.pop()
    """

    def __init__(self, lock: Lock | None = None) -> None: ...
    def acquire(self, blocking: bool = True, timeout: float | None = None) -> Call[bool]:
        """Takes its lock, as `Lock.acquire`.

            yield condition.acquire()
        """
    def release(self) -> None:
        """Frees its lock, as `Lock.release`.

            condition.release()
        """
    def locked(self) -> bool:
        """Returns whether somebody has its lock.

            condition.locked()
        """
    def wait(self, timeout: float | None = None) -> Call[bool]:
        """Frees the lock, waits until it is notified, `timeout` seconds at most, and takes the lock
        again; gives whether it was notified. `yield` or `await` it.

        An exception that is raised meanwhile comes out with the lock, but for the end of the
        coroutine, which does not wait for it: if another one has the lock then, `release` does
        nothing. A notice that comes to nothing by that goes to the next who waits.
        Errors: RuntimeError if the coroutine has not got the lock.

            yield condition.wait()
        """
    def wait_for(
        self, predicate: Callable[[], _T], timeout: float | None = None
    ) -> Call[_T]:
        """Waits until `predicate()` is true, `timeout` seconds at most; gives its last value.

            await condition.wait_for(lambda: len(items) > 3)
        """
    def notify(self, n: int = 1) -> None:
        """Wakes the first `n` of those who wait; any thread may, with the lock or without.

            condition.notify()
        """
    def notify_all(self) -> None:
        """Wakes all who wait.

            condition.notify_all()
        """
    notifyAll = notify_all
    def statistics(self) -> ConditionStatistics:
        """Tells how many wait, and what its lock tells.

            condition.statistics().waiting
        """
    async def __aenter__(self) -> None: ...
    async def __aexit__(
        self, kind: Type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

class Event:
    """A flag that coroutines wait for; any thread may set it.

        event = asyncoro.Event()
        yield event.wait()
    """

    def set(self) -> None:
        """Sets the flag, and wakes all who wait.

            event.set()
        """
    def clear(self) -> None:
        """Clears the flag; those who were woken before get True.

            event.clear()
        """
    def is_set(self) -> bool:
        """Returns whether it is set.

            event.is_set()
        """
    def isSet(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> Call[bool]:
        """Waits until it is set, `timeout` seconds at most (None: for ever); gives whether it was.

            if not (yield event.wait(5)):
                print("nothing has happened")
        """
    def statistics(self) -> EventStatistics:
        """Tells whether it is set, and how many wait.

            event.statistics().waiting
        """

class Semaphore:
    """A number of permits, `value` at first: at most so many coroutines at a time have one.

    Errors: ValueError if `value` is below 0.

        async with semaphore:
            sock = await asyncoro.create_connection(address)
    """

    def __new__(cls, value: int = 1) -> Self: ...
    def acquire(self, blocking: bool = True, timeout: float | None = None) -> Call[bool]:
        """Takes a permit, and waits for one, `timeout` seconds at most (None, or below 0: for
        ever); gives whether it has one. With `blocking=False` it does not wait.

            yield semaphore.acquire()
        """
    def release(self, n: int = 1) -> None:
        """Gives `n` permits back, or adds them; any thread may.

        Errors: ValueError if `n` is 0.

            semaphore.release()
        """
    def locked(self) -> bool:
        """Returns whether no permit is left.

            semaphore.locked()
        """
    def statistics(self) -> SemaphoreStatistics:
        """Tells how many permits are left, and how many wait.

            semaphore.statistics().value
        """
    async def __aenter__(self) -> None: ...
    async def __aexit__(
        self, kind: Type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None, /,
    ) -> None: ...

class Queue(Generic[_T]):
    """A queue with room for `maxsize` items (0 or less: no limit); each goes to one who takes it.

    `async for` goes through it until it is shut down. One who stops waiting has taken nothing, and
    put nothing in.

        async for item in queue:
            work(item)
    """

    def __new__(cls, maxsize: int = 0) -> Self: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @property
    def maxsize(self) -> int:
        """How many items fit; 0 if there is no limit.

            queue.maxsize
        """
    def qsize(self) -> int:
        """Returns how many items are in it.

            queue.qsize()
        """
    def empty(self) -> bool:
        """Returns whether no item is in it.

            queue.empty()
        """
    def full(self) -> bool:
        """Returns whether there is no room in it.

            queue.full()
        """
    def put(self, item: _T) -> Call[None]:
        """Puts an item in, and waits for room.

        Errors: QueueShutDown.

            yield queue.put(item)
        """
    def put_nowait(self, item: _T) -> None:
        """Puts an item in; any thread may.

        Errors: QueueFull, QueueShutDown.

            queue.put_nowait(item)
        """
    def get(self) -> Call[_T]:
        """Takes the first item, and waits for one.

        Errors: QueueShutDown once it was shut down and nothing is left.

            item = yield queue.get()
        """
    def get_nowait(self) -> _T:
        """Takes the first item that was promised to nobody who waits; any thread may.

        Errors: QueueEmpty, QueueShutDown.

            item = queue.get_nowait()
        """
    def task_done(self) -> None:
        """Notes that an item that was taken is done.

        Errors: ValueError if all are.

            queue.task_done()
        """
    def join(self) -> Call[None]:
        """Waits until every item that was put in is done.

            yield queue.join()
        """
    def shutdown(self, immediate: bool = False) -> None:
        """Lets nothing more come in, and wakes all who wait. With `immediate` what is in it is
        dropped, and counts as done.

            queue.shutdown()
        """
    def statistics(self) -> QueueStatistics:
        """Tells how many items are in it, and who waits.

            queue.statistics().getting
        """
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Call[_T]: ...

class Channel(Generic[_T]):
    """Sends each message to each subscriber: coroutines, which `receive` it, queues, and other
    channels. `transform(name, message)` gives what is sent in place of a message; None drops it.

    Any thread may call what does not wait. One that subscribes and ends is dropped at once.

        news = asyncoro.Channel("news")
        yield news.subscribe(coro)
        news.send("hello")
    """

    def __new__(
        cls, name: str, transform: Callable[[str, _T], Any] | None = None
    ) -> Self: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @property
    def name(self) -> str:
        """Its name.

            channel.name
        """
    def set_transform(self, transform: Callable[[str, _T], Any] | None) -> int:
        """Sets the transform, or with None removes it; 0, or -1, with a warning in the log, if it
        does not take a name and a message.

            channel.set_transform(lambda name, message: message.upper())
        """
    def subscribe(
        self, subscriber: Coro[Any] | Channel[Any] | Queue[Any], timeout: float | None = None
    ) -> Call[int]:
        """Adds a coroutine, a channel or a queue; 0, or -1 if it has ended or is none, or if the
        channel is closed. `timeout` is not used.

            yield channel.subscribe(coro)
        """
    def unsubscribe(
        self, subscriber: Coro[Any] | Channel[Any] | Queue[Any], timeout: float | None = None
    ) -> Call[int]:
        """Removes a subscriber; 0, or -1 if it was none. `timeout` is not used.

            yield channel.unsubscribe(coro)
        """
    def subscription(
        self, maxsize: int = 0, slow: Literal["disconnect", "drop"] = "disconnect"
    ) -> Queue[_T]:
        """Makes a queue that gets each message from now on, until the channel is closed, or nobody
        has the queue any more.

        When it is full, with `maxsize` messages (0: no limit), it is shut down, which its `get` and
        `async for` raise after what is in it; with `slow="drop"` it loses its oldest message.
        Errors: ValueError for another `slow`.

            async for message in channel.subscription(100):
                print(message)
        """
    def send(self, message: _T) -> int:
        """Sends a message to all subscribers; 0, or -1 if the channel is closed.

        Errors: MailboxFull if a coroutine has no room; all others have got the message then.

            channel.send("hello")
        """
    def deliver(self, message: _T, timeout: float | None = None, n: int = 0) -> Call[int]:
        """Waits until there are `n` subscribers, sends a message, and waits for those without room,
        if `n` is not 0 only until `n` have got it; gives how many have, those of other channels
        among them, also after `timeout` seconds. -1 if the channel is closed, or `n` below 0.

            count = yield channel.deliver("hello", timeout=5, n=2)
        """
    def close(self) -> None:
        """Removes all subscribers, and takes no more; queues are shut down.

            channel.close()
        """
    def statistics(self) -> ChannelStatistics:
        """Tells how many subscribers it has.

            channel.statistics().subscribers
        """

class QueueEmpty(Exception):
    """Raised by `get_nowait` of a queue that is empty.

        except asyncoro.QueueEmpty:
            pass
    """

class QueueFull(Exception):
    """Raised by `put_nowait` of a queue that is full.

        except asyncoro.QueueFull:
            pass
    """

class QueueShutDown(Exception):
    """Raised by `put` of a queue that was shut down, and by `get` when nothing is left in it.

        except asyncoro.QueueShutDown:
            return
    """

class LockStatistics(NamedTuple):
    """What `Lock.statistics` tells; `cut_off`: how many coroutines have ended while they had it."""

    is_held: bool
    holder: Coro[Any] | None
    waiting: int
    cut_off: int

class ConditionStatistics(NamedTuple):
    """What `Condition.statistics` tells; `waiting`: to be notified."""

    waiting: int
    lock: LockStatistics

class EventStatistics(NamedTuple):
    """What `Event.statistics` tells."""

    is_set: bool
    waiting: int

class SemaphoreStatistics(NamedTuple):
    """What `Semaphore.statistics` tells; `value`: the permits that are left."""

    value: int
    waiting: int

class QueueStatistics(NamedTuple):
    """What `Queue.statistics` tells; `getting` and `putting`: how many wait; `unfinished`: items
    that are not done; `lost`: messages dropped for newer ones."""

    size: int
    maxsize: int
    getting: int
    putting: int
    unfinished: int
    lost: int
    is_shut: bool

class ChannelStatistics(NamedTuple):
    """What `Channel.statistics` tells; `delivering`: calls of `deliver` that wait for subscribers.
    """

    subscribers: int
    delivering: int
    is_closed: bool

# ---- Today's Python -----------------------------------------------------------------------------

def run(
    main: Coroutine[Any, Any, _T] | Generator[Any, Any, _T],
    *,
    asyncio: bool | Callable[[], AbstractEventLoop] = False,
) -> _T:
    """Runs `main`, and gives what it returns or raises what it raises.

    In the main thread, if no scheduler runs, this is the scheduler, without a thread of its own.
    It returns when all coroutines other than daemons have ended, too; if `main` has failed it ends
    them. Elsewhere it waits for `main` alone. Ctrl-C ends all coroutines, those too that compute.

    With `asyncio=True` all of it runs in an event loop of asyncio's, in this thread: coroutines may
    await asyncio's futures and tasks, and use libraries for it. `asyncio` may be what makes the
    loop. It ends as `asyncio.run` does; what is left is cancelled.

    Errors: what `main` raises; KeyboardInterrupt after Ctrl-C; RuntimeError in a coroutine.

        asyncoro.run(main())
        asyncoro.run(main(), asyncio=uvloop.new_event_loop)
    """

def run_until(
    main: Coroutine[Any, Any, _T] | Generator[Any, Any, _T],
    *,
    asyncio: bool | Callable[[], AbstractEventLoop] = False,
) -> _T:
    """Runs `main` as `run` does, and ends all other coroutines as soon as it has ended.

        asyncoro.run_until(main())
    """

def sleep(seconds: float | None) -> Call[None]:
    """Waits that many seconds; None: for ever.

        await asyncoro.sleep(0.5)
    """

@final
@type_check_only
class _Bound:
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: Type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: Type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

def first(
    *bodies: Union[
        Call[Any], Coro[Any], Coroutine[Any, Any, Any], Generator[Any, Any, Any], _Body[Any]
    ],
) -> Call[tuple[int, Any]]:
    """Waits for the first that ends, and gives its place among them and its value.

    Each is a verb's call, a function, a generator, an `async def`'s call or a Coro. The others are
    given up: a verb has then done nothing, and a coroutine is terminated; its clean-up is not
    waited for.
    Errors: what the first one raises; ValueError without any, TypeError for anything else.

        place, data = await asyncoro.first(sock.recv(100), other.recv(100))
    """

@overload
def timeout(seconds: float | None, body: None = None) -> _Bound: ...
@overload
def timeout(
    seconds: float | None, body: Awaitable[_T] | Generator[Any, Any, _T]
) -> Call[_T]:
    """Bounds a block, or one call, in seconds: a wait raises TimeoutError when they are over.

    A second argument, a verb's call, a generator, an `async def`'s call or a Coro, is bounded
    alone, and `yield` or `await` gives its value. None is no bound.

        with asyncoro.timeout(2.5):
            data = yield sock.recvall(1000)
        data = yield asyncoro.timeout(2.5, sock.recvall(1000))
    """

def gather(
    *bodies: Union[
        Call[Any], Coro[Any], Coroutine[Any, Any, Any], Generator[Any, Any, Any], _Body[Any]
    ],
) -> Call[list[Any]]:
    """Runs them at once, each a verb's call, a function, a generator, an `async def`'s call or a
    Coro; gives their values in order.

    Errors: the first that one raises, when the others were terminated and have ended.

        one, two = await asyncoro.gather(work(1), work(2))
    """

@final
class Scope:
    """What `scope` makes: coroutines that are spawned in it have ended when its block is left."""

    def __init__(self, timeout: float | None = None, grace: float = 0) -> None: ...
    def spawn(self, target: _Body[_T], /, *args: Any, **kwargs: Any) -> Coro[_T]:
        """Starts a coroutine as `Coro(target, ...)` does, which has ended when the block is left.

        The first one that raises ends the others and the block, which raises the same. One that is
        terminated has not failed.
        Errors: those of `Coro`; RuntimeError outside of the block, and in another thread.

            worker = s.spawn(work, 1)
        """
    def stop(self) -> None:
        """Asks all in the scope, and in those within it, to end: `stopping` is over for them. After
        the `grace`, if there is one, those that have not ended are terminated.

            s.stop()
        """
    def is_stopping(self) -> bool:
        """Returns whether the scope is to end: it, or one around it, was asked to stop, has failed,
        or is near its deadline.

            while not s.is_stopping(): ...
        """
    def stopping(self) -> Call[bool]:
        """Waits until the scope is to end.

            await s.stopping()
        """
    @property
    def deadline(self) -> float | None:
        """When it ends at the latest, by `time.monotonic()`: the earliest of its own and those of
        the scopes around; None if there is none.

            left = s.deadline - time.monotonic()
        """
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: Type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

@overload
def scope(body: None = None, *, timeout: float | None = None, grace: float = 0) -> Scope:
    """Makes a scope: its block is left when all coroutines that were spawned in it have ended.

    `timeout` (seconds) is for all of it, with the last `grace` seconds for ending by themselves.
    With `body`, a function, `yield` or `await` calls that with the scope, and gives its value.
    Errors: what the first child, or the block, has raised; TimeoutError; RuntimeError outside of a
    coroutine or task; TypeError, ValueError for bad seconds.

        async with asyncoro.scope() as s:
            s.spawn(work, 1)
        value = yield asyncoro.scope(body, timeout=5)
    """

@overload
def scope(
    body: Callable[[Scope], Union[Generator[Any, Any, _T], Coroutine[Any, Any, _T]]],
    *,
    timeout: float | None = None,
    grace: float = 0,
) -> Call[_T]: ...

def is_stopping() -> bool:
    """Returns whether the innermost scope around is to end; False outside of all.

        while not asyncoro.is_stopping(): ...
    """

def stopping() -> Call[Any]:
    """Waits until the innermost scope around is to end; for ever outside of all.

        place, _ = await asyncoro.first(work(), asyncoro.stopping())
    """

def map_bounded(
    function: Callable[[_Item], Any], items: Iterable[_Item], limit: int
) -> Call[list[Any]]:
    """Calls `function` with each item, at most `limit` of the calls at once; gives the values in
    order. Takes an item only when it is about to be used.

    Errors: the first that one raises, or `items`, when the others were terminated and have ended;
    ValueError if `limit` is less than 1.

        pages = await asyncoro.map_bounded(fetch, urls, 10)
    """

class AsyncThreadPool:
    """Runs functions that block on threads, so that coroutines can wait for them.

    `num_threads`: the most threads, from 1 on. They are started when they are needed, and are
    daemons: at the end of the program nobody waits for a function whose coroutine has ended.
    `with` and `async with` terminate it. After a fork the child starts threads of its own.
    Errors: TypeError, ValueError for another number.

        pool = asyncoro.AsyncThreadPool(4)
    """

    def __init__(self, num_threads: int) -> None: ...
    @overload
    def async_task(
        self, target: Callable[..., _T], *, args: Sequence[Any], kwargs: dict[str, Any] = ...
    ) -> Call[_T]: ...
    @overload
    def async_task(self, target: Callable[..., _T], *, kwargs: dict[str, Any]) -> Call[_T]: ...
    @overload
    def async_task(
        self, target: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> Call[_T]:
        """Calls `target` on a thread, and gives what it returns, or raises what it raises.

        `args` and `kwargs` by name are as in `threading.Thread`. Context variables are those of
        this call. If it is given up, a function that was not begun never runs; one that was begun
        goes on, and its thread takes others then. StopIteration becomes RuntimeError.
        Errors: RuntimeError when the pool was terminated.

            value = yield pool.async_task(pow, 2, 10)
            value = yield pool.async_task(target=pow, args=(2, 10), kwargs={"mod": 7})
        """
    def join(self, timeout: float | None = None) -> Any:
        """Waits until all functions have ended; gives True, or False after `timeout` seconds. In a
        thread it waits; in a coroutine it is a verb.

            yield pool.join()
        """
    def terminate(self) -> Any:
        """Takes no more functions, lets those end that were given, and waits for the end of the
        threads. In a thread it waits; in a coroutine it is a verb.

            yield pool.terminate()
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exception: object) -> None: ...
    def __del__(self) -> None: ...

class AsyncDBCursor:
    """A cursor of a database (PEP 249) whose statements run on the threads of a pool, one after the
    other.

    What else a cursor has is its own, and does not wait: `fetchall()`, `rowcount`, `close()`. The
    database's module must allow its use by several threads: for sqlite3, connect with
    `check_same_thread=False`.

        connection = sqlite3.connect("users.db", check_same_thread=False)
        cursor = asyncoro.AsyncDBCursor(asyncoro.AsyncThreadPool(1), connection.cursor())
    """

    def __init__(self, thread_pool: AsyncThreadPool, cursor: Any) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def execute(self, query: Any, args: Any = None) -> Call[Any]:
        """Runs a statement, and gives what the cursor's `execute` returns. With None it has no
        arguments.

        If it is given up, one that was not begun never runs; one that was begun goes on, and later
        ones wait for it.
        Errors: what the cursor raises.

            yield cursor.execute("select name from users where id = ?", (1,))
        """
    def executemany(self, query: Any, args: Any) -> Call[Any]:
        """Runs a statement for each of `args`; else as `execute`.

            yield cursor.executemany("insert into users values (?)", [("one",), ("two",)])
        """
    def callproc(self, proc: Any, args: Sequence[Any] = ()) -> Call[Any]:
        """Calls a stored procedure; else as `execute`.

            yield cursor.callproc("clean_up", (30,))
        """

class CategorizeMessages:
    """Sorts the messages of a coroutine into categories, to receive those of one before others.

    Only `receive` of this object may receive the messages of the coroutine then.

        sorted_ = asyncoro.CategorizeMessages(coro)
        sorted_.add(lambda message: "urgent" if message.startswith("!") else None)
        message = yield sorted_.receive("urgent")
    """

    def __init__(self, coro: Coro[Any]) -> None: ...
    def add(self, categorize: Callable[[Any], Any]) -> None:
        """Adds a function that is called with a message and returns its category, any value that
        can be a key; or None: then those are asked that were added before. A message that none of
        them knows is of the category None.

        Errors: TypeError if it cannot be called.

            sorted_.add(type)
        """
    def remove(self, categorize: Callable[[Any], Any]) -> None:
        """Removes a function that `add` was given.

            sorted_.remove(type)
        """
    def receive(
        self, category: Any = None, timeout: float | None = None, alarm_value: Any = None
    ) -> Call[Any]:
        """Receives the earliest message of a category; `alarm_value` after `timeout` seconds (0
        takes what is there). Other messages are kept.

        What a function raises is raised here; its message is of the category None then.

            message = yield sorted_.receive("urgent", timeout=1)
        """
    def recv(
        self, category: Any = None, timeout: float | None = None, alarm_value: Any = None
    ) -> Call[Any]: ...

class Singleton(type):
    """The metaclass of a class that has one object: each call of the class gives that.

        class Settings(metaclass=asyncoro.Singleton):
            pass

        assert Settings() is Settings()
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any: ...
    @staticmethod
    def instance(cls: type) -> Any:
        """Returns the object of a class; None if there is none yet."""
    @staticmethod
    def discard(cls: type) -> None:
        """Forgets the object of a class: the next call makes another one."""

class EventLoop(SelectorEventLoop):
    """An event loop of asyncio's that is a scheduler of ours (Linux).

    Coroutines and sockets of ours run in it beside asyncio's tasks, with one wait for both, and
    callbacks, timers and the `sock_*` calls are ours. All else is as in its base. See
    `new_event_loop`.
    """

    def __init__(self) -> None: ...

class EventLoopPolicy(DefaultEventLoopPolicy):
    """A policy of asyncio's whose loops are `EventLoop`, for programs that set one.

        asyncio.set_event_loop_policy(asyncoro.EventLoopPolicy())
    """

def new_event_loop() -> EventLoop:
    """Makes an event loop of asyncio's that is a scheduler of ours (Linux).

        asyncio.run(main(), loop_factory=asyncoro.new_event_loop)  # Python 3.12
        with asyncio.Runner(loop_factory=asyncoro.new_event_loop) as runner: ...  # 3.11
        uvicorn --loop asyncoro:new_event_loop ...

    Close it, as any loop; `asyncio.run` does.
    """

def wait_future(future: concurrent.futures.Future[_T]) -> Call[_T]:
    """Waits in a coroutine for a Future of a thread, a pool or asyncio, and gives its result.

    Errors: what the Future raises.

        value = await asyncoro.wait_future(pool.submit(work))
    """

# ---- Servers ------------------------------------------------------------------------------------

class Served(NamedTuple):
    """What a server has done."""

    connections: int
    """The connections that were accepted; over TLS, those whose handshake was done."""
    failed: int
    """Those whose handler has raised an exception."""
    idle: int
    """Those that were closed by the idle timeout."""
    forced: int
    """Those whose handler was terminated at the end, since it did not end by itself in time."""

_Handler: TypeAlias = Callable[[AsyncSocket, _RetAddress], Any]
"""A generator function or an `async def` that is called with each connection."""

class Server:
    """A server of listening sockets: calls a function for each connection, in a coroutine of its
    own, until it is told to stop.

    `limit`: how many connections have a handler at the same time; further ones wait in the system's
    queue. `idle_timeout`: seconds after which a connection is closed on which no byte has moved, or
    up to a quarter longer. `grace`: seconds that handlers may take to end after the server was told
    to stop; those that are left are terminated, and the log names them. `quiet`: seconds after
    which a connection that is silent then gets the end of the stream; None: when the grace is over.
    `signals=False` leaves Ctrl-C and SIGTERM to others.
    Errors: TypeError for what is no AsyncSocket, and no number of seconds; ValueError for a limit
    below 1, and negative seconds.

        server = asyncoro.Server(asyncoro.create_server("127.0.0.1:7007"), limit=1000)
    """

    def __init__(
        self,
        *listeners: AsyncSocket,
        limit: int | None = None,
        idle_timeout: float | None = None,
        quiet: float | None = 1,
        grace: float = 8,
        signals: bool = True,
    ) -> None: ...
    def serve(self, handler: _Handler) -> Call[Served]:
        """Serves until the first signal, `stop`, or the soft phase of a scope around it; gives
        counts when all handlers have ended.

        Then it accepts the connections that wait in the queues of its listeners and closes these;
        tells its handlers, by `asyncoro.stopping` and `asyncoro.is_stopping`; ends silent
        connections, and terminates what is left in the end, or at a second signal.
        A handler that raises ends its own connection, which is closed with it.
        Errors: those of `accept`, when the handlers have ended; RuntimeError at a second call.

            served = await server.serve(handler)
        """
    def stop(self) -> None:
        """Begins a graceful end, as the first signal does. Any thread may.

            server.stop()
        """
    def release(self) -> None:
        """Begins a graceful end, and leaves the listeners, and the connections in their queues, to
        another process that has them (`inheriting`, `hand_over`). Any thread may.

            server.release()
        """
    def end(self) -> None:
        """Ends the server at once, as the second signal does: handlers are terminated. Any thread
        may.

            server.end()
        """
    @property
    def connections(self) -> int:
        """How many connections have a handler that has not ended.

            print(server.connections)
        """
    @property
    def served(self) -> Served:
        """What was served until now.

            print(server.served)
        """

def serve(
    listener: AsyncSocket,
    handler: _Handler,
    *,
    limit: int | None = None,
    idle_timeout: float | None = None,
    quiet: float | None = 1,
    grace: float = 8,
    signals: bool = True,
) -> Call[Served]:
    """Serves the connections of a listener until Ctrl-C or SIGTERM, and ends well: see `Server`.

        served = await asyncoro.serve(asyncoro.create_server("127.0.0.1:7007"), handler)
    """

def inherited() -> list[tuple[str, socket.socket]]:
    """Takes the descriptors that this process was started with, by socket activation
    (sd_listen_fds(3)) or by `inheriting`: names and sockets. The list is empty if they are for
    another process, and at a second call. Their variables are removed from the environment.

    Errors: ValueError if the variables make no sense; OSError: EBADF if there is no such
    descriptor, EEXIST if this process has opened it itself.

        for name, sock in asyncoro.inherited(): ...
    """

def listener(
    address: _Endpoint,
    *,
    family: int = ...,
    backlog: int | None = None,
    reuse_port: bool = False,
    keyfile: _Path | None = None,
    certfile: _Path | None = None,
    ssl_version: int | None = None,
    cafile: _Path | None = None,
    alpn: Sequence[str] | None = None,
) -> AsyncSocket:
    """Returns the listener that this process was started with, the first one, or else makes one as
    `create_server`.

    Errors: those of `inherited` and `create_server`.

        server = asyncoro.listener("127.0.0.1:7007")
    """

def inheriting(
    command: Sequence[_Path], listener: AsyncSocket, name: str = "listener", **options: Any
) -> subprocess.Popen[Any]:
    """Starts a program with a listener, which `listener`, `inherited` and all other programs that
    know socket activation find there. `options` are those of `subprocess.Popen`; the standard input
    of the program is empty. It needs /bin/sh.

    Errors: those of `Popen`; ValueError for a name with a colon or a control character.

        following = asyncoro.inheriting([sys.executable, *sys.argv], server)
    """

def hand_over(to: AsyncSocket, listeners: Mapping[str, AsyncSocket]) -> Call[None]:
    """Hands listeners, by their names, to another process over a connected Unix socket, and waits
    until that accepts (`TakenOver.ready`). Both have them then; `Server.release` ends this one.
    With TLS it hands over the plain listener. The crate's functions of this name take part, too.

    Errors: EOFError if the other process has ended before: go on serving; ValueError for no, or
    more than 253, listeners, and for a name with a line end; those of `send_fds`.

        await asyncoro.hand_over(sock, {"http": server})
    """

def take_over(origin: AsyncSocket) -> Call[TakenOver]:
    """Takes the listeners that another process hands over, over a connected Unix socket.

    Errors: EOFError, ValueError if something else has come; those of `recv_fds`.

        taken = await asyncoro.take_over(sock)
    """

class TakenOver:
    """What `take_over` gives: `listeners`, by their names.

    If it is dropped without a call of `ready`, the stream to the other process ends.
    """

    listeners: dict[str, AsyncSocket]
    def __init__(self, origin: AsyncSocket, listeners: dict[str, AsyncSocket]) -> None: ...
    def __del__(self) -> None: ...
    def ready(self) -> Call[None]:
        """Tells the other process that this one accepts.

        Errors: those of `sendall`.

            await taken.ready()
        """

# ---- Old programs -------------------------------------------------------------------------------

def install_aliases() -> None:
    """Makes `import asyncoro` and `import pycos` this package, and `raise StopIteration(v)` in a
    generator a `return v`, as `python -m asyncoro SCRIPT ARGS` does.

    It holds in children that multiprocessing spawns, too.

        import asyncoro
        asyncoro.install_aliases()
    """

class Logger:
    """The log of asyncoro and pycos: feeds the logger of `logging` with its name, if the program
    has configured that; else a line with the time for each entry, to standard output, from warnings
    on to standard error. A `stream` that was given gets the lines in either case.

        asyncoro.logger.setLevel(asyncoro.Logger.DEBUG)
    """

    DEBUG: ClassVar[int]
    INFO: ClassVar[int]
    WARN: ClassVar[int]
    WARNING: ClassVar[int]
    ERROR: ClassVar[int]
    CRITICAL: ClassVar[int]
    FATAL: ClassVar[int]
    name: str
    stream: TextIO | None
    level: int
    log_ms: bool
    def __init__(
        self,
        name: str,
        stream: TextIO | None = None,
        level: int | None = None,
        log_ms: bool = False,
    ) -> None: ...
    def setLevel(self, level: int | str) -> None:
        """Leaves out entries below `level`: a number, or its name. Until it is called, that is
        INFO for lines, and the level of `logging` for records.

            asyncoro.logger.setLevel(asyncoro.Logger.WARNING)
        """
    def show_ms(self, flag: bool) -> None:
        """Shows milliseconds in the time.

            asyncoro.logger.show_ms(True)
        """
    def log(self, message: str, *args: Any) -> None: ...
    def debug(self, message: str, *args: Any) -> None: ...
    def info(self, message: str, *args: Any) -> None: ...
    def warning(self, message: str, *args: Any) -> None: ...
    def warn(self, message: str, *args: Any) -> None: ...
    def error(self, message: str, *args: Any) -> None: ...
    def critical(self, message: str, *args: Any) -> None: ...
    def fatal(self, message: str, *args: Any) -> None: ...
    def exception(self, message: str, *args: Any) -> None:
        """Writes an error, with the traceback of the exception that is being handled.

            asyncoro.logger.exception("the request failed")
        """
    def flush(self) -> None: ...
    def shutdown(self) -> None: ...

logger: Logger
"""The log, also of uncaught errors: `asyncoro.logger.info("%s clients", count)`."""
