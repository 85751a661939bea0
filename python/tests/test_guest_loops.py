"""Loops of asyncio's with guests of ours: several, one after the other, abandoned, in threads and
in programs."""

import asyncio
import gc
import os
import random
import socket
import sys
import threading
import weakref

import pytest

import asyncoro
from guests import LOOPS, echo, run  # noqa: F401
from harness import WAIT, async_both, async_pair, done, run_program, tcp_pair


# ---- loops


def test_loops_in_threads_at_once_and_again_and_again():
    async def main(failures):
        server = asyncoro.create_server(("127.0.0.1", 0))

        async def serve(coro=None):
            connection, _ = await server.accept()
            await echo(connection)

        asyncoro.Coro(serve)
        sock = await asyncoro.create_connection(server.getsockname())
        for _ in range(20):
            await sock.send_msg(b"x" * 100)
            await sock.recv_msg()
        sock.close(), server.close()

    def runs(failures):
        try:
            for _ in range(30):
                asyncio.run(main(failures))
        except BaseException as error:
            failures.append(error)

    failures = []
    asyncio.run(main(failures))
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    threads = [threading.Thread(target=runs, args=(failures,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    gc.collect()
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_socket_serves_one_loop_after_the_other_but_not_two_at_once():
    sock, peer = async_pair()

    async def reads():
        return await sock.recv(4)

    async def main():
        peer.sendall(b"two.")
        assert await reads() == b"two."
        # While this loop lives, another thread's must not use the socket.
        other = threading.Thread(target=elsewhere)
        other.start()
        while other.is_alive():
            await asyncio.sleep(0.001)

    def elsewhere():
        try:
            asyncio.run(reads())
        except RuntimeError as error:
            refused.append(str(error))

    refused = []
    peer.sendall(b"one.")
    assert asyncio.run(reads()) == b"one."
    asyncio.run(main())
    assert len(refused) == 1 and "another event loop" in refused[0]
    peer.sendall(b"end.")
    assert asyncio.run(reads()) == b"end."


def test_the_close_of_a_loop_ends_what_is_left_and_says_so(caplog):
    async def waits(log):
        try:
            await asyncoro.sleep(WAIT)
        finally:
            log.append("ended")

    async def main():
        coro = asyncoro.Coro(waits, log)
        await asyncoro.sleep(0.001)
        await sock.send_msg(b"queued")
        return coro

    asyncoro.logger.setLevel(asyncoro.Logger.WARNING)
    sock, peer = async_pair()
    log = []
    loop = asyncio.new_event_loop()
    coro = loop.run_until_complete(main())
    assert coro.is_alive()
    loop.close()
    assert log == ["ended"] and not coro.is_alive()
    assert "its event loop was closed" in caplog.text
    assert peer.recv(100)[-6:] == b"queued"
    loop.close()
    sock.close(), peer.close()


def test_the_close_of_a_loop_says_what_could_not_be_sent(caplog):
    async def main():
        in_vain = 0
        while in_vain < 3:  # A busy machine may let one time pass with room at hand.
            try:
                with asyncoro.timeout(0.05):
                    await sock.sendall(bytes(1000))
                in_vain = 0
            except TimeoutError:
                in_vain += 1

    asyncoro.logger.setLevel(asyncoro.Logger.WARNING)
    sock, peer = async_pair()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    sock.close()
    loop.close()
    assert "unsent" in caplog.text
    peer.close()


def test_a_loop_that_nobody_closes_is_collected():
    async def main():
        await asyncoro.sleep(0)
        asyncoro.Coro(ends)

    async def ends():
        pass

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.run_until_complete(asyncio.sleep(0.01))
    gone = weakref.ref(loop)
    other = asyncio.new_event_loop()
    other.run_until_complete(asyncoro_sleep())
    other.close()
    del loop
    gc.collect()
    gc.collect()
    assert gone() is None


async def asyncoro_sleep():
    await asyncoro.sleep(0)


def test_memory_stays_flat():
    async def main():
        one, other = async_both()

        async def round_trips(count):
            for _ in range(count):
                reading = asyncio.ensure_future(reads())
                await asyncio.sleep(0)
                if random.random() < 0.3:
                    reading.cancel()
                    try:
                        await reading
                    except asyncio.CancelledError:
                        continue
                await one.sendall(b"x")
                assert await reading == b"x"

        async def reads():
            return await other.recv(1)

        await round_trips(500)
        gc.collect()
        before = len(gc.get_objects())
        await round_trips(2000)
        gc.collect()
        assert len(gc.get_objects()) < before + 200
        one.close(), other.close()

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks():
    async def reads(sock):
        return await sock.recv(1)

    async def ours():
        sock, peer = async_pair()
        # Started within a step of this coroutine.
        reading = asyncio.get_running_loop().create_task(reads(sock))
        await asyncoro.sleep(0)
        peer.sendall(b"x")
        assert await reading == b"x"
        sock.close(), peer.close()
        return "done"

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        assert await asyncoro.Coro(ours) == "done"

    asyncio.run(main())


# ---- programs


def test_run_brings_a_loop():
    async def helper():
        await asyncio.sleep(helper_takes)
        log.append("helper")

    async def daemon(coro=None):
        coro.set_daemon()
        await asyncio.sleep(WAIT)

    async def main(coro=None):
        asyncoro.Coro(helper)
        asyncoro.Coro(daemon)
        await asyncio.sleep(0.001)
        return "value"

    def generator():
        yield asyncoro.sleep(0.001)
        return "generated"

    async def fails():
        asyncoro.Coro(daemon)
        await asyncio.sleep(0)
        raise KeyError("raised")

    log, helper_takes = [], 0.02
    assert asyncoro.run(main(), asyncio=True) == "value" and log == ["helper"]
    # Which does not wait for others.
    helper_takes = WAIT
    assert asyncoro.run_until(main(), asyncio=True) == "value" and log == ["helper"]
    helper_takes = 0.02
    assert asyncoro.run(generator(), asyncio=True) == "generated"
    for factory in LOOPS:
        assert asyncoro.run(main(), asyncio=factory) == "value"
    with pytest.raises(KeyError, match="raised"):
        asyncoro.run(fails(), asyncio=True)


def test_without_a_loop_the_error_says_what_to_do():
    async def main():
        await asyncio.sleep(0.01)

    with pytest.raises(RuntimeError, match=r"asyncio=True"):
        asyncoro.Coro(main).result(WAIT)


@pytest.mark.parametrize("ends", ["exit", "interrupt", "main"])
def test_a_program_ends_whatever_there_is(ends):
    program = run_program(
        f"""
        import asyncio

        async def forever(sock, coro=None):
            try:
                await sock.recv(1)
            finally:
                print("finally", flush=True)

        async def ends():
            await asyncio.sleep(0.01)
            if {ends!r} == "exit":
                sys.exit(7)
            if {ends!r} == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(10)

        async def main():
            one, other = socket.socketpair()
            sock = asyncoro.AsyncSocket(one)
            asyncoro.Coro(forever, sock)
            asyncio.ensure_future(forever(sock))
            await asyncoro.Coro(ends)

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    )
    assert program.stdout.count("finally") == 2, program.stderr
    assert ("interrupted" in program.stdout) == (ends == "interrupt")
    assert program.process.returncode == (7 if ends == "exit" else 0)
    assert "Error" not in program.stderr.replace("KeyboardInterrupt", "")


def test_the_child_of_a_fork_has_loops_of_its_own():
    program = run_program(
        """
        import asyncio

        async def nap():
            await asyncoro.sleep(0.01)
            return "napped"

        async def main():
            await nap()
            child = os.fork()
            if child == 0:
                return True
            _, status = os.waitpid(child, 0)
            print("child", status, await nap(), flush=True)

        loop = asyncio.new_event_loop()
        if loop.run_until_complete(main()):
            print(asyncio.run(nap()), flush=True)
            os._exit(0)
        loop.close()
        """
    )
    assert "napped" in program.stdout and "child 0 napped" in program.stdout, program.stderr


def test_a_loop_in_a_coroutine_of_the_process_is_refused():
    async def nap():
        await asyncoro.sleep(0.001)

    def main(coro=None):
        yield coro.sleep(0)
        asyncio.run(nap())

    status = asyncoro.Coro(main).value(WAIT)
    assert isinstance(status, asyncoro.MonitorStatus) and status.type is RuntimeError


def test_the_standing_of_a_socket_between_a_loop_and_the_process():
    one, other = tcp_pair()
    sock = asyncoro.AsyncSocket(one)
    other.settimeout(WAIT)

    def ours(coro=None):
        yield sock.sendall(b"x")

    async def main():
        other.sendall(b"y")
        assert await sock.recv(1) == b"y"

    asyncio.run(main())
    done(asyncoro.Coro(ours))
    assert other.recv(1) == b"x"
    sock.close(), other.close()


# ---- threads


async def nap():
    await asyncoro.sleep(0.001)
    return "napped"


def test_a_loop_that_another_thread_closes_leaves_nothing_behind():
    # Its address is soon another loop's, in the thread that has used it.
    closed, loops, results = threading.Barrier(2), [], []

    def runs():
        for _ in range(30):
            loops.append(asyncio.new_event_loop())
            results.append(loops[0].run_until_complete(nap()))
            closed.wait(WAIT)
            closed.wait(WAIT)
        # No loop runs: so it is one of the process's.
        results.append(asyncoro.Coro(nap).value(WAIT))

    thread = threading.Thread(target=runs)
    thread.start()
    for _ in range(30):
        closed.wait(WAIT)
        loops.pop().close()
        gc.collect()
        closed.wait(WAIT)
    thread.join(WAIT)
    assert results == ["napped"] * 31


@pytest.mark.skipif(sys.platform != "linux", reason="counts the descriptors in /proc")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_loops_that_threads_do_not_close_are_collected():
    def runs():
        asyncio.new_event_loop().run_until_complete(nap())

    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        thread = threading.Thread(target=runs)
        thread.start()
        thread.join(WAIT)
    gc.collect()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) < before + 10


def test_a_loop_that_nobody_closes_is_collected_with_what_waits_in_it():
    async def waits(how, log):
        try:
            await how()
        finally:
            log.append("ended")

    async def main(log):
        sock, peer = async_pair()
        for how in (lambda: sock.recv(1), lambda: asyncio.sleep(WAIT)):
            asyncoro.Coro(waits, how, log)
            asyncio.ensure_future(waits(how, log))
        await asyncio.sleep(0.01)

    log = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(main(log))
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    gc.collect()
    assert gone() is None and log == ["ended"] * 4


def test_sockets_are_collected_with_a_loop_that_nobody_closes():
    # Whichever of them the collector takes first.
    program = run_program(
        """
        import asyncio, gc
        import warnings

        warnings.simplefilter("ignore")

        async def waits(sock):
            try:
                await sock.recv(1)
            finally:
                await sock.sendall(b"late")

        async def main():
            one, other = socket.socketpair()
            sock, peer = asyncoro.AsyncSocket(one), asyncoro.AsyncSocket(other)
            asyncoro.Coro(waits, sock)
            await peer.send_msg(b"queued" * 100000 if full else b"queued")
            tasks.append(asyncio.ensure_future(waits(peer)))
            await asyncio.sleep(0)

        asyncoro.logger.setLevel(100)
        sys.unraisablehook = lambda raised: print(raised.exc_value, flush=True)
        for full in [False, True] * 10:
            tasks = []
            loop = asyncio.new_event_loop()
            loop.set_exception_handler(lambda *_: None)
            task = loop.create_task(main())
            loop.run_until_complete(asyncio.sleep(0.005))
            del loop, tasks, task
            gc.collect()
        print("collected", flush=True)
        """
    )
    assert program.stdout.endswith("collected\n"), program.stderr
    assert "scheduler" not in program.stdout and "panicked" not in program.stderr, program.stderr


def test_without_a_running_loop_a_coroutine_is_the_processs():
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(nap()) == "napped"
        # The loop is there, but does not run.
        assert asyncoro.Coro(nap).value(WAIT) == "napped"
        sock, peer = async_pair()
        sock.setblocking(True)
        sock.setblocking(False)
        peer.sendall(b"x")

        async def reads():
            return await sock.recv(1)

        assert done(asyncoro.Coro(reads)) == b"x"
        sock.close(), peer.close()
    finally:
        loop.close()


def test_a_socket_of_a_loop_that_does_not_run_becomes_blocking():
    async def uses(sock, peer):
        peer.sendall(b"x")
        return await sock.recv(1)

    loops = [asyncio.new_event_loop() for _ in range(2)]
    pairs = [async_pair() for _ in range(3)]
    for loop, pair in zip([loops[0], loops[0], loops[1]], pairs):
        assert loop.run_until_complete(uses(*pair)) == b"x"
    # Here, where the other loop was used last, and in a thread.
    pairs[0][0].setblocking(True)
    thread = threading.Thread(target=pairs[1][0].setblocking, args=(True,), daemon=True)
    thread.start()
    thread.join(WAIT)

    async def in_the_other():
        pairs[2][0].setblocking(True)

    loops[1].run_until_complete(in_the_other())
    for sock, peer in pairs:
        assert sock.getblocking()
        peer.sendall(b"y")
        assert sock.recv(1) == b"y"
        sock.close(), peer.close()
    for loop in loops:
        loop.close()


def test_what_stands_for_a_task_ends_with_the_loop_or_the_task():
    async def waits():
        standing.append(asyncoro.current())
        await asyncio.get_running_loop().create_future()

    async def drops():
        asyncio.ensure_future(waits())
        await asyncio.sleep(0)

    standing = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(drops())
    gc.collect()
    # Its future was nobody's.
    assert not standing[0].is_alive()
    task = loop.create_task(waits())
    loop.run_until_complete(asyncio.sleep(0))
    assert standing[1].is_alive()
    loop.close()
    assert not standing[1].is_alive() and standing[1].value(WAIT) is None
    assert standing[1].terminate() == -1
    del task


def test_threads_end_what_stands_for_each_others_tasks():
    async def main(number):
        async def waits():
            alive.append(asyncoro.current())
            await asyncio.sleep(WAIT)

        for _ in range(100):
            task = asyncio.ensure_future(waits())
            await asyncio.sleep(0)
            try:
                other = alive.pop(0)
            except IndexError:
                continue
            other.terminate()
            await other.finish()
            assert not other.is_alive()
            if task.done():
                assert task.cancelled()

    def runs(number):
        try:
            asyncio.run(main(number))
        except BaseException as error:
            failures.append(error)

    alive, failures = [], []
    threads = [threading.Thread(target=runs, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * WAIT)
    assert not failures and not any(thread.is_alive() for thread in threads)
