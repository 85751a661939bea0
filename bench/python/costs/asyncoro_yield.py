"""asyncoro: generators and `yield`."""

from asyncoro import Coro

from turns import Stop, now, serve


def switch(times, coroutines, coro=None):
    def switching(coro=None):
        yield  # until all of them have begun
        clock.append(now())
        for _ in range(times // coroutines):
            yield
        clock.append(now())

    clock = []
    for one in [Coro(switching) for _ in range(coroutines)]:
        yield one.finish()
    return max(clock) - min(clock)


def spawn(times, coro=None):
    def one(coro=None):
        nonlocal left
        left -= 1
        yield from ()
    left, started = times, now()
    for _ in range(times):
        Coro(one)
    while left:
        yield
    return now() - started


def call(times, coro=None):
    def called(value):
        return value
        yield

    started = now()
    for value in range(times):
        yield called(value)
    return now() - started


def message(times, coro=None):
    def answering(asking, coro=None):
        for _ in range(times):
            asking.send((yield coro.receive()))

    other = Coro(answering, coro)
    started = now()
    for value in range(times):
        other.send(value)
        yield coro.receive()
    return now() - started


def throw(times, coro=None):
    def waiting(coro=None):
        nonlocal caught
        while caught < times:
            try:
                yield coro.suspend()
            except Stop:
                caught += 1

    caught, other = 0, Coro(waiting)
    yield coro.sleep(0.001)  # until it waits
    started = now()
    for value in range(times):
        other.throw(Stop())
        while caught == value:
            yield
    return now() - started


if __name__ == '__main__':
    serve(lambda *turn: Coro(*turn).value(), switch, spawn, call, message, throw)
