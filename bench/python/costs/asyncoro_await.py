"""asyncoro: `async def` and `await`."""

from asyncoro import Coro, sleep

from turns import Stop, call, now, serve


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


if __name__ == '__main__':
    serve(lambda *turn: Coro(*turn).value(), switch, spawn, call, message, throw)
