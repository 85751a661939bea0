"""Tests that what has ended keeps no resident memory and no descriptors.

ASYNCORO_MEMORY_TIMES sets its length: so many connections, ten times as many switches.
"""

import gc
import os
import socket

import asyncoro

from harness import go

TIMES = int(os.environ.get("ASYNCORO_MEMORY_TIMES", "10000"))
#: What the allocators may keep, in KiB.
SLACK = 4096


def resident():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def stays_flat(work):
    work(TIMES // 5)
    before, descriptors = resident(), len(os.listdir("/proc/self/fd"))
    work(TIMES)
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert resident() - before < SLACK


def test_connections_leave_nothing():
    async def talk(sock):
        await sock.send_msg((await sock.recv_msg()) * 2)
        sock.close()

    async def main(times):
        for _ in range(times):
            near, far = socket.socketpair()
            near, far = asyncoro.AsyncSocket(near), asyncoro.AsyncSocket(far)
            talking = asyncoro.Coro(talk, far)
            await near.send_msg(b"hello")
            assert await near.recv_msg() == b"hellohello"
            await talking
            near.close()

    stays_flat(lambda times: go(main, times))


def test_accepted_connections_leave_nothing():
    def serve(server, coro=None):
        coro.set_daemon()
        while True:
            conn, _ = yield server.accept()
            asyncoro.Coro(answer, conn)

    def answer(conn, coro=None):
        yield conn.sendall((yield conn.recv(10)))
        # Not closed: the drop of the last reference does that.

    def main(times, coro=None):
        server = asyncoro.create_server(("127.0.0.1", 0))
        serving = asyncoro.Coro(serve, server)
        for _ in range(times // 5):
            sock = asyncoro.AsyncSocket(socket.socket())
            # Closed by a reset, so that the ports do not run out.
            linger = b"\x01\0\0\0\0\0\0\0"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            yield sock.connect(server.getsockname())
            yield sock.sendall(b"hi")
            assert (yield sock.recvall(2)) == b"hi"
            sock.close()
        serving.terminate()
        yield serving.finish()
        server.close()

    stays_flat(lambda times: go(main, times))


def test_switches_messages_and_failures_leave_nothing():
    def fails(coro=None):
        yield
        raise ValueError("as it should")

    def main(times, coro=None):
        for count in range(times * 10):
            yield
            if count % 10 == 0:
                coro.send(coro)
                assert (yield coro.receive()) is coro
            if count % 1000 == 0:
                failing = asyncoro.Coro(fails)
                failing._when_ended(lambda ended: None)
                yield failing.finish()

    stays_flat(lambda times: go(main, times))


def test_what_is_thrown_away_leaves_nothing():
    async def waits(sock):
        await sock.recv(10)

    async def main(times):
        for _ in range(times // 5):
            near, _far = socket.socketpair()
            waiting = asyncoro.Coro(waits, asyncoro.AsyncSocket(near))
            await asyncoro.sleep(0)
            waiting.terminate()
            waiting.send(waiting)
            await waiting.finish()

    stays_flat(lambda times: go(main, times))


def test_waits_for_the_end_of_a_coroutine_that_time_out_leave_nothing():
    async def sleeps():
        await asyncoro.sleep(1000)

    def waits(coro):
        yield coro.finish(timeout=0)

    def main(times, coro=None):
        lasting = asyncoro.Coro(sleeps)
        # Each wait is that of another coroutine.
        for _ in range(times * 5):
            yield asyncoro.Coro(waits, lasting).finish()
        lasting.terminate()
        yield lasting.finish()

    stays_flat(lambda times: go(main, times))


def test_locks_queues_and_channels_leave_nothing():
    lock, semaphore, condition = asyncoro.Lock(), asyncoro.Semaphore(1), asyncoro.Condition()
    queue, news, event = asyncoro.Queue(1), asyncoro.Channel("news"), asyncoro.Event()

    async def works(coro=None):
        await news.subscribe(coro)
        messages = news.subscription(1, slow="drop")
        news.send(bytes(1000))
        async with lock, semaphore:
            await queue.put(messages)
            try:
                await asyncoro.sleep(0)
            finally:
                queue.get_nowait()
        await event.wait(0)
        async with condition:
            await condition.wait(0)

    async def main(times):
        for count in range(times // 10):
            working = [asyncoro.Coro(works) for _ in range(3)]
            await asyncoro.sleep(0)
            working[count % 3].terminate()
            for coro in working:
                await coro.finish()
        assert not lock.locked() and not condition.locked() and queue.empty()

    stays_flat(lambda times: go(main, times))
