"""Tests run, sleep, timeout, gather, result, future, and asyncio in another thread."""

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
import time

import pytest

import asyncoro
from asyncoro import AsyncSocket, Coro
from harness import also_await, async_pair, closed_port, go, parallel, run_program

# ---- run


@also_await
def test_run_gives_what_main_returns():
    def main(n):
        yield asyncoro.sleep(0.01)
        return n + 1

    assert asyncoro.run(main(1)) == 2
    assert asyncoro.run(main(2)) == 3


@also_await
def test_run_raises_what_main_raises():
    def main():
        yield asyncoro.sleep(0.01)
        raise KeyError("from main")

    with pytest.raises(KeyError) as error:
        asyncoro.run(main())
    assert error.value.args == ("from main",)
    assert any(entry.name == "main" for entry in error.traceback)


@also_await
def test_run_inside_a_coroutine_is_refused():
    def inner():
        yield asyncoro.sleep(0)

    def main():
        call = inner()
        with pytest.raises(RuntimeError):
            asyncoro.run(call)
        with contextlib.suppress(Exception):
            call.close()
        yield asyncoro.sleep(0)
        return "goes on"

    assert asyncoro.run(main()) == "goes on"


@pytest.mark.parametrize("wrong", [5, None, "text"])
def test_run_takes_a_generator_or_a_coroutine(wrong):
    with pytest.raises(TypeError):
        asyncoro.run(wrong)


@also_await
def test_run_works_in_several_threads_at_once():
    def main(n):
        yield asyncoro.sleep(0.1)
        return n

    threads = [parallel(lambda n=n: asyncoro.run(main(n))) for n in range(4)]
    assert [thread.result() for thread in threads] == [0, 1, 2, 3]


# ---- sleep, timeout, gather


@also_await
def test_sleep_sleeps():
    def main(coro=None):
        started = time.monotonic()
        value = yield asyncoro.sleep(0.2)
        yield asyncoro.sleep(0)
        return value, time.monotonic() - started

    value, seconds = go(main)
    assert value is None and 0.19 < seconds < 1


@also_await
def test_timeout_bounds_a_block():
    sock, peer = async_pair()
    ended = []

    def slow():
        try:
            yield asyncoro.sleep(30)
        finally:
            ended.append("finally")

    def main(coro=None):
        with asyncoro.timeout(5):
            yield asyncoro.sleep(0.01)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            with asyncoro.timeout(0.1):
                yield asyncoro.sleep(0.05)
                yield slow()
        seconds = time.monotonic() - started
        with pytest.raises(TimeoutError):
            with asyncoro.timeout(0.1):
                yield sock.recv(1)
        peer.sendall(b"kept")
        with asyncoro.timeout(None):
            data = yield sock.recv(10)
        return seconds, data, list(ended)

    seconds, data, ended = go(main)
    assert 0.05 < seconds < 1
    assert (data, ended) == (b"kept", ["finally"])


@also_await
def test_timeouts_nest_and_the_right_one_catches():
    def main(coro=None):
        with pytest.raises(TimeoutError):
            with asyncoro.timeout(0.1):
                with asyncoro.timeout(5):
                    yield asyncoro.sleep(30)
                assert False, "the outer one was caught by the inner one"
        with asyncoro.timeout(5):
            with pytest.raises(TimeoutError):
                with asyncoro.timeout(0.05):
                    yield asyncoro.sleep(30)
            return (yield coro.sleep(0.01, "goes on"))

    assert go(main) == "goes on"


@also_await
def test_a_timeout_that_is_over_disturbs_nobody():
    def main(coro=None):
        with asyncoro.timeout(0.05):
            time.sleep(0.1)  # no wait in the block
        yield asyncoro.sleep(0.1)
        with pytest.raises(KeyError):
            with asyncoro.timeout(5):
                yield asyncoro.sleep(0.01)
                raise KeyError("passed on")
        return (yield coro.sleep(0.01, "goes on"))

    assert go(main) == "goes on"


