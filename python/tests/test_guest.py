"""Verbs and coroutines of ours in the tasks of asyncio's event loops."""

import asyncio
import contextvars
import gc
import inspect
import random
import socket
import sys
import threading
import time

import pytest

import asyncoro
from guests import echo, run  # noqa: F401
from harness import WAIT, async_both, async_pair, closed_port, done


# ---- verbs in tasks


def test_verbs_work_in_tasks(run):
    async def serve(server):
        while True:
            connection, _ = await server.accept()
            asyncio.ensure_future(echo(connection))

    async def client(address):
        sock = await asyncoro.create_connection(address)
        for number in range(50):
            await sock.sendall(b"%5d" % number)
            assert await sock.recvall(5) == b"%5d" % number
        buffer = bytearray(5)
        await sock.send(b"again")
        assert await sock.recv_into(buffer) == 5 and buffer == b"again"
        sock.close()

    async def main():
        server = asyncoro.create_server(("127.0.0.1", 0))
        serving = asyncio.ensure_future(serve(server))
        await asyncio.gather(*[client(server.getsockname()) for _ in range(20)])
        serving.cancel()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncoro.create_connection(closed_port())

    run(main())


def test_messages_and_tls_in_tasks(run, certificates):
    async def serve(server):
        connection, _ = await server.accept()
        while (message := await connection.recv_msg()) is not None and message:
            await connection.send_msg(message[::-1])
        connection.close()

    async def main():
        tls = {"certfile": certificates.chain, "keyfile": certificates.key}
        for options, client in (({}, {}), (tls, {"cafile": certificates.chain})):
            server = asyncoro.create_server(("127.0.0.1", 0), **options)
            serving = asyncio.ensure_future(serve(server))
            address = ("localhost", server.getsockname()[1])
            sock = await asyncoro.create_connection(address, **client)
            for size in (1, 100, 100_000):
                await sock.send_msg(b"ab" * size)
                assert await sock.recv_msg() == b"ba" * size
            sock.close()
            await serving
            server.close()

    run(main())


def test_what_can_end_at_once_ends_without_the_loop(run):
    async def main():
        sock, peer = async_pair()
        peer.sendall(b"x" * 20)
        passed = []
        asyncio.get_running_loop().call_soon(passed.append, 1)
        for _ in range(20):
            assert await sock.recv(1) == b"x"
            await sock.sendall(b"y")
        assert not passed
        sock.close(), peer.close()

    run(main())


def test_a_task_whose_calls_all_end_at_once_lets_the_others_run(run):
    async def main():
        sock, peer = async_pair()
        peer.sendall(b"x" * 2000)
        passed = []

        async def others():
            while True:
                passed.append(1)
                await asyncio.sleep(0)

        running = asyncio.ensure_future(others())
        for _ in range(2000):
            await sock.recv(1)
        assert len(passed) >= 4
        running.cancel()
        sock.close(), peer.close()

    run(main())


def test_a_cancelled_wait_loses_nothing(run):
    # Each message has its number; the reader is cancelled at random moments, also when its socket
    # has become ready and the task has not run yet.
    chance = random.Random(5)
    count = 600

    async def writes(sock):
        for number in range(count):
            await sock.send_msg(number.to_bytes(4, "big") * chance.choice([1, 50, 5000]))
            if chance.random() < 0.3:
                await asyncio.sleep(0)

    async def main():
        one, other = async_both()
        writing = asyncio.ensure_future(writes(one))
        number = cancelled = 0
        while number < count:
            reading = asyncio.ensure_future(next_of(other))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if not reading.done() and chance.random() < 0.7:
                reading.cancel()
                cancelled += 1
            try:
                message = await reading
            except asyncio.CancelledError:
                continue
            assert message[:4] == number.to_bytes(4, "big") == message[-4:]
            number += 1
        await writing
        assert cancelled > 20
        one.close(), other.close()

    async def next_of(sock):
        return await sock.recv_msg()

    run(main())


def test_wait_for_gives_a_verb_up(run):
    async def main():
        sock, peer = async_pair()
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(reads(sock), 0.01)
        peer.sendall(b"data")
        assert await asyncio.wait_for(reads(sock), WAIT) == b"data"
        sock.close(), peer.close()

    async def reads(sock):
        return await sock.recv(10)

    run(main())


def test_a_socket_that_an_exception_drops_costs_no_other_task_its_wake(run):
    # The scheduler is entered for that, and ends what was woken, while the exception is raised.
    async def ours(sock, _):
        try:
            await sock.recv(1)
        finally:
            await asyncoro.sleep(0)

    async def reads(socks):
        # Nothing but the call keeps the socket.
        await socks.pop().recv(1)

    async def main():
        for _ in range(20):
            sock, peer = async_pair()
            reading = asyncio.ensure_future(reads([sock]))
            del sock
            coro = asyncoro.Coro(ours, *async_pair())
            await asyncio.sleep(0)
            coro.terminate()
            reading.cancel()
            await asyncio.sleep(0)
            await asyncio.wait_for(coro.finish(), WAIT / 2)
            assert not coro.is_alive()
            peer.close()

    run(main())


