"""asyncoro: `async def` and `await`."""

import subprocess

from asyncoro import (
    AsyncThreadPool, Channel, Coro, Event, Lock, Queue, Semaphore, scope as open_scope, sleep,
)
from asyncoro.asyncfile import AsyncFile, AsyncPipe

from turns import CHILDREN, PROGRAM, RECEIVERS, Stop, answer, call, large_file, now, serve


async def switch(times, coroutines, coro=None):
    async def switching(coro=None):
        await sleep(0)  # until all of them have begun
        clock.append(now())
        for _ in range(times // coroutines):
            await sleep(0)
        clock.append(now())

    clock = []
    for one in [Coro(switching) for _ in range(coroutines)]:
        await one.finish()
    return max(clock) - min(clock)


async def spawn(times, coro=None):
    async def one(coro=None):
        nonlocal left
        left -= 1

    left, started = times, now()
    for _ in range(times):
        Coro(one)
    while left:
        await sleep(0)
    return now() - started


async def message(times, coro=None):
    async def answering(asking, coro=None):
        for _ in range(times):
            asking.send(await coro.receive())

    other = Coro(answering, coro)
    started = now()
    for value in range(times):
        other.send(value)
        await coro.receive()
    return now() - started


async def throw(times, coro=None):
    async def waiting(coro=None):
        nonlocal caught
        while caught < times:
            try:
                await coro.suspend()
            except Stop:
                caught += 1

    caught, other = 0, Coro(waiting)
    await coro.sleep(0.001)  # until it waits
    started = now()
    for value in range(times):
        other.throw(Stop())
        while caught == value:
            await sleep(0)
    return now() - started


async def lock(times, coro=None):
    return await hand_over(Lock(), 2, times)


async def semaphore(times, coro=None):
    return await hand_over(Semaphore(2), 4, times)


async def hand_over(lock, coroutines, times):
    async def taking(coro=None):
        async with lock:
            await sleep(0)  # until the others wait
        for _ in range(times // coroutines):
            async with lock:
                pass

    started = now()
    for one in [Coro(taking) for _ in range(coroutines)]:
        await one.finish()
    return now() - started


async def event(times, coro=None):
    async def answering(coro=None):
        for _ in range(times):
            await asked.wait()
            asked.clear()
            answered.set()

    asked, answered = Event(), Event()
    Coro(answering)
    started = now()
    for _ in range(times):
        asked.set()
        await answered.wait()
        answered.clear()
    return now() - started


async def queue(times, coro=None):
    async def putting(coro=None):
        for value in range(times):
            await items.put(value)

    items = Queue(1)
    Coro(putting)
    started = now()
    for _ in range(times):
        await items.get()
    return now() - started


async def broadcast(times, coro=None):
    async def receiving(coro=None):
        nonlocal left
        while await coro.receive() is not None:
            left -= 1

    channel, receivers = Channel('all'), [Coro(receiving) for _ in range(RECEIVERS)]
    for one in receivers:
        await channel.subscribe(one)
    await sleep(0)  # until they wait
    started = now()
    for value in range(times // RECEIVERS):
        left = RECEIVERS
        channel.send(value)
        while left:
            await sleep(0)
    took = now() - started
    channel.send(None)
    for one in receivers:
        await one.finish()
    return took


async def scope(times, coro=None):
    async def child(coro=None):
        await sleep(0)

    started = now()
    for _ in range(times // CHILDREN):
        async with open_scope() as children:
            for _ in range(CHILDREN):
                children.spawn(child)
    return now() - started


async def thread(times, coro=None):
    async with AsyncThreadPool(8) as pool:
        started = now()
        for _ in range(times):
            assert await pool.async_task(answer) == 42
        return now() - started


async def file(times, coro=None):
    with large_file() as name:
        started = now()
        for _ in range(times):
            async with await AsyncFile.open(name) as opened:
                assert len(await opened.read()) == 1 << 20
        return now() - started


async def process(times, coro=None):
    started = now()
    for _ in range(times):
        child = AsyncPipe(subprocess.Popen(PROGRAM, stdout=subprocess.PIPE))
        assert await child.communicate() == (b'', None)
    return now() - started


if __name__ == '__main__':
    serve(
        lambda *turn: Coro(*turn).value(), switch, spawn, call, message, throw, lock, event,
        semaphore, queue, broadcast, scope, thread, file, process,
    )
