"""AsyncFile: over anything that has a descriptor, in both styles, given up and closed at any point.
"""

import asyncio
import contextlib
import errno
import gc
import io
import os
import pty
import random
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import tty

import pytest

import asyncoro
from asyncoro.asyncfile import AsyncFile
from harness import (
    WAIT, also_await, async_pair, done, go, let_run, parallel, run_program, tcp_pair,
)

#: How often the races are run.
TIMES = 200


def pipe():
    """Returns the two ends of a pipe as AsyncFiles, which close them."""
    reader, writer = os.pipe()
    return AsyncFile(reader, closefd=True), AsyncFile(writer, closefd=True)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def path(tmp_path):
    """The path of a regular file of four lines."""
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n\nlast")
    return path


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


# ---- whose turn it is


@also_await
def test_verbs_of_one_direction_take_turns():
    def main():
        reader, writer = pipe()
        with reader, writer:
            got = []

            def read(number):
                got.append((number, (yield reader.read(2, full=True))))

            readers = []
            for number in range(4):
                readers.append(asyncoro.Coro(read, number))
            yield asyncoro.sleep(0)
            readers[1].terminate()
            yield asyncoro.sleep(0)
            for byte in b"aabbcc":
                yield writer.write(bytes([byte]))
                yield asyncoro.sleep(0)
            for each in readers:
                yield each.finish()
            assert got == [(0, b"aa"), (2, b"bb"), (3, b"cc")]

    go(main)


@also_await
def test_full_writes_of_several_coroutines_do_not_mix():
    size = 200_000

    def main():
        reader, writer = pipe()
        with reader, writer:
            def write(letter):
                yield writer.write(letter * size, full=True)

            writers = []
            for letter in (b"a", b"b", b"c"):
                writers.append(asyncoro.Coro(write, letter))
            got = yield reader.read(3 * size, full=True)
            for each in writers:
                yield each.finish()
            assert got == b"a" * size + b"b" * size + b"c" * size

    go(main)


@also_await
def test_a_reader_whose_time_is_over_in_line_has_taken_nothing():
    def main():
        reader, writer = pipe()
        with reader, writer:
            def read():
                return (yield reader.read(4, full=True))

            first = asyncoro.Coro(read)
            yield asyncoro.sleep(0)
            yield writer.write(b"ab")
            with pytest.raises(TimeoutError):
                yield reader.read(1, timeout=0.01)
            yield writer.write(b"cd")
            assert (yield first.finish()) == b"abcd"

    go(main)


# ---- given up


@also_await
def test_a_read_that_is_given_up_loses_nothing():
    def main():
        reader, writer = pipe()
        with reader, writer:
            for verb in (
                lambda: reader.read(9, full=True), lambda: reader.readline(), lambda: reader.read(),
            ):
                yield writer.write(b"part")
                with pytest.raises(TimeoutError):
                    yield asyncoro.timeout(0.01, verb())
            assert (yield reader.read(99)) == b"partpartpart"

    go(main)


@pytest.mark.parametrize("how", ["terminate", "throw"])
def test_readers_that_are_ended_at_any_point_lose_nothing(how):
    chance = random.Random(3)
    data = chance.randbytes(20_000)
    got = []

    def read(reader, coro=None):
        while True:
            verb = chance.choice([
                lambda: reader.read(chance.randrange(1, 50)),
                lambda: reader.read(chance.randrange(1, 50), full=True),
                lambda: reader.readline(chance.randrange(1, 50)),
            ])
            piece = yield verb()
            got.append(piece)
            if not piece:
                return

    def write(writer):
        at = 0
        while at < len(data):
            count = chance.randrange(1, 60)
            yield writer.write(data[at:at + count], full=True)
            at += count
            if not chance.randrange(4):
                yield asyncoro.sleep(0)
        writer.close()

    def main():
        reader, writer = pipe()
        with reader:
            writing = asyncoro.Coro(write, writer)
            asyncoro.logger.setLevel(asyncoro.Logger.CRITICAL)
            try:
                while not got or got[-1]:
                    reading = asyncoro.Coro(read, reader)
                    for _ in range(chance.randrange(6)):
                        yield asyncoro.sleep(0)
                    if how == "terminate":
                        reading.terminate()
                    else:
                        reading.throw(KeyError("given up"))
                    yield reading.finish()
            finally:
                asyncoro.logger.setLevel(asyncoro.Logger.INFO)
            yield writing.finish()

    go(main)
    assert b"".join(got) == data