def test_a_call_is_awaited_by_one_task(run):
    async def main():
        sock, peer = async_pair()
        call = sock.recv(10)

        async def awaits():
            return await call

        first = asyncio.ensure_future(awaits())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="awaited already"):
            await awaits()
        with pytest.raises(RuntimeError, match="awaited already"):
            await asyncoro.Coro(awaits)
        peer.sendall(b"data")
        assert await first == b"data"
        with pytest.raises(RuntimeError, match="was awaited before"):
            await awaits()
        # One that somebody else closes ends the wait of its task.
        call = sock.recv(10)
        waiting = asyncio.ensure_future(awaits())
        await asyncio.sleep(0)
        call.close()
        with pytest.raises(RuntimeError):
            await waiting
        sock.close(), peer.close()

    run(main())


def test_closing_a_socket_wakes_the_task_that_waits(run):
    async def main():
        sock, peer = async_pair()

        async def reads():
            return await sock.recv(10)

        reading = asyncio.ensure_future(reads())
        await asyncio.sleep(0)
        sock.close()
        with pytest.raises(OSError):
            await reading
        peer.close()

    run(main())


def test_queued_messages_leave_while_the_task_goes_on(run):
    async def main():
        sock, peer = async_pair()
        await sock.send_msg(b"now")
        # In the call of select, in which the loop does not turn.
        assert peer.recv(100)[-3:] == b"now"
        await sock.send_msg(b"later")
        await sock.flush()
        assert peer.recv(100)[-5:] == b"later"
        sock.close(), peer.close()

    run(main())


def test_sleeps_and_timeouts(run):
    async def main():
        began = time.monotonic()
        await asyncoro.sleep(0.03)
        await asyncoro.sleep(0)
        assert time.monotonic() - began >= 0.03
        sock, peer = async_pair()
        with pytest.raises(TimeoutError):
            with asyncoro.timeout(0.01):
                await sock.recv(1)
        with pytest.raises(TimeoutError):
            await asyncoro.timeout(0.01, sock.recv(1))
        with pytest.raises(TimeoutError):
            async with asyncoro.timeout(0.01):
                await asyncio.sleep(WAIT)
        with asyncoro.timeout(WAIT):
            peer.sendall(b"x")
            assert await sock.recv(1) == b"x"
        with asyncoro.timeout(None):
            await asyncio.sleep(0)
        sock.settimeout(0.01)
        with pytest.raises(TimeoutError):
            await sock.recv(1)
        assert await asyncoro.first(sock.recv(1), asyncoro.sleep(0)) == (1, None)
        sock.close(), peer.close()

    run(main())


def test_somebody_elses_cancellation_is_no_timeout(run):
    async def waits():
        with asyncoro.timeout(WAIT):
            await asyncio.sleep(WAIT)

    async def main():
        waiting = asyncio.ensure_future(waits())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(main())


# ---- coroutines of ours


def test_a_coroutine_runs_in_a_task_of_the_loop(run):
    async def ours(number, coro=None):
        assert threading.get_ident() == thread and asyncio.get_running_loop() is loop
        assert asyncio.current_task() is not None
        assert coro is None or asyncoro.current() is coro
        await asyncio.sleep(0)
        return number

    def generator(coro=None):
        assert threading.get_ident() == thread
        yield coro.sleep(0)
        value = yield helper()
        return value + 1

    def helper():
        yield asyncoro.sleep(0)
        return 41

    async def main():
        nonlocal thread, loop
        thread, loop = threading.get_ident(), asyncio.get_running_loop()
        assert await asyncoro.Coro(ours, 7) == 7
        assert await asyncoro.Coro(generator) == 42
        assert await asyncoro.gather(asyncoro.Coro(ours, 1), ours(2), helper()) == [1, 2, 41]

    thread = loop = None
    run(main())


def test_a_coroutine_awaits_what_is_asyncios(run):
    variable = contextvars.ContextVar("variable", default="outside")

    async def task():
        variable.set("the task's own")
        await asyncio.sleep(0)
        return variable.get()

    async def ours(future):
        assert variable.get() == "its maker's"
        variable.set("its own")
        assert await future == "result"
        assert await asyncio.ensure_future(task()) == "the task's own"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(WAIT), 0.01)
        lock = asyncio.Lock()
        async with lock:
            pass
        queue = asyncio.Queue()
        queue.put_nowait(1)
        assert await queue.get() == 1
        if sys.version_info >= (3, 11):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncoro.sleep(WAIT)
            async with asyncio.TaskGroup() as group:
                group.create_task(task())
        return variable.get()

    async def main():
        variable.set("its maker's")
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        coro = asyncoro.Coro(ours, future)
        loop.call_later(0.01, future.set_result, "result")
        assert await coro == "its own"
        assert variable.get() == "its maker's"
        failing = loop.create_future()
        failing.set_exception(KeyError("passed on"))
        with pytest.raises(KeyError, match="passed on"):
            await asyncoro.Coro(waits, failing)

    async def waits(future):
        return await future

    run(main())


