"""AsyncPipe: processes and chains of them, their input and output, their end, given up anywhere."""

import asyncio
import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import asyncoro
from asyncoro.asyncfile import AsyncFile, AsyncPipe
from harness import WAIT, also_await, done, go, let_run, parallel, run_program, tcp_pair

PIPE = subprocess.PIPE
#: How often the races are run.
TIMES = 200

#: Gives back its input, then says how long it was on standard error.
ECHO = """
import sys
data = sys.stdin.buffer.read()
sys.stdout.buffer.write(data)
sys.stdout.flush()
sys.stderr.write("%d bytes" % len(data))
"""


def started(*command, stdin=PIPE, stdout=PIPE, **options):
    return subprocess.Popen(list(command), stdin=stdin, stdout=stdout, **options)


def echo(**options):
    return started(sys.executable, "-c", ECHO, stderr=PIPE, **options)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def is_zombie(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return False


# ---- communicate


@also_await
def test_communicate_moves_more_than_pipes_hold_both_ways():
    data = os.urandom(1 << 20)

    def main():
        pipe = AsyncPipe(echo())
        out, err = yield pipe.communicate(data)
        assert out == data and err == b"1048576 bytes"
        assert pipe.returncode == pipe.poll() == 0
        for file in (pipe.stdin, pipe.stdout, pipe.stderr):
            assert file.closed
        assert pipe.last.stdin.closed and pipe.last.stdout.closed

    go(main)


@pytest.mark.parametrize("kind", [
    "bytes", "str", "bytearray", "binary file", "text file", "BytesIO", "StringIO", "AsyncFile",
    "AsyncSocket", "socket", "pipe", "None", "empty",
])
def test_the_input_of_communicate(kind, tmp_path):
    path = tmp_path / "input"
    path.write_text("line of text\n" * 10_000)
    text = path.read_text()

    def main():
        wanted = text.encode()
        if kind in ("AsyncSocket", "socket"):
            here, there = tcp_pair()
            here.sendall(b"through a socket")
            here.close()
            given = asyncoro.AsyncSocket(there) if kind == "AsyncSocket" else there
            wanted = b"through a socket"
        elif kind == "pipe":
            reader, writer = os.pipe()
            os.write(writer, b"through a pipe")
            os.close(writer)
            given, wanted = open(reader, "rb"), b"through a pipe"
        elif kind in ("None", "empty"):
            given, wanted = (None if kind == "None" else b""), b""
        else:
            given = {
                "bytes": lambda: text.encode(), "str": lambda: text,
                "bytearray": lambda: bytearray(text.encode()),
                "binary file": lambda: open(path, "rb"), "text file": lambda: open(path),
                "BytesIO": lambda: io.BytesIO(text.encode()), "StringIO": lambda: io.StringIO(text),
                "AsyncFile": lambda: AsyncFile(open(path)),
            }[kind]()
        pipe = AsyncPipe(started("cat"))
        out, err = yield pipe.communicate(given)
        assert out == wanted and err is None
        if hasattr(given, "closed"):
            assert given.closed
        elif hasattr(given, "fileno"):
            assert given.fileno() == -1

    go(main)


@also_await
def test_input_that_a_process_does_not_want_is_no_error():
    def main():
        pipe = AsyncPipe(started("head", "-c", "3"))
        out, err = yield pipe.communicate(b"abcdef" * 100_000)
        assert out == b"abc" and pipe.returncode == 0

    go(main)


@also_await
def test_what_is_not_piped_is_left_out():
    def main():
        pipe = AsyncPipe(started("true", stdin=None, stdout=subprocess.DEVNULL))
        assert (yield pipe.communicate()) == (None, None)
        assert pipe.returncode == 0
        for verb in (pipe.read, pipe.readline, pipe.read_stderr, pipe.readline_stderr):
            with pytest.raises(ValueError, match="is not a pipe"):
                yield verb()
        with pytest.raises(ValueError, match="is not a pipe"):
            yield pipe.write(b"x")
        with pytest.raises(ValueError, match="is not a pipe"):
            yield pipe.communicate(b"x")

    go(main)


@also_await
def test_a_communicate_that_is_given_up_goes_on():
    # It reads all, waits for a byte more, and writes all.
    script = "data=$(head -c 500000); echo begun >&2; head -c 1 >/dev/null; echo -n \"$data\"; cat"

    def main():
        reader, writer = os.pipe()
        data = b"x" * 500_000 + b"!" + b"y" * 300_000
        pipe = AsyncPipe(started("sh", "-c", script, stderr=PIPE))
        gives_up = 0
        while True:
            try:
                given = data if not gives_up else None
                out, err = yield asyncoro.timeout(0.01, pipe.communicate(given))
                break
            except TimeoutError:
                gives_up += 1
                assert gives_up < 1000
                if gives_up == 1:
                    # On a fast machine it may have written all, and closed it.
                    with pytest.raises(ValueError, match="given up|is closed"):
                        yield pipe.communicate(b"more")
        assert err == b"begun\n"
        assert out == b"x" * 500_000 + b"y" * 300_000
        os.close(reader)
        os.close(writer)

    go(main)


@also_await
def test_a_coroutine_that_is_ended_in_communicate_leaves_the_process_alone():
    def main():
        process = started("cat")
        pipe = AsyncPipe(process)

        def talk():
            yield pipe.communicate(io.BytesIO(b"abc"))

        # Held back: it does not end its input.
        with open(os.dup(process.stdin.fileno()), "wb", buffering=0) as held:
            talking = asyncoro.Coro(talk)
            yield asyncoro.sleep(0.02)
            talking.terminate()
            yield talking.finish()
            assert process.poll() is None
            held.write(b"def")
        out, _ = yield pipe.communicate()
        assert out == b"abcdef" and process.returncode == 0

    go(main)


# ---- the streams one by one


@also_await
def test_the_streams_of_a_process():
    script = "read line; echo out $line; echo err $line >&2; cat; echo last >&2; exit 3"

    def main():
        with AsyncPipe(started("sh", "-c", script, stderr=PIPE)) as pipe:
            assert (yield pipe.write(b"one\n")) == 4
            assert (yield pipe.readline()) == b"out one\n"
            assert (yield pipe.readline_stderr()) == b"err one\n"
            with pytest.raises(TimeoutError):
                yield pipe.readline(timeout=0.01)
            with pytest.raises(TimeoutError):
                yield pipe.wait(0.01)
            yield pipe.write(b"two\nthree", full=True, timeout=WAIT)
            assert (yield pipe.readline(0, 100, WAIT)) == b"two\n"
            pipe.stdin.close()
            assert (yield pipe.read()) == b"three"
            assert (yield pipe.read_stderr()) == b"last\n"
            assert (yield pipe.wait()) == 3
            assert pipe.returncode == pipe.last.returncode == 3
        assert "AsyncPipe" in repr(pipe)

    go(main)


@also_await
def test_a_chain_of_processes():
    def main():
        first = started("sort")
        last = started("uniq", "-c", stdin=first.stdout)
        first.stdout.close()
        with AsyncPipe(first, last) as pipe:
            yield pipe.write(b"b\na\nb\n", full=True)
            pipe.stdin.close()
            out = yield pipe.read()
            assert out.split() == [b"1", b"a", b"2", b"b"]
            assert pipe.pid == last.pid
            assert (yield pipe.wait()) == 0
        # Its status was taken, too.
        assert first.returncode == 0 or first.wait() == 0

    go(main)


def test_async_for_goes_through_the_lines_of_a_process():
    async def main():
        async with AsyncPipe(started("seq", "3", stdin=None)) as pipe:
            lines = [line async for line in pipe]
            assert await pipe.wait() == 0
        return lines

    assert go(main) == [b"1\n", b"2\n", b"3\n"]


def test_what_is_no_process_is_refused():
    for wrong in (None, "ls", 5):
        with pytest.raises(TypeError, match="Popen"):
            AsyncPipe(wrong)
    process = started("true")
    with pytest.raises(TypeError, match="Popen"):
        AsyncPipe(process, "ls")
    process.communicate()
    # Its streams are closed.
    with pytest.raises(ValueError):
        AsyncPipe(process)


# ---- the end of a process


@also_await
def test_waiting_for_the_end_takes_the_status_as_popen_does():
    def main():
        for code in (0, 7):
            pipe = AsyncPipe(started("sh", "-c", "exit %d" % code, stdin=None, stdout=None))
            assert (yield pipe.wait()) == code
            assert (yield pipe.wait()) == pipe.last.returncode == pipe.last.wait() == code
        pipe = AsyncPipe(started("sleep", "100", stdin=None, stdout=None))
        assert pipe.poll() is None
        pipe.send_signal(signal.SIGTERM)
        assert (yield pipe.wait()) == -signal.SIGTERM

    go(main)


def test_several_wait_for_the_end_of_a_process_and_nobody_computes_meanwhile():
    def main():
        pipe = AsyncPipe(started("cat", stdout=subprocess.DEVNULL))
        waiting = [asyncoro.Coro(pipe.wait) for _ in range(5)]
        before = time.thread_time()
        yield asyncoro.sleep(0.3)
        assert time.thread_time() - before < 0.05
        waiting[1].terminate()
        pipe.stdin.close()
        codes = []
        for each in waiting:
            codes.append((yield each.finish()))
        return codes

    assert go(main) == [0, None, 0, 0, 0]


def test_a_status_that_a_thread_takes_is_the_same():
    for _ in range(TIMES // 4):
        process = started("true", stdin=None, stdout=None)
        pipe = AsyncPipe(process)

        def main():
            return (yield pipe.wait())

        waiting = asyncoro.Coro(main)
        thread = parallel(process.wait)
        assert done(waiting) == thread.result() == 0
        assert not is_zombie(process.pid)


def test_a_status_that_a_coroutine_took_first_is_the_same():
    process = started("true", stdin=None, stdout=None)
    assert process.wait() == 0

    def main():
        return (yield AsyncPipe(process).wait())

    assert go(main) == 0


def test_other_children_are_left_alone():
    def main():
        other = started("true", stdin=None, stdout=None)
        pipe = AsyncPipe(started("true", stdin=None, stdout=None))
        yield pipe.wait()
        deadline = time.monotonic() + WAIT
        while not is_zombie(other.pid):
            assert time.monotonic() < deadline
            yield asyncoro.sleep(0.001)
        assert other.wait() == 0

    go(main)


def test_where_the_system_does_not_tell_of_ends_they_are_looked_for(monkeypatch):
    def refuse(pid, flags=0):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)

    def main():
        pipe = AsyncPipe(started("cat", stdout=subprocess.DEVNULL))
        with pytest.raises(TimeoutError):
            yield pipe.wait(timeout=0.05)
        pipe.stdin.close()
        return (yield pipe.wait())

    assert go(main) == 0


# ---- what is left


def test_no_descriptor_and_no_process_is_left():
    def use():
        for number in range(10):
            pipe = AsyncPipe(echo())
            if number % 2:
                yield pipe.communicate(b"abc")
            else:
                yield pipe.write(b"abc")
                pipe.stdin.close()
                yield pipe.read()
                yield pipe.wait()
                if number % 4:
                    pipe.close()

    go(use)
    gc.collect()
    let_run()
    before = open_descriptors()
    go(use)
    gc.collect()
    let_run()
    assert open_descriptors() <= before


def test_closing_a_pipe_ends_those_who_wait():
    def main():
        pipe = AsyncPipe(started("cat"))

        def read():
            with pytest.raises(OSError):
                yield pipe.read()
            return "told"

        reading = asyncoro.Coro(read)
        yield asyncoro.sleep(0.01)
        pipe.close()
        assert (yield reading.finish()) == "told"
        # Its input has ended with it.
        assert (yield pipe.wait()) == 0

    go(main)


def test_pipes_work_in_tasks_of_asyncio():
    async def main():
        pipe = AsyncPipe(echo())
        out, err = await pipe.communicate(b"abc")
        assert (out, err) == (b"abc", b"3 bytes")
        pipe = AsyncPipe(started("cat"))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pipe.wait(), 0.01)
        with pytest.raises(TimeoutError):
            await pipe.wait(0.01)
        await pipe.write(b"line\n")
        assert await pipe.readline() == b"line\n"
        pipe.terminate()
        assert await pipe.wait() == -signal.SIGTERM
        pipe.close()

    for factory in (asyncio.new_event_loop, asyncoro.new_event_loop):
        loop = factory()
        try:
            loop.run_until_complete(asyncio.wait_for(main(), WAIT))
        finally:
            loop.close()


