"""pycos: generators and `yield`, its own scheduler."""

from pycos import Task, logger

from turns import Stop, now, serve


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


if __name__ == '__main__':
    logger.setLevel(logger.ERROR)
    serve(lambda *turn: Task(*turn).value(), switch, spawn, call, message, throw)
