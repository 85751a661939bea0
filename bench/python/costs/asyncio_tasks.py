"""asyncio: tasks, queues, cancellation, callbacks."""

import asyncio

from turns import call, now, serve


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

    serve(run, switch, spawn, call, message, throw, call_soon, timer)


if __name__ == '__main__':
    main(asyncio.new_event_loop())