def test_timeout_as_async_with_and_outside_a_coroutine():
    async def main(coro=None):
        with pytest.raises(TimeoutError):
            async with asyncoro.timeout(0.05):
                await asyncoro.sleep(30)
        return "goes on"

    assert go(main) == "goes on"
    with pytest.raises(RuntimeError):
        with asyncoro.timeout(1):
            pass


@also_await
def test_gather_runs_all_at_once_and_keeps_their_order():
    def main(coro=None):
        started = time.monotonic()
        values = yield asyncoro.gather(part(0.3), part(0.1), part(0.2))
        return list(values), time.monotonic() - started

    def part(seconds):
        yield asyncoro.sleep(seconds)
        return seconds

    values, seconds = go(main)
    assert values == [0.3, 0.1, 0.2]
    assert seconds < 0.55


@also_await
def test_gather_takes_functions_coroutines_and_nothing():
    def function(coro=None):
        yield asyncoro.sleep(0.01)
        return "function"

    def main(coro=None):
        mixed = yield asyncoro.gather(function, function(), Coro(function))
        none = yield asyncoro.gather()
        return list(mixed), list(none)

    assert go(main) == (["function"] * 3, [])


@also_await
def test_gather_raises_what_one_raises_and_ends_the_others():
    ended = []

    def bad():
        yield asyncoro.sleep(0.05)
        raise KeyError("bad")

    def slow():
        try:
            yield asyncoro.sleep(30)
        finally:
            ended.append("finally")

    def main(coro=None):
        with pytest.raises(KeyError):
            yield asyncoro.gather(slow(), bad())
        yield asyncoro.sleep(0.1)
        return list(ended)

    assert go(main) == ["finally"]


# ---- sockets


@also_await
def test_create_server_and_create_connection():
    def serve(server, coro=None):
        conn, _ = yield server.accept()
        yield conn.send_msg((yield conn.recv_msg()) * 2)
        conn.close()

    def main(coro=None):
        server = asyncoro.create_server(("127.0.0.1", 0))
        serving = Coro(serve, server)
        sock = yield asyncoro.create_connection(server.getsockname())
        assert isinstance(server, AsyncSocket) and isinstance(sock, AsyncSocket)
        nodelay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        yield sock.send_msg(b"hi")
        reply = yield sock.recv_msg()
        yield serving.finish()
        sock.close()
        server.close()
        return reply, bool(nodelay)

    assert go(main) == (b"hihi", True)


@also_await
def test_create_connection_to_nobody():
    nobody = closed_port()

    def main(coro=None):
        with pytest.raises(ConnectionRefusedError) as refused:
            yield asyncoro.create_connection(nobody)
        return refused.value.errno

    assert go(main) == 111


# ---- result, future


@also_await
def test_result_gives_the_value_or_raises():
    def good(coro=None):
        yield asyncoro.sleep(0.1)
        return "good"

    def bad(coro=None):
        yield asyncoro.sleep(0.1)
        raise KeyError("bad")

    assert Coro(good).result() == "good"
    failing = Coro(bad)
    for _ in range(2):
        with pytest.raises(KeyError):
            failing.result()


@also_await
def test_result_times_out():
    def slow(coro=None):
        yield coro.receive()
        return "slow"

    coro = Coro(slow)
    with pytest.raises(TimeoutError):
        coro.result(0.1)
    coro.send(None)
    assert coro.result(5) == "slow"


def test_await_of_a_coroutine_raises_what_it_raised():
    async def bad(coro=None):
        await asyncoro.sleep(0.01)
        raise KeyError("bad")

    async def good(coro=None):
        await asyncoro.sleep(0.01)
        return "good"

    async def main(coro=None):
        with pytest.raises(KeyError):
            await Coro(bad)
        return await Coro(good)

    assert go(main) == "good"


@also_await
def test_future_is_one_of_concurrent_futures():
    def good(coro=None):
        yield coro.receive()
        return "good"

    def bad(coro=None):
        yield asyncoro.sleep(0.01)
        raise KeyError("bad")

    coro = Coro(good)
    future = coro.future()
    assert isinstance(future, concurrent.futures.Future)
    assert not future.done()
    coro.send(None)
    assert future.result(5) == "good"
    assert coro.future().result(5) == "good"
    with pytest.raises(KeyError):
        Coro(bad).future().result(5)


