"""AsyncFile: over anything that has a descriptor, in both styles."""

import asyncio
import errno
import io
import os
import pty
import random
import socket
import tty

import pytest

import asyncoro
from asyncoro.asyncfile import AsyncFile
from files import path, pipe  # noqa: F401
from harness import WAIT, also_await, async_pair, done, go, let_run, parallel, tcp_pair


# ---- what the originals had wrong


@also_await
def test_a_line_that_took_all_bytes_is_followed_by_more_and_not_by_an_end():
    def main():
        reader, writer = pipe()
        with reader, writer:
            yield writer.write(b"line\n")
            line = yield reader.readline()
            assert line == b"line\n"
            with pytest.raises(TimeoutError):
                yield reader.read(9, timeout=0.01)
            yield writer.write(b"more")
            more = yield reader.read(9)
            assert more == b"more"
            writer.close()
            for _ in range(2):
                assert (yield reader.read(9)) == b""
                assert (yield reader.readline()) == b""
                assert (yield reader.read()) == b""

    go(main)


@also_await
def test_a_line_that_times_out_keeps_its_beginning():
    def main():
        reader, writer = pipe()
        with reader, writer:
            for part in (b"par", b"ti", b"al"):
                yield writer.write(part)
                with pytest.raises(OSError) as caught:
                    yield reader.readline(timeout=0.01)
                assert isinstance(caught.value, TimeoutError)
            yield writer.write(b" line\nrest")
            assert (yield reader.readline()) == b"partial line\n"
            assert (yield reader.read(100)) == b"rest"

    go(main)


@also_await
def test_a_full_write_that_times_out_says_how_many_bytes_it_has_written():
    def main():
        reader, writer = pipe()
        with reader, writer:
            count = yield writer.write(bytes(1 << 20), full=True, timeout=0.05)
            assert 0 < count < 1 << 20
            with pytest.raises(TimeoutError):
                yield writer.write(b"x" * 5000, timeout=0.01)
            # The scheduler lives, and exactly as many are there.
            got = yield reader.read(1 << 20, full=True, timeout=0.05)
            assert len(got) == count
            assert (yield writer.write(b"again")) == 5

    go(main)


@also_await
def test_a_regular_file_is_read_and_written(path):
    def main():
        with AsyncFile(open(path, "r+b")) as file:
            assert (yield file.read(5)) == b"one\nt"
            assert (yield file.write(b"WO")) == 2
            assert (yield file.readline()) == b"\n"
            assert (yield file.tell()) == 8
            assert (yield file.seek(-1, os.SEEK_CUR)) == 7
            assert (yield file.read()) == b"\n\nlast"
            assert (yield file.truncate(3)) == 3
            assert (yield file.seek(0)) == 0
            yield file.sync()
            assert (yield file.read()) == b"one"
        assert path.read_bytes() == b"one"

    go(main)


@also_await
def test_a_number_is_a_file_and_stays_open():
    def main():
        reader, writer = os.pipe()
        file = AsyncFile(reader)
        assert file.fileno() == reader
        os.write(writer, b"abc")
        assert (yield file.read(10)) == b"abc"
        file.close()
        assert file.closed and file.fileno() == -1
        os.write(writer, b"def")
        assert os.read(reader, 10) == b"def"
        os.close(reader)
        os.close(writer)

    go(main)


# ---- reading


@also_await
def test_what_read_gives():
    def main():
        reader, writer = pipe()
        with reader, writer:
            yield writer.write(b"abcdef")
            assert (yield reader.read(2)) == b"ab"
            assert (yield reader.read(2, full=True)) == b"cd"
            assert (yield reader.read(9)) == b"ef"
            yield writer.write(b"123")
            assert (yield reader.read(9, True, 0.01)) == b"123"
            with pytest.raises(TimeoutError):
                yield reader.read(9, full=True, timeout=0.01)
            with pytest.raises(TimeoutError):
                yield reader.read(timeout=0.01)
            yield writer.write(b"456")
            assert (yield reader.read(timeout=0.01)) == b"456"
            yield writer.write(b"789")
            writer.close()
            assert (yield reader.read(9, full=True)) == b"789"
            for size in (0, None, -1, 5):
                assert (yield reader.read(size)) == b""

    go(main)


@also_await
def test_what_readline_gives():
    def main():
        reader, writer = pipe()
        with reader, writer:
            yield writer.write(b"first line\nsecond\n\nlast")
            writer.close()
            assert (yield reader.readline(3)) == b"fir"
            assert (yield reader.readline(8)) == b"st line\n"
            assert (yield reader.readline(7, sizehint=3)) == b"second\n"
            assert (yield reader.readline(0, 100, 1)) == b"\n"
            assert (yield reader.readline(9)) == b"last"
            assert (yield reader.readline()) == b""

    go(main)


