"""asyncoro: generators and `yield`."""

import subprocess

from asyncoro import (
    AsyncThreadPool, Channel, Coro, Event, Lock, Queue, Semaphore, scope as open_scope,
)
from asyncoro.asyncfile import AsyncFile, AsyncPipe

from turns import CHILDREN, PROGRAM, RECEIVERS, Stop, answer, large_file, now, serve


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


def lock(times, coro=None):
    return (yield hand_over(Lock(), 2, times))


def semaphore(times, coro=None):
    return (yield hand_over(Semaphore(2), 4, times))


def hand_over(lock, coroutines, times):
    def taking(coro=None):
        yield lock.acquire()
        yield  # until the others wait
        lock.release()
        for _ in range(times // coroutines):
            yield lock.acquire()
            lock.release()

    started = now()
    for one in [Coro(taking) for _ in range(coroutines)]:
        yield one.finish()
    return now() - started


def event(times, coro=None):
    def answering(coro=None):
        for _ in range(times):
            yield asked.wait()
            asked.clear()
            answered.set()

    asked, answered = Event(), Event()
    Coro(answering)
    started = now()
    for _ in range(times):
        asked.set()
        yield answered.wait()
        answered.clear()
    return now() - started


def queue(times, coro=None):
    def putting(coro=None):
        for value in range(times):
            yield items.put(value)

    items = Queue(1)
    Coro(putting)
    started = now()
    for _ in range(times):
        yield items.get()
    return now() - started


def broadcast(times, coro=None):
    def receiving(coro=None):
        nonlocal left
        while (yield coro.receive()) is not None:
            left -= 1

    channel, receivers = Channel('all'), [Coro(receiving) for _ in range(RECEIVERS)]
    for one in receivers:
        yield channel.subscribe(one)
    yield  # until they wait
    started = now()
    for value in range(times // RECEIVERS):
        left = RECEIVERS
        channel.send(value)
        while left:
            yield
    took = now() - started
    channel.send(None)
    for one in receivers:
        yield one.finish()
    channel.close()
    return took


def scope(times, coro=None):
    def child(coro=None):
        yield

    def body(children):
        for _ in range(CHILDREN):
            children.spawn(child)
        yield

    started = now()
    for _ in range(times // CHILDREN):
        yield open_scope(body)
    return now() - started


def thread(times, coro=None):
    with AsyncThreadPool(8) as pool:
        started = now()
        for _ in range(times):
            assert (yield pool.async_task(answer)) == 42
        return now() - started


def file(times, coro=None):
    with large_file() as name:
        started = now()
        for _ in range(times):
            with (yield AsyncFile.open(name)) as opened:
                assert len((yield opened.read())) == 1 << 20
        return now() - started


def process(times, coro=None):
    started = now()
    for _ in range(times):
        child = AsyncPipe(subprocess.Popen(PROGRAM, stdout=subprocess.PIPE))
        assert (yield child.communicate()) == (b'', None)
    return now() - started


if __name__ == '__main__':
    serve(
        lambda *turn: Coro(*turn).value(), switch, spawn, call, message, throw, lock, event,
        semaphore, queue, broadcast, scope, thread, file, process,
    )
