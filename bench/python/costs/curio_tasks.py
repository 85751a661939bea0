"""curio: tasks and queues. Its cancellation ends a task for good: no throw."""

import curio

from turns import call, now, serve


async def switch(times, coroutines):
    async def switching():
        await curio.sleep(0)  # until all of them have begun
        clock.append(now())
        for _ in range(times // coroutines):
            await curio.sleep(0)
        clock.append(now())

    clock = []
    for one in [await curio.spawn(switching) for _ in range(coroutines)]:
        await one.join()
    return max(clock) - min(clock)


async def spawn(times):
    async def one():
        nonlocal left
        left -= 1

    left, started = times, now()
    for _ in range(times):
        await curio.spawn(one, daemon=True)
    while left:
        await curio.sleep(0)
    return now() - started


async def message(times):
    async def answering():
        for _ in range(times):
            await answers.put(await questions.get())

    questions, answers = curio.Queue(), curio.Queue()
    other = await curio.spawn(answering)
    started = now()
    for value in range(times):
        await questions.put(value)
        await answers.get()
    ended = now()
    await other.join()
    return ended - started


if __name__ == '__main__':
    serve(curio.run, switch, spawn, call, message)