def test_async_for_goes_through_lines(path):
    async def main():
        async with await AsyncFile.open(path) as file:
            lines = [line async for line in file]
        assert file.closed
        return lines

    assert go(main) == [b"one\n", b"two\n", b"\n", b"last"]


def test_a_generator_goes_through_lines(path):
    def main():
        lines = []
        with (yield AsyncFile.open(path)) as file:
            while True:
                try:
                    lines.append((yield file.__anext__()))
                except StopAsyncIteration:
                    return lines

    assert go(main) == [b"one\n", b"two\n", b"\n", b"last"]


@pytest.mark.parametrize("timeout, error", [(-1, ValueError), ("1", TypeError)])
def test_timeouts_are_checked(timeout, error):
    def main():
        reader, writer = pipe()
        with reader, writer:
            write = lambda timeout: writer.write(b"", timeout=timeout)
            for verb in (reader.read, reader.readline, write):
                with pytest.raises(error):
                    yield verb(timeout=timeout)
            # No timeout.
            yield writer.write(b"x" * 5, timeout=0)
            assert (yield reader.read(5, timeout=None)) == b"x" * 5

    go(main)


@also_await
def test_long_data_goes_through_a_pipe_whole():
    data = random.Random(1).randbytes(3 << 20)

    def write(writer):
        count = yield writer.write(data, full=True)
        writer.close()
        return count

    def main():
        reader, writer = pipe()
        with reader:
            writing = asyncoro.Coro(write, writer)
            start = yield reader.read(1 << 20, full=True)
            rest = yield reader.read()
            assert start + rest == data
            assert (yield writing.finish()) == len(data)

    go(main)


@also_await
def test_a_long_regular_file_is_read_as_far_as_it_was_asked_for(tmp_path):
    data = random.Random(2).randbytes(5 << 20)
    path = tmp_path / "long"
    path.write_bytes(data)

    def main():
        with (yield AsyncFile.open(path)) as file:
            assert (yield file.read(2 << 20)) == data[:2 << 20]
            assert (yield file.read(1 << 40)) == data[2 << 20:]
            assert (yield file.read(1 << 40)) == b""
            yield file.seek(-10, os.SEEK_END)
            assert (yield file.read()) == data[-10:]
        with (yield AsyncFile.open(tmp_path / "copy", "w+")) as file:
            assert (yield file.write(data)) == len(data)
            yield file.seek(0)
            assert (yield file.read()) == data

    go(main)


@also_await
def test_a_file_of_the_system_whose_length_is_not_known_is_read():
    def main():
        with (yield AsyncFile.open("/proc/self/status")) as file:
            whole = yield file.read(1 << 30)
            assert whole.startswith(b"Name:") and b"VmRSS" in whole
            yield file.seek(0)
            assert (yield file.readline()).startswith(b"Name:")

    go(main)


# ---- what becomes a file


def test_what_is_no_file_is_refused(path):
    for wrong, error, text in [
        (None, TypeError, "NoneType"), (True, TypeError, "bool"), (1.5, TypeError, "float"),
        (str(path), TypeError, "AsyncFile.open"), (path, TypeError, "AsyncFile.open"),
        (-1, OSError, "Bad file"), (10 ** 6, OSError, "Bad file"), (10 ** 30, OverflowError, "."),
        (io.BytesIO(b"x"), io.UnsupportedOperation, "fileno"),
    ]:
        with pytest.raises(error, match=text):
            AsyncFile(wrong)
    here, there = socket.socketpair()
    blocking = asyncoro.AsyncSocket(here, blocking=True)
    with pytest.raises(TypeError, match="blocking"):
        AsyncFile(blocking)
    blocking.close()
    with pytest.raises(OSError):
        AsyncFile(asyncoro.AsyncSocket(here))
    file = AsyncFile(there)
    with pytest.raises(TypeError):
        AsyncFile(file)
    file.close()
    closed = open(path)
    closed.close()
    with pytest.raises(ValueError):
        AsyncFile(closed)


def test_modes_of_open_are_checked(tmp_path):
    for mode in ("", "rw", "t", "rt", "U", "r++", "+", "rbb"):
        with pytest.raises(ValueError, match="invalid mode"):
            AsyncFile.open(tmp_path / "file", mode)


