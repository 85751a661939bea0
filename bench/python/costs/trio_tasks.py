"""trio: nurseries, memory channels, cancel scopes."""

import trio
import trio.testing
from trio.lowlevel import checkpoint

from turns import call, now, serve


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


if __name__ == '__main__':
    serve(trio.run, switch, spawn, call, message, throw)
