"""asyncio: tasks, queues, cancellation, threads, processes, callbacks."""

import asyncio
import subprocess
from pathlib import Path

from turns import CHILDREN, PROGRAM, RECEIVERS, answer, call, large_file, now, serve


async def switch(times, coroutines):
    async def switching():
        await asyncio.sleep(0)  # until all of them have begun
        clock.append(now())
        for _ in range(times // coroutines):
            await asyncio.sleep(0)
        clock.append(now())

    clock = []
    await asyncio.gather(*[switching() for _ in range(coroutines)])
    return max(clock) - min(clock)


async def spawn(times):
    async def one():
        nonlocal left
        left -= 1

    left = times
    create_task = asyncio.get_running_loop().create_task
    started = now()
    tasks = [create_task(one()) for _ in range(times)]
    while left:
        await asyncio.sleep(0)
    del tasks
    return now() - started


async def message(times):
    async def answering():
        for _ in range(times):
            answers.put_nowait(await questions.get())

    questions, answers = asyncio.Queue(), asyncio.Queue()
    other = asyncio.get_running_loop().create_task(answering())
    started = now()
    for value in range(times):
        questions.put_nowait(value)
        await answers.get()
    return now() - started


async def throw(times):
    async def waiting():
        nonlocal caught
        while caught < times:
            try:
                await loop.create_future()
            except asyncio.CancelledError:
                caught += 1

    caught, loop = 0, asyncio.get_running_loop()
    other = loop.create_task(waiting())
    await asyncio.sleep(0)  # until it waits
    started = now()
    for value in range(times):
        other.cancel()
        while caught == value:
            await asyncio.sleep(0)
    return now() - started


async def lock(times):
    return await hand_over(asyncio.Lock(), 2, times)


async def semaphore(times):
    return await hand_over(asyncio.Semaphore(2), 4, times)


async def hand_over(lock, tasks, times):
    async def taking():
        async with lock:
            await asyncio.sleep(0)  # until the others wait
        for _ in range(times // tasks):
            async with lock:
                pass

    started = now()
    await asyncio.gather(*[taking() for _ in range(tasks)])
    return now() - started


async def event(times):
    async def answering():
        for _ in range(times):
            await asked.wait()
            asked.clear()
            answered.set()

    asked, answered = asyncio.Event(), asyncio.Event()
    other = asyncio.get_running_loop().create_task(answering())
    started = now()
    for _ in range(times):
        asked.set()
        await answered.wait()
        answered.clear()
    return now() - started


async def queue(times):
    async def putting():
        for value in range(times):
            await items.put(value)

    items = asyncio.Queue(1)
    other = asyncio.get_running_loop().create_task(putting())
    started = now()
    for _ in range(times):
        await items.get()
    return now() - started


async def broadcast(times):
    async def receiving(queue):
        nonlocal left
        while await queue.get() is not None:
            left -= 1

    create_task = asyncio.get_running_loop().create_task
    queues = [asyncio.Queue() for _ in range(RECEIVERS)]
    tasks = [create_task(receiving(queue)) for queue in queues]
    await asyncio.sleep(0)  # until they wait
    started = now()
    for value in range(times // RECEIVERS):
        left = RECEIVERS
        for queue in queues:
            queue.put_nowait(value)
        while left:
            await asyncio.sleep(0)
    took = now() - started
    for queue in queues:
        queue.put_nowait(None)
    await asyncio.gather(*tasks)
    return took


async def scope(times):
    async def child():
        await asyncio.sleep(0)

    started = now()
    for _ in range(times // CHILDREN):
        async with asyncio.TaskGroup() as group:
            for _ in range(CHILDREN):
                group.create_task(child())
    return now() - started


async def thread(times):
    started = now()
    for _ in range(times):
        assert await asyncio.to_thread(answer) == 42
    return now() - started


async def file(times):
    with large_file() as name:
        started = now()
        for _ in range(times):
            assert len(await asyncio.to_thread(Path(name).read_bytes)) == 1 << 20
        return now() - started


async def process(times):
    started = now()
    for _ in range(times):
        child = await asyncio.create_subprocess_exec(*PROGRAM, stdout=subprocess.PIPE)
        assert await child.communicate() == (b'', None)
    return now() - started


async def call_soon(times):
    def called():
        nonlocal left
        left -= 1

    left, loop = times, asyncio.get_running_loop()
    started = now()
    for _ in range(times):
        loop.call_soon(called)
    while left:
        await asyncio.sleep(0)
    return now() - started


async def timer(times):
    loop = asyncio.get_running_loop()
    started = now()
    for _ in range(times):
        loop.call_later(60, print).cancel()
    await asyncio.sleep(0)
    return now() - started


def main(loop):
    def run(operation, *arguments):
        return loop.run_until_complete(operation(*arguments))

    serve(
        run, switch, spawn, call, message, throw, lock, event, semaphore, queue, broadcast,
        scope, thread, file, process, call_soon, timer,
    )


if __name__ == '__main__':
    main(asyncio.new_event_loop())