@also_await
def test_a_regular_file_that_is_given_up_at_any_point_has_its_position_where_it_was_or_after(path):
    chance = random.Random(4)
    data = bytes(range(256)) * 4000
    path.write_bytes(data)

    def main():
        with (yield AsyncFile.open(path)) as file:
            at = 0
            for _ in range(TIMES):
                count = chance.randrange(1, 3000)
                try:
                    piece = yield asyncoro.timeout(
                        chance.choice([0, 0.00005, 1]), file.read(count)
                    )
                except TimeoutError:
                    assert (yield file.tell()) == at
                else:
                    assert piece == data[at:at + count]
                    at += count

    go(main)


@also_await
def test_a_write_to_a_regular_file_that_is_given_up_leaves_the_position_behind_what_it_wrote(path):
    chance = random.Random(5)
    block = b"x" * 300_000

    def main():
        with (yield AsyncFile.open(path, "w+")) as file:
            for _ in range(50):
                before = yield file.tell()
                try:
                    yield asyncoro.timeout(chance.choice([0, 0.0001, 1]), file.write(block))
                except TimeoutError:
                    pass
                position = yield file.tell()
                assert position in (before, before + len(block))
                assert os.stat(path).st_size == position

    go(main)


def test_of_several_calls_the_first_that_is_done_counts():
    def main():
        reader, writer = pipe()
        other, more = pipe()
        with reader, writer, other, more:
            calls = lambda: (reader.read(5, full=True), other.readline(), asyncoro.sleep(0.01))
            assert (yield asyncoro.first(*calls()))[0] == 2
            yield writer.write(b"abc")
            yield more.write(b"line\nrest")
            assert (yield asyncoro.first(*calls())) == (1, b"line\n")
            yield writer.write(b"de")
            assert (yield asyncoro.first(*calls())) == (0, b"abcde")
            assert (yield asyncoro.gather(other.read(4), writer.write(b"x"))) == [b"rest", 1]

    go(main)


def test_opening_that_is_given_up_leaves_nothing_open(path):
    def main():
        for number in range(TIMES):
            opening = asyncoro.Coro(AsyncFile.open, path)
            for _ in range(number % 4):
                yield asyncoro.sleep(0)
            opening.terminate()
            yield opening.finish()
            opening = None

    go(main)
    before = open_descriptors()
    go(main)
    deadline = time.monotonic() + WAIT
    while open_descriptors() > before and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert open_descriptors() <= before


def test_closing_a_file_ends_those_who_wait():
    def main():
        reader, writer = pipe()
        full, stuck = pipe()
        with writer, full:
            yield stuck.write(bytes(1 << 20), full=True, timeout=0.01)
            calls = [
                lambda: reader.read(9), lambda: reader.readline(), lambda: reader.read(),
                lambda: reader._until_readable(),
                lambda: stuck.write(bytes(1 << 20), full=True),
                lambda: stuck.write(b"x" * 5000),
            ]

            def wait(call):
                with pytest.raises(OSError) as caught:
                    yield call()
                return caught.value.errno

            waiting = [asyncoro.Coro(wait, call) for call in calls]
            for _ in range(2):
                yield asyncoro.sleep(0)
            reader.close()
            stuck.close()
            for each in waiting:
                assert (yield each.finish()) == errno.EBADF
            for call in calls:
                with pytest.raises(OSError) as caught:
                    yield call()
                assert caught.value.errno == errno.EBADF
            reader.close()
            assert "closed" in repr(reader)

    go(main)


def test_a_file_is_closed_in_another_thread():
    before = open_descriptors()
    for _ in range(TIMES):
        reader, writer = pipe()

        def read():
            with pytest.raises(OSError) as caught:
                yield reader.read(9)
            return caught.value.errno

        reading = asyncoro.Coro(read)
        closing = parallel(reader.close)
        assert done(reading) == errno.EBADF
        closing.result()
        writer.close()
    let_run()
    assert open_descriptors() <= before + 3


@also_await
def test_a_call_that_was_made_before_the_close_fails():
    def main():
        reader, writer = pipe()
        call = reader.read(5)
        reader.close()
        writer.close()
        with pytest.raises(OSError) as caught:
            yield call
        assert caught.value.errno == errno.EBADF

    go(main)


# ---- descriptors, objects, processes


def test_no_descriptor_is_left(path):
    here, there = socket.socketpair()
    here.close(), there.close()

    def main():
        for number in range(50):
            reader, writer = pipe()
            yield writer.write(b"line\n")
            yield reader.readline()
            file = yield AsyncFile.open(path)
            yield file.read()
            near, far = socket.socketpair()
            near, far = AsyncFile(near), AsyncFile(asyncoro.AsyncSocket(far))
            yield near.write(b"x")
            yield far.read(1)
            if number % 2:
                for each in (reader, writer, file, near, far):
                    each.close()
        del reader, writer, file, near, far, each

    go(main)
    gc.collect()
    let_run()
    before = open_descriptors()
    go(main)
    gc.collect()
    let_run()
    assert open_descriptors() <= before