# ---- asyncio in another thread


@contextlib.contextmanager
def asyncio_thread():
    """Runs an event loop of asyncio in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@also_await
def test_asyncio_waits_for_a_coroutine():
    sock, peer = async_pair()

    def read(coro=None):
        return (yield sock.recv_msg())

    reader = Coro(read)

    def start():
        return asyncio.wrap_future(reader.future())

    async def of_asyncio():
        return await asyncio.wait_for(start(), 5)

    with asyncio_thread() as loop:
        future = asyncio.run_coroutine_threadsafe(of_asyncio(), loop)
        peer.sendall(b"\0\0\0\2hi")
        assert future.result(5) == b"hi"


@also_await
def test_a_coroutine_waits_for_asyncio():
    async def of_asyncio(value):
        await asyncio.sleep(0.05)
        if value is None:
            raise KeyError("from asyncio")
        return value

    with asyncio_thread() as loop:
        def submit(value):
            return asyncio.run_coroutine_threadsafe(of_asyncio(value), loop)

        def main(coro=None):
            value = yield asyncoro.wait_future(submit(5))
            with pytest.raises(KeyError):
                yield asyncoro.wait_future(submit(None))
            return value

        assert go(main) == 5


@also_await
def test_a_coroutine_waits_for_a_pool_of_threads_and_others_go_on():
    ticks = []

    def ticker(coro=None):
        coro.set_daemon()
        while True:
            ticks.append(time.monotonic())
            yield asyncoro.sleep(0.01)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        def main(coro=None):
            ticking = Coro(ticker)
            value = yield asyncoro.wait_future(pool.submit(lambda: time.sleep(0.3) or "slept"))
            finished = yield asyncoro.wait_future(pool.submit(int, "7"))
            ticking.terminate()
            return value, finished

        assert go(main) == ("slept", 7)
    assert len(ticks) > 10


@also_await
def test_terminate_while_waiting_for_a_future():
    future = concurrent.futures.Future()

    def main(coro=None):
        yield asyncoro.wait_future(future)

    coro = Coro(main)
    time.sleep(0.05)
    coro.terminate()
    assert coro.value(5) is None and not coro.is_alive()
    if not future.cancelled():
        future.set_result(None)


@pytest.mark.own("there the future can be awaited")
def test_awaiting_a_future_of_asyncio_names_the_way():
    with asyncio_thread() as loop:
        foreign = loop.create_future()

        async def main(coro=None):
            await foreign

        with pytest.raises(TypeError) as error:
            Coro(main).result(5)
        assert "wait_future" in str(error.value) and "future()" in str(error.value)

        async def sleeps(coro=None):
            await asyncio.sleep(0.1)

        with pytest.raises((TypeError, RuntimeError)):
            Coro(sleeps).result(5)


def test_async_for_and_async_with_work():
    class Ticks:
        async def __aenter__(self):
            await asyncoro.sleep(0)
            return self

        async def __aexit__(self, *exception):
            await asyncoro.sleep(0)

        async def each(self, count):
            for number in range(count):
                await asyncoro.sleep(0)
                yield number

    async def main(coro=None):
        async with Ticks() as ticks:
            return [number async for number in ticks.each(5)]

    assert go(main) == [0, 1, 2, 3, 4]


# ---- other names


def test_install_aliases_makes_both_names_this_package():
    program = run_program("""
    asyncoro.install_aliases()
    import pycos
    import asyncoro as other
    print(pycos.Task is asyncoro.Coro, other.AsyncSocket is asyncoro.AsyncSocket)
    print(pycos.Pycos is asyncoro.AsynCoro, pycos.logger is asyncoro.logger)
    try:
        import pycos.netpycos
    except ImportError as error:
        print("refused:", error)
    """)
    assert program.stdout.count("True") == 4, program.stderr
    assert "refused:" in program.stdout and "distributed" in program.stdout


@also_await
def test_a_sleep_of_none_has_no_end():
    def main(coro=None):
        place, _ = yield asyncoro.first(asyncoro.sleep(None), asyncoro.sleep(0.01))
        return place

    assert go(main) == 1