def test_an_order_reaches_a_coroutine_that_waits_for_asyncio(run):
    async def ours(log, coro=None):
        try:
            await asyncio.sleep(WAIT)
        except KeyError:
            log.append("thrown")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncoro.sleep(0)
            log.append("ended")

    async def main():
        log = []
        coro = asyncoro.Coro(ours, log)
        await asyncio.sleep(0.01)
        coro.throw(KeyError("thrown"))
        while log != ["thrown"]:
            await asyncio.sleep(0)
        coro.terminate()
        await coro.finish()
        assert log == ["thrown", "ended"] and not coro.is_alive()

        async def bounded():
            with asyncoro.timeout(0.01):
                await asyncio.sleep(WAIT)

        with pytest.raises(TimeoutError):
            await asyncoro.Coro(bounded)

    run(main())


def test_cancelling_its_task_ends_a_coroutine(run):
    async def ours(sock, tasks):
        tasks.append(asyncio.current_task())
        try:
            await sock.recv(1)
        except asyncio.CancelledError:
            tasks.append("cancelled")
            raise

    async def main():
        sock, peer = async_pair()
        tasks = []
        coro = asyncoro.Coro(ours, sock, tasks)
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        with pytest.raises(asyncoro.Terminated):
            await coro
        assert tasks[1] == "cancelled" and tasks[0].cancelled()
        peer.sendall(b"x")
        assert await sock.recv(1) == b"x"
        sock.close(), peer.close()

    run(main())


def test_mailboxes_between_tasks_coroutines_and_threads(run):
    async def receives(coro=None):
        return [await coro.receive() for _ in range(3)]

    async def main():
        coro = asyncoro.Coro(receives)
        me = asyncoro.current()
        assert asyncoro.current() is me and me.is_alive()

        async def answers(coro=None):
            me.send(("hello", await coro.receive()))

        other = asyncoro.Coro(answers)
        other.send("you")
        assert await me.receive() == ("hello", "you")
        assert await me.receive(0.01, "nothing") == "nothing"
        await asyncio.sleep(0)
        threading.Thread(target=lambda: [coro.send(number) for number in range(3)]).start()
        assert await coro == [0, 1, 2]
        thread = threading.Timer(0.01, me.send, ("from a thread",))
        thread.start()
        assert await me.receive() == "from a thread"
        thread.join()
        with pytest.raises(RuntimeError):
            coro.receive()
        return me

    me = run(main())
    assert not me.is_alive()


def test_a_task_is_waited_for_and_cancelled_by_what_stands_for_it(run):
    async def task(result):
        standing.append(asyncoro.current())
        await asyncio.sleep(0 if result else WAIT)
        return result

    async def main():
        first = asyncio.ensure_future(task("value"))
        await asyncio.sleep(0)
        assert await standing[0] == "value" == await first
        second = asyncio.ensure_future(task(None))
        await asyncio.sleep(0)
        assert standing[1].throw(KeyError) == -1
        assert standing[1].terminate() == 0
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await standing[1].finish() is None and standing[1].terminate() == -1

    standing = []
    run(main())


def test_coroutines_of_the_process_and_of_a_loop_wait_for_each_other(run):
    def elsewhere(other, coro=None):
        value = yield coro.receive()
        there = yield other.finish()
        return value, there

    async def here(coro=None):
        assert asyncio.get_running_loop()
        await asyncoro.sleep(0.01)
        return "from the loop"

    async def main():
        here_coro = asyncoro.Coro(here)
        made = []
        thread = threading.Thread(target=lambda: made.append(asyncoro.Coro(elsewhere, here_coro)))
        thread.start()
        while not made:
            await asyncio.sleep(0.001)
        thread.join()
        made[0].send("sent")
        assert await made[0] == ("sent", "from the loop")
        with pytest.raises(RuntimeError, match="block"):
            asyncoro.Coro(here).value()

    run(main())


def test_a_failure_that_nobody_waits_for_is_logged(run, caplog):
    async def fails():
        raise ValueError("nobody waits")

    async def main():
        coro = asyncoro.Coro(fails)
        while coro.is_alive():
            await asyncio.sleep(0)

    asyncoro.logger.setLevel(asyncoro.Logger.ERROR)
    run(main())
    assert "nobody waits" in caplog.text and "never retrieved" not in caplog.text