@also_await
def test_open_opens_as_open_does(tmp_path):
    path = tmp_path / "file"

    def main():
        with pytest.raises(FileNotFoundError) as caught:
            yield AsyncFile.open(path)
        assert caught.value.filename == str(path)
        with (yield AsyncFile.open(path, "xb")) as file:
            yield file.write(b"one")
        with pytest.raises(FileExistsError):
            yield AsyncFile.open(str(path), "x")
        with (yield AsyncFile.open(os.fsencode(path), "a+")) as file:
            yield file.write(b"two")
            yield file.seek(0)
            assert (yield file.read()) == b"onetwo"
            yield file.seek(0)
            yield file.write(b"three")
        with (yield AsyncFile.open(path, "r+b")) as file:
            yield file.write(b"ONE")
            assert (yield file.read()) == b"twothree"
        with (yield AsyncFile.open(path, "w")) as file:
            with pytest.raises(OSError) as caught:
                yield file.read()
            assert caught.value.errno == errno.EBADF
        assert path.read_bytes() == b""
        with (yield AsyncFile.open(path)) as file:
            with pytest.raises(OSError):
                yield file.write(b"x")
        with (yield AsyncFile.open(tmp_path)) as folder:
            with pytest.raises(IsADirectoryError):
                yield folder.read()

    go(main)


@also_await
def test_a_file_goes_on_where_the_object_under_it_is(path):
    def main():
        under = open(path, "rb")
        under.readline()
        with AsyncFile(under) as file:
            assert (yield file.readline()) == b"two\n"
        assert under.closed
        under = open(path)
        under.read(2)
        with AsyncFile(under) as file:
            assert (yield file.readline()) == b"e\n"
        under = open(path, "wb")
        under.write(b"before ")
        with AsyncFile(under) as file:
            yield file.write(b"after")
        assert path.read_bytes() == b"before after"

    go(main)


@also_await
def test_who_goes_on_with_the_descriptor_begins_where_the_file_has_stopped(path):
    def main():
        with open(path, "rb", buffering=0) as under:
            with AsyncFile(under.fileno()) as file:
                yield file.readline()
            assert under.readline() == b"two\n"
            with AsyncFile(under, closefd=False) as file:
                yield file.readline()
            assert under.read() == b"last"

    go(main)


@also_await
def test_a_descriptor_that_others_share_keeps_its_mode():
    def main():
        reader, writer = os.pipe()
        with open(reader, "rb") as reads, open(writer, "wb") as writes:
            source, sink = AsyncFile(reads, closefd=False), AsyncFile(writes, closefd=False)
            yield sink.write(b"abc")
            assert (yield source.read(9)) == b"abc"
            with pytest.raises(TimeoutError):
                yield source.read(9, timeout=0.01)
            assert os.get_blocking(reader) and os.get_blocking(writer)
            source.close()
            sink.close()

    go(main)


@also_await
def test_a_terminal_is_a_file():
    def main():
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        with AsyncFile(ours, closefd=True) as near, AsyncFile(theirs, closefd=True) as far:
            yield near.write(b"typed\n")
            assert (yield far.readline()) == b"typed\n"
            yield far.write(b"shown")
            assert (yield near.read(9)) == b"shown"
            with pytest.raises(TimeoutError):
                yield far.read(1, timeout=0.01)

    go(main)