def test_many_processes_at_once():
    def use(number):
        pipe = AsyncPipe(started("cat"))
        out, _ = yield pipe.communicate(b"%d" % number)
        assert pipe.returncode == 0
        return out

    def main():
        coros = [asyncoro.Coro(use, number) for number in range(TIMES)]
        outs = []
        for coro in coros:
            outs.append((yield coro.finish()))
        return outs

    assert go(main) == [b"%d" % number for number in range(TIMES)]


def test_a_program_ends_while_its_processes_run():
    source = """
        import subprocess
        from asyncoro.asyncfile import AsyncPipe

        def main(coro=None):
            coro.set_daemon()
            pipe = AsyncPipe(subprocess.Popen(["cat"], stdin=-1, stdout=-1))
            print("begun")
            try:
                yield pipe.communicate(open("/dev/zero", "rb"))
            finally:
                pipe.kill()

        asyncoro.Coro(main)
        time.sleep(0.2)
    """
    program = run_program(source)
    assert program.process.returncode == 0
    assert program.stdout == "begun\n"


def test_threads_that_each_run_processes_by_coroutines():
    def use():
        def main():
            pipe = AsyncPipe(started("cat"))
            return (yield pipe.communicate(threading.current_thread().name))

        for _ in range(5):
            out, _ = done(asyncoro.Coro(main))
            assert out

    for thread in [parallel(use) for _ in range(4)]:
        thread.result()