def test_a_file_that_is_dropped_while_a_coroutine_waits_is_kept_alive_by_it():
    def main():
        reader, writer = pipe()
        reading = asyncoro.Coro(reader.read, 5)
        del reader
        yield asyncoro.sleep(0)
        gc.collect()
        yield writer.write(b"still")
        assert (yield reading.finish()) == b"still"
        writer.close()

    go(main)


def test_a_file_is_dropped_in_another_thread():
    before = open_descriptors()
    for _ in range(50):
        reader, writer = pipe()

        def use():
            yield writer.write(b"x")
            yield reader.read(1)

        go(use)
        del use, reader, writer
    gc.collect()
    let_run()
    assert open_descriptors() <= before + 3


def test_a_file_lives_longer_than_its_scheduler():
    source = """
        from asyncoro.asyncfile import AsyncFile
        reader, writer = (AsyncFile(fd, closefd=True) for fd in os.pipe())

        async def main(number):
            await writer.write(b"%d line\\n" % number)
            try:
                await reader.read(99, full=True, timeout=0.01)
            finally:
                return await writer.write(b"more\\n")

        for number in range(3):
            asyncoro.run(main(number))

        async def left():
            return await reader.read(99, timeout=0.01)

        print(asyncoro.run(left()))
        reader.close()
        writer.close()
    """
    program = run_program(source)
    assert program.process.returncode == 0
    assert program.stdout == "b'more\\n'\n"


def test_the_child_of_a_fork_uses_the_files_of_its_parent():
    source = """
        from asyncoro.asyncfile import AsyncFile
        reader, writer = (AsyncFile(fd, closefd=True) for fd in os.pipe())

        def wait():
            return (yield reader.read(99))

        def say(what):
            yield writer.write(what)

        waiting = asyncoro.Coro(wait)
        asyncoro.Coro(say, b"").result()
        child = os.fork()
        if child == 0:
            asyncoro.Coro(say, b"from the child").result()
            reader.close()
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(waiting.result())
    """
    program = run_program(source)
    assert program.process.returncode == 0
    assert program.stdout == "b'from the child'\n"


def test_files_at_the_end_of_the_program():
    source = """
        from asyncoro.asyncfile import AsyncFile
        reader, writer = (AsyncFile(fd, closefd=True) for fd in os.pipe())
        kept = AsyncFile(sys.stdin)

        def daemon(coro=None):
            coro.set_daemon()
            try:
                yield reader.read(99)
            finally:
                print("ended")

        def last():
            yield asyncoro.sleep(0.05)
            yield writer.write(b"")
            print("last")

        asyncoro.Coro(daemon)
        asyncoro.Coro(last)
    """
    program = run_program(source)
    assert program.process.returncode == 0, program.stderr
    assert sorted(program.stdout.split()) == ["ended", "last"]
    assert program.stderr == ""


def test_standard_input_is_read_line_by_line():
    source = """
        from asyncoro.asyncfile import AsyncFile

        async def main():
            total = 0
            async for line in AsyncFile(sys.stdin):
                total += int(line)
            return total

        print(asyncoro.run(main()))
    """
    program = "import asyncoro, sys\n" + textwrap.dedent(source)
    command = [sys.executable, "-c", program]
    given = "".join("%d\n" % number for number in range(1000))
    for stdin in ("pipe", "file"):
        with contextlib.ExitStack() as stack:
            if stdin == "file":
                file = stack.enter_context(tempfile.TemporaryFile("w+"))
                file.write(given)
                file.seek(0)
                options = {"stdin": file}
            else:
                options = {"input": given}
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=WAIT, **options
            )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == "499500\n"


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


# ---- races


def test_a_close_in_another_thread_while_bytes_come():
    for _ in range(TIMES):
        reader, writer = pipe()

        def read():
            got = b""
            try:
                while True:
                    got += yield reader.read(3)
            except OSError as error:
                assert error.errno == errno.EBADF
            return got

        def write():
            try:
                for number in range(5):
                    yield writer.write(b"abc")
            except BrokenPipeError:
                pass

        reading, writing = asyncoro.Coro(read), asyncoro.Coro(write)
        closing = parallel(reader.close)
        got = done(reading)
        assert b"abcabcabcabcabc".startswith(got)
        closing.result()
        done(writing)
        writer.close()


def test_threads_that_open_and_close_files_of_coroutines():
    stop = threading.Event()

    def use():
        reader, writer = pipe()

        def both():
            yield writer.write(b"x" * 100)
            return (yield reader.read(100, full=True))

        assert done(asyncoro.Coro(both)) == b"x" * 100
        reader.close()
        writer.close()

    def again():
        for _ in range(50):
            if stop.is_set():
                break
            use()

    threads = [parallel(again) for _ in range(4)]
    try:
        for thread in threads:
            thread.result()
    finally:
        stop.set()