@also_await
def test_a_pipe_with_a_name_waits_for_its_writer(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def write():
        with open(path, "wb") as writer:
            writer.write(b"came late")

    def main():
        with (yield AsyncFile.open(path)) as file:
            with pytest.raises(TimeoutError):
                yield file.read(timeout=0.01)
            writing = parallel(write)
            assert (yield file.read()) == b"came late"
            writing.result()

    go(main)


@also_await
def test_sockets_are_files():
    def main():
        here, there = tcp_pair()
        # A plain one, and one for coroutines: closing the file closes each.
        sock = asyncoro.AsyncSocket(there)
        with AsyncFile(here) as near, AsyncFile(sock) as far:
            yield near.write(b"line\nrest", full=True)
            assert (yield far.readline()) == b"line\n"
            assert (yield far.read(9)) == b"rest"
            with pytest.raises(TimeoutError):
                yield far.read(9, timeout=0.01)
            yield far.write(b"answer")
            assert (yield near.read(6, full=True)) == b"answer"
            with pytest.raises(OSError) as caught:
                yield near.seek(0)
            assert caught.value.errno == errno.ESPIPE
            near.close()
            assert here.fileno() == -1
            assert (yield far.read()) == b""
        assert sock.fileno() == -1

    go(main)


@also_await
def test_the_number_of_a_socket_is_a_file():
    def main():
        here, there = tcp_pair()
        with AsyncFile(here.fileno()) as near, AsyncFile(there.fileno()) as far:
            data = bytes(300_000)
            writing = asyncoro.Coro(near.write, data, True)
            assert (yield far.read(len(data), full=True)) == data
            assert (yield writing.finish()) == len(data)
        # They stay open, and connected.
        with AsyncFile(here) as near, AsyncFile(there) as far:
            yield near.write(b"again")
            assert (yield far.read(9)) == b"again"

    go(main)


@also_await
def test_a_file_over_a_socket_with_tls_speaks_it(certificates):
    def main():
        server = asyncoro.create_server(
            ("127.0.0.1", 0), certfile=certificates.chain, keyfile=certificates.key
        )

        def serve():
            connection, _ = yield server.accept()
            with AsyncFile(connection) as file:
                line = yield file.readline()
                yield file.write(line.upper() * 10_000, full=True)

        serving = asyncoro.Coro(serve)
        sock = yield asyncoro.create_connection(
            server.getsockname(), cafile=certificates.chain, server_name="localhost"
        )
        with AsyncFile(sock) as file:
            yield file.write(b"line\n")
            assert (yield file.read()) == b"LINE\n" * 10_000
        yield serving.finish()
        server.close()

    go(main)


@also_await
def test_a_file_over_a_socket_has_what_the_socket_has_received():
    def main():
        sock, peer = async_pair()
        peer.sendall(b"\0\0\0\5helloline\n")
        message = yield sock.recv_msg()
        assert message == b"hello"
        with AsyncFile(sock) as file:
            assert (yield file.readline()) == b"line\n"
            peer.close()
            assert (yield file.read()) == b""

    go(main)


@also_await
def test_a_socket_closed_under_a_file_ends_its_verbs():
    def main():
        sock, peer = async_pair()
        file = AsyncFile(sock)

        def read():
            with pytest.raises(OSError) as caught:
                yield file.read(9)
            return caught.value.errno

        reading = asyncoro.Coro(read)
        yield asyncoro.sleep(0)
        sock.close()
        assert (yield reading.finish()) == errno.EBADF
        with pytest.raises(OSError):
            yield file.read(9)
        file.close()
        peer.close()

    go(main)


@also_await
def test_buffers_of_any_kind_are_written():
    def main():
        reader, writer = pipe()
        with reader, writer:
            for data in (b"one", bytearray(b"two"), memoryview(b"three")[1:], b""):
                assert (yield writer.write(data)) == len(data)
            assert (yield reader.read(99)) == b"onetwohree"
            with pytest.raises(TypeError):
                yield writer.write("text")
            reader.close()
            with pytest.raises(BrokenPipeError):
                yield writer.write(b"x")

    go(main)


# ---- where it works


def test_files_work_in_tasks_of_asyncio(path):
    async def main():
        reader, writer = pipe()
        reading = asyncio.ensure_future(reader.readline())
        await asyncio.sleep(0)
        await writer.write(b"line\n")
        assert await reading == b"line\n"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(9), 0.01)
        with pytest.raises(TimeoutError):
            await reader.read(9, timeout=0.01)
        waiting = asyncio.ensure_future(reader.read(9))
        await asyncio.sleep(0.01)
        reader.close()
        with pytest.raises(OSError):
            await waiting
        writer.close()
        async with await AsyncFile.open(path) as file:
            lines = [line async for line in file]
        return lines

    for factory in (asyncio.new_event_loop, asyncoro.new_event_loop):
        loop = factory()
        try:
            lines = loop.run_until_complete(asyncio.wait_for(main(), WAIT))
        finally:
            loop.close()
        assert lines == [b"one\n", b"two\n", b"\n", b"last"]


def test_a_file_belongs_to_one_scheduler_at_a_time():
    reader, writer = pipe()

    def wait():
        return (yield reader.read(9))

    waiting = asyncoro.Coro(wait)
    let_run()

    async def elsewhere():
        with pytest.raises(RuntimeError, match="belongs to the coroutines of another"):
            await reader.read(9)

    asyncio.run(elsewhere())

    def end():
        yield writer.write(b"end")

    go(end)
    assert done(waiting) == b"end"
    reader.close()
    writer.close()


def test_where_no_coroutine_runs_the_error_says_so():
    reader, writer = pipe()
    with reader, writer:
        call = reader.read(9)
        with pytest.raises(RuntimeError, match="for coroutines"):
            call.__await__().send(None)


def test_a_file_can_be_referred_to_weakly_and_derived_from():
    class Log(AsyncFile):
        def __new__(cls, fd, name):
            return super().__new__(cls, fd, closefd=True)

        def __init__(self, fd, name):
            self.name = name

        @asyncoro.asyncfile.types.coroutine
        def line(self, text):
            return (yield from self.write(text.encode() + b"\n", full=True))

    def main():
        reader, writer = os.pipe()
        with Log(writer, "log") as log, AsyncFile(reader, closefd=True) as file:
            assert log.name == "log"
            yield log.line("text")
            assert (yield file.readline()) == b"text\n"

    go(main)