def test_an_exit_is_not_logged_beside(run, caplog):
    async def leaves():
        sys.exit(3)

    async def main():
        asyncoro.Coro(leaves)
        await asyncio.sleep(WAIT)

    asyncoro.logger.setLevel(asyncoro.Logger.ERROR)
    with pytest.raises(SystemExit):
        run(main())
    assert "uncaught" not in caplog.text


# ---- cancellations and orders that meet


def test_a_cancellation_for_an_order_is_taken_back(run):
    # Also when what was waited for goes on in spite of it.
    async def stubborn():
        try:
            await asyncio.sleep(WAIT)
        except asyncio.CancelledError:
            return "stubborn"

    async def ours(log):
        task = asyncio.current_task()
        log.append(task)
        with pytest.raises(KeyError):
            await asyncio.ensure_future(stubborn())
        log.append(task.cancelling() if hasattr(task, "cancelling") else 0)
        try:
            await asyncoro.sleep(WAIT)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    async def main():
        log = []
        coro = asyncoro.Coro(ours, log)
        await asyncio.sleep(0.01)
        coro.throw(KeyError("thrown"))
        while len(log) < 2:
            await asyncio.sleep(0)
        log[0].cancel()
        with pytest.raises(asyncoro.Terminated):
            await coro
        assert log[1:] == [0, "cancelled"]

    run(main())


@pytest.mark.parametrize("waits", ["ours", "asyncio"])
def test_a_task_is_cancelled_although_an_order_has_come(run, waits):
    async def ours(log):
        log.append(asyncio.current_task())
        for _ in range(2):
            try:
                await (asyncoro if waits == "ours" else asyncio).sleep(WAIT)
            except (asyncio.CancelledError, KeyError) as error:
                log.append(type(error))
        return "went on"

    async def main():
        for throws_first in (True, False):
            log = []
            coro = asyncoro.Coro(ours, log)
            await asyncio.sleep(0.01)
            if throws_first:
                coro.throw(KeyError("thrown"))
            log[0].cancel()
            if not throws_first:
                coro.throw(KeyError("thrown"))
            assert await coro == "went on"
            assert set(log[1:]) == {asyncio.CancelledError, KeyError}

    run(main())


def test_a_swap_that_has_to_wait_cancels_nothing(run):
    def new(coro=None):
        yield coro.sleep(0)
        return "new"

    async def inner(future):
        return await future

    def ours(future, coro=None):
        coro.hot_swappable(True)
        value = yield inner(future)
        assert value == "value"
        yield coro.sleep(WAIT)

    async def main():
        future = asyncio.get_running_loop().create_future()
        coro = asyncoro.Coro(ours, future)
        await asyncio.sleep(0.01)
        coro.hot_swap(new)
        began = time.process_time()
        await asyncio.sleep(0.1)
        assert not future.done() and time.process_time() - began < 0.09
        future.set_result("value")
        assert await coro == "new"

    run(main())


def test_a_failure_of_a_task_that_a_coroutine_stands_for_is_told(run):
    async def fails():
        asyncoro.current()
        raise ValueError("nobody looks")

    async def main():
        told = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
        for _ in range(2):
            asyncio.ensure_future(fails())
            await asyncio.sleep(0.01)
            gc.collect()
        assert told == ["nobody looks"] * 2

        async def awaited():
            standing.append(asyncoro.current())
            await asyncio.sleep(0.01)
            raise KeyError("somebody looks")

        standing = []
        asyncio.ensure_future(awaited())
        await asyncio.sleep(0)
        with pytest.raises(KeyError):
            await standing[0]
        gc.collect()
        assert len(told) == 2

    run(main())


def test_a_coroutine_shows_its_state_as_those_of_python_do(run):
    async def ours(running):
        running.append(inspect.getcoroutinestate(asyncio.current_task().get_coro()))
        await asyncio.sleep(0.01)

    def generator(running):
        yield asyncoro.sleep(0.01)

    async def main():
        for body in (ours, generator):
            running = []
            coro = asyncoro.Coro(body, running)
            (task,) = asyncio.all_tasks() - {asyncio.current_task()} - others
            drives = task.get_coro()
            assert inspect.getcoroutinestate(drives) == inspect.CORO_CREATED
            await asyncio.sleep(0)
            assert inspect.getcoroutinestate(drives) == inspect.CORO_SUSPENDED
            assert task.get_stack()[-1].f_code.co_name == body.__name__ and repr(task)
            await coro
            await asyncio.sleep(0)
            assert inspect.getcoroutinestate(drives) == inspect.CORO_CLOSED
            assert set(running) <= {inspect.CORO_RUNNING}

    async def outer():
        others.update(asyncio.all_tasks())
        await main()

    others = set()
    run(outer())
