"""AsyncFile: given up, closed and shared at any point; whose turn it is; what is left."""

import contextlib
import errno
import gc
import os
import random
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

import pytest

import asyncoro
from asyncoro.asyncfile import AsyncFile
from files import open_descriptors, path, pipe  # noqa: F401
from harness import WAIT, also_await, done, go, let_run, parallel, run_program

#: How often the races are run.
TIMES = 200


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
