"""trio: nurseries, memory channels, cancel scopes, threads, processes."""

import trio
import trio.testing
from trio.lowlevel import checkpoint

from turns import CHILDREN, PROGRAM, RECEIVERS, answer, call, large_file, now, serve


async def switch(times, coroutines):
    async def switching():
        await checkpoint()  # until all of them have begun
        clock.append(now())
        for _ in range(times // coroutines):
            await checkpoint()
        clock.append(now())

    clock = []
    async with trio.open_nursery() as nursery:
        for _ in range(coroutines):
            nursery.start_soon(switching)
    return max(clock) - min(clock)


async def spawn(times):
    async def one():
        nonlocal left
        left -= 1

    left = times
    async with trio.open_nursery() as nursery:
        started = now()
        for _ in range(times):
            nursery.start_soon(one)
        while left:
            await checkpoint()
        return now() - started


async def message(times):
    async def answering():
        for _ in range(times):
            await answer.send(await asked.receive())

    ask, asked = trio.open_memory_channel(1)
    answer, answered = trio.open_memory_channel(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answering)
        started = now()
        for value in range(times):
            await ask.send(value)
            await answered.receive()
        return now() - started


async def throw(times):
    async def waiting():
        nonlocal caught, scope
        while caught < times:
            with trio.CancelScope() as scope:
                await trio.sleep_forever()
            caught += 1

    caught, scope = 0, None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting)
        await trio.testing.wait_all_tasks_blocked()
        started = now()
        for value in range(times):
            scope.cancel()
            while caught == value:
                await checkpoint()
        return now() - started


async def lock(times):
    return await hand_over(trio.Lock(), 2, times)


async def semaphore(times):
    return await hand_over(trio.Semaphore(2), 4, times)


async def hand_over(lock, tasks, times):
    async def taking():
        async with lock:
            await checkpoint()  # until the others wait
        for _ in range(times // tasks):
            async with lock:
                pass

    started = now()
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(taking)
    return now() - started


async def event(times):
    async def answering():
        nonlocal asked
        for _ in range(times):
            await asked.wait()
            asked = trio.Event()
            answered.set()

    asked, answered = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answering)
        started = now()
        for _ in range(times):
            asked.set()
            await answered.wait()
            answered = trio.Event()
        return now() - started


async def queue(times):
    async def putting():
        for value in range(times):
            await put.send(value)

    put, get = trio.open_memory_channel(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(putting)
        started = now()
        for _ in range(times):
            await get.receive()
        return now() - started


async def broadcast(times):
    async def receiving(channel):
        nonlocal left
        while await channel.receive() is not None:
            left -= 1

    channels = [trio.open_memory_channel(1) for _ in range(RECEIVERS)]
    async with trio.open_nursery() as nursery:
        for _, channel in channels:
            nursery.start_soon(receiving, channel)
        await trio.testing.wait_all_tasks_blocked()
        started = now()
        for value in range(times // RECEIVERS):
            left = RECEIVERS
            for channel, _ in channels:
                channel.send_nowait(value)
            while left:
                await checkpoint()
        took = now() - started
        for channel, _ in channels:
            channel.send_nowait(None)
    return took


async def scope(times):
    async def child():
        await checkpoint()

    started = now()
    for _ in range(times // CHILDREN):
        async with trio.open_nursery() as nursery:
            for _ in range(CHILDREN):
                nursery.start_soon(child)
    return now() - started


async def thread(times):
    started = now()
    for _ in range(times):
        assert await trio.to_thread.run_sync(answer) == 42
    return now() - started


async def file(times):
    with large_file() as name:
        started = now()
        for _ in range(times):
            assert len(await trio.Path(name).read_bytes()) == 1 << 20
        return now() - started


async def process(times):
    started = now()
    for _ in range(times):
        ended = await trio.run_process(PROGRAM, capture_stdout=True)
        assert ended.stdout == b''
    return now() - started


if __name__ == '__main__':
    serve(
        trio.run, switch, spawn, call, message, throw, lock, event, semaphore, queue, broadcast,
        scope, thread, file, process,
    )
