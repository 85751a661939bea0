"""pycos: generators and `yield`, its own scheduler."""

from pycos import AsyncThreadPool, Channel, Event, Lock, Semaphore, Task, logger

from turns import RECEIVERS, Stop, answer, now, serve


def switch(times, coroutines, task=None):
    def switching(task=None):
        yield  # until all of them have begun
        clock.append(now())
        for _ in range(times // coroutines):
            yield
        clock.append(now())

    clock = []
    for one in [Task(switching) for _ in range(coroutines)]:
        yield one.finish()
    return max(clock) - min(clock)


def spawn(times, task=None):
    def one(task=None):
        nonlocal left
        left -= 1
        yield from ()
    left, started = times, now()
    for _ in range(times):
        Task(one)
    while left:
        yield
    return now() - started


def call(times, task=None):
    def called(value):
        return value
        yield

    started = now()
    for value in range(times):
        yield called(value)
    return now() - started


def message(times, task=None):
    def answering(asking, task=None):
        for _ in range(times):
            asking.send((yield task.receive()))

    other = Task(answering, task)
    started = now()
    for value in range(times):
        other.send(value)
        yield task.receive()
    return now() - started


def throw(times, task=None):
    def waiting(task=None):
        nonlocal caught
        while caught < times:
            try:
                yield task.suspend()
            except Stop:
                caught += 1

    caught, other = 0, Task(waiting)
    yield task.sleep(0.001)  # until it waits
    started = now()
    for value in range(times):
        other.throw(Stop())
        while caught == value:
            yield
    return now() - started


def lock(times, task=None):
    return (yield hand_over(Lock(), 2, times))


def semaphore(times, task=None):
    return (yield hand_over(Semaphore(2), 4, times))


def hand_over(lock, tasks, times):
    def taking(task=None):
        yield lock.acquire()
        yield  # until the others wait
        lock.release()
        for _ in range(times // tasks):
            yield lock.acquire()
            lock.release()

    started = now()
    for one in [Task(taking) for _ in range(tasks)]:
        yield one.finish()
    return now() - started


def event(times, task=None):
    def answering(task=None):
        for _ in range(times):
            yield asked.wait()
            asked.clear()
            answered.set()

    asked, answered = Event(), Event()
    Task(answering)
    started = now()
    for _ in range(times):
        asked.set()
        yield answered.wait()
        answered.clear()
    return now() - started


def broadcast(times, task=None):
    def receiving(task=None):
        nonlocal left
        while (yield task.receive()) is not None:
            left -= 1

    channel, receivers = Channel('all'), [Task(receiving) for _ in range(RECEIVERS)]
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


def thread(times, task=None):
    pool = AsyncThreadPool(8)
    started = now()
    for _ in range(times):
        assert (yield pool.async_task(answer)) == 42
    took = now() - started
    pool.terminate()
    return took


if __name__ == '__main__':
    logger.setLevel(logger.ERROR)
    serve(
        lambda *turn: Task(*turn).value(), switch, spawn, call, message, throw, lock, event,
        semaphore, broadcast, thread,
    )
