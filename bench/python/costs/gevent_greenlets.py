"""gevent: greenlets, queues, an exception for a greenlet that waits. There is no call to await."""

import gevent
from gevent.queue import Queue

from turns import Stop, now, serve


def switch(times, coroutines):
    def switching():
        gevent.sleep(0)  # until all of them have begun
        clock.append(now())
        for _ in range(times // coroutines):
            gevent.sleep(0)
        clock.append(now())

    clock = []
    gevent.joinall([gevent.spawn(switching) for _ in range(coroutines)])
    return max(clock) - min(clock)


def spawn(times):
    def one():
        nonlocal left
        left -= 1

    left, started = times, now()
    for _ in range(times):
        gevent.spawn(one)
    while left:
        gevent.sleep(0)
    return now() - started


def message(times):
    def answering():
        for _ in range(times):
            answers.put(questions.get())

    questions, answers = Queue(), Queue()
    gevent.spawn(answering)
    started = now()
    for value in range(times):
        questions.put(value)
        answers.get()
    return now() - started


def throw(times):
    def waiting():
        nonlocal caught
        while caught < times:
            try:
                gevent.get_hub().switch()
            except Stop:
                caught += 1

    caught, other = 0, gevent.spawn(waiting)
    gevent.sleep(0)
    gevent.sleep(0)  # until it waits
    started = now()
    for value in range(times):
        gevent.kill(other, Stop)
        while caught == value:
            gevent.sleep(0)
    return now() - started


if __name__ == '__main__':
    serve(lambda operation, *numbers: operation(*numbers), switch, spawn, message, throw)
