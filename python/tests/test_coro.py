"""Tests coroutines, row by row of the reference's table (section 2): making one, sleeping,
messages. Their end is in test_ending.py, `hot_swap` in test_hotswap.py.
"""

import threading
import time

import pytest

import asyncoro
from asyncoro import AsynCoro, Coro
from harness import also_await, done, ended, go, run_program, sleeper


# ---- making one


def test_the_names_of_asyncoro_and_of_pycos_are_one_class_each():
    assert asyncoro.Coro is asyncoro.Task
    assert asyncoro.AsynCoro is asyncoro.Pycos


@also_await
@pytest.mark.no_task("a task has a name of its own")
def test_a_coroutine_knows_its_name_and_itself():
    def named(coro=None):
        yield coro.sleep(0)
        return coro, AsynCoro.cur_coro(), asyncoro.Pycos.cur_task()

    coro = Coro(named)
    assert done(coro) == (coro, coro, coro)
    assert coro.name == "named"
    assert str(coro).startswith("named/")
    assert AsynCoro.cur_coro() is None
    assert len({coro, coro}) == 1 and coro != ended()


@also_await
def test_arguments_in_both_forms():
    def main(a, b=2, *, c=3, coro=None):
        yield coro.sleep(0)
        return a, b, c

    assert done(Coro(main, 1)) == (1, 2, 3)
    assert done(Coro(main, 1, b=5, c=6)) == (1, 5, 6)
    assert done(Coro(target=main, args=(7,), kwargs={"b": 8})) == (7, 8, 3)
    with pytest.raises(TypeError, match="needs a generator function"):
        Coro(args=(7,))


def test_many_arguments_in_each_way():
    def main(*args, coro=None, **kwargs):
        yield AsynCoro.cur_coro().sleep(0)
        return args, kwargs

    class Thing:
        def method(self, *args, coro=None, **kwargs):
            return (yield main(*args, **kwargs))

    for count in (0, 1, 7, 8, 9, 40):
        args, kwargs = tuple(range(count)), {f"n{number}": number for number in range(count)}
        assert done(Coro(main, *args)) == (args, {})
        assert done(Coro(main, **kwargs)) == ((), kwargs)
        assert done(Coro(main, *args, **kwargs)) == (args, kwargs)
        assert done(Coro(Thing().method, *args, **kwargs)) == (args, kwargs)


def test_a_callable_that_gives_a_generator_is_taken():
    class Making:
        def __call__(self, n, more=0):
            return sleeping(n, more)

    def sleeping(n, more):
        yield AsynCoro.cur_coro().sleep(0)
        return n, more

    assert done(Coro(Making(), 1, more=2)) == (1, 2)
    assert done(Coro(sleeping(3, 4))) == (3, 4)
    with pytest.raises(TypeError, match="no arguments any more"):
        Coro(sleeping(3, 4), 5)


@also_await
@pytest.mark.no_task("a task has a name of its own")
def test_a_class_of_ones_own():
    class Worker(Coro):
        def __init__(self, n):
            self.n = n
            super().__init__(self.work, 2)

        def work(self, times, coro=None):
            yield self.sleep(0)
            return self is coro, self.n * times

    worker = Worker(21)
    assert type(worker) is Worker and worker.name == "work"
    assert done(worker) == (True, 42)
    with pytest.raises(RuntimeError, match="made already"):
        Coro.__init__(worker, sleeper)


def test_one_that_has_nothing_to_run_is_over():
    class Forgetful(Coro):
        def __init__(self):
            pass

    coro = Forgetful()
    assert not coro.is_alive() and coro.value() is None
    assert (coro.send(1), coro.resume(), coro.terminate()) == (-1, -1, -1)
    with pytest.raises(Exception, match="is not a generator"):
        Coro.__init__(coro, lambda: None)
    assert not coro.is_alive()


@also_await
def test_the_injected_parameter():
    def by_coro(coro=None):
        yield coro.sleep(0)
        return coro

    def by_task(task=None):
        yield task.sleep(0)
        return task

    def any_default(n, coro=17):
        yield coro.sleep(0)
        return coro

    def keyword_only(*, task=None):
        yield task.sleep(0)
        return task

    def without():
        yield asyncoro.AsynCoro.cur_coro().sleep(0)
        return AsynCoro.cur_coro()

    for function, arguments in (
        (by_coro, ()), (by_task, ()), (any_default, (1,)), (keyword_only, ()), (without, ()),
    ):
        coro = Coro(function, *arguments)
        assert done(coro) is coro


def test_a_parameter_without_a_default_is_not_injected():
    def required(coro):
        yield coro.sleep(0)

    with pytest.raises(TypeError):
        Coro(required)


def test_passing_the_injected_parameter_is_an_error():
    with pytest.raises(TypeError, match="multiple values"):
        Coro(sleeper, 1)


@pytest.mark.parametrize("wrong", [5, None, "text", lambda: None])
def test_only_functions_that_make_coroutines_are_taken(wrong):
    with pytest.raises(Exception):
        Coro(wrong)


@also_await
def test_a_bound_method_is_taken():
    class Thing:
        def main(self, n, coro=None):
            yield coro.sleep(0)
            return self, n

    thing = Thing()
    assert done(Coro(thing.main, 3)) == (thing, 3)


@also_await
def test_coroutines_start_in_order():
    order = []

    def main(n, coro=None):
        order.append(n)
        yield coro.sleep(0)

    def start(coro=None):
        coros = [Coro(main, n) for n in range(100)]
        for other in coros:
            yield other.finish()

    go(start)
    assert order == list(range(100))


# ---- sleep, resume


@also_await
def test_sleep_ends_with_its_alarm_value_or_with_what_resume_gives():
    def main(coro=None):
        alarm = yield coro.suspend(0.01, "alarm")
        now = yield coro.sleep(-1, "now")
        return alarm, now, (yield coro.sleep()), (yield coro.sleep(30, "never"))

    coro = Coro(main)
    time.sleep(0.2)
    assert coro.resume("first") == 0
    time.sleep(0.1)
    assert coro.wakeup("second") == 0
    assert done(coro) == ("alarm", "now", "first", "second")


def test_sleep_is_for_oneself_and_takes_a_number():
    def main(coro=None):
        other = Coro(sleeper)
        of_other = yield other.sleep(0.01)
        of_text = yield coro.sleep("soon")
        other.terminate()
        return of_other, of_text

    assert go(main) == (-1, -1)


@also_await
def test_resume_is_lost_unless_suspended():
    def main(coro=None):
        return (yield coro.receive(5)), (yield coro.sleep(0.1, "alarm"))

    coro = Coro(main)
    time.sleep(0.1)
    assert coro.resume("lost") == 0
    coro.send("message")
    assert done(coro) == ("message", "alarm")
    assert coro.resume(1) == -1


# ---- messages


@also_await
def test_messages_are_received_in_the_order_of_sending():
    def main(coro=None):
        messages = []
        for _ in range(4):
            messages.append((yield coro.receive(5, "none")))
        messages.append((yield coro.recv(0, "empty")))
        return messages

    coro = Coro(main)
    assert [coro.send(message) for message in (1, None, "three", (4,))] == [0] * 4
    assert done(coro) == [1, None, "three", (4,), "empty"]
    assert coro.send(5) == -1


@also_await
def test_a_message_wakes_a_receiver_with_a_timeout():
    def main(coro=None):
        return (yield coro.receive(10, "alarm"))

    coro = Coro(main)
    time.sleep(0.1)
    coro.send("hello")
    assert done(coro) == "hello"


@also_await
def test_arguments_by_name_and_by_place():
    def main(coro=None):
        none = [
            (yield coro.receive(0)),
            (yield coro.receive(timeout=0)),
            (yield coro.receive(0, "late")),
            (yield coro.receive(timeout=0, alarm_value="late")),
        ]
        coro.send("first")
        coro.send(message="second")
        return none, (yield coro.receive()), (yield coro.receive(None))

    assert go(main) == ([None, None, "late", "late"], "first", "second")
    for wrong in ((), (1, 2)):
        with pytest.raises(TypeError, match="send"):
            ended().send(*wrong)


def test_receive_from_a_thread_is_refused_and_changes_nothing():
    def main(coro=None):
        got = yield coro.receive()
        return got, (yield coro.sleep())

    coro = Coro(main)
    time.sleep(0.05)
    for arguments in ((), (1,), (0,)):
        with pytest.raises(RuntimeError, match="is for coroutines"):
            coro.receive(*arguments)
    coro.send("message")
    time.sleep(0.05)
    coro.resume("given")
    with pytest.raises(RuntimeError, match="is for coroutines"):
        coro.receive(1)
    assert done(coro) == ("message", "given")


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_no_message_is_lost_to_an_exception_before_it_is_fetched():
    def receiving(coro=None):
        got = []
        try:
            while True:
                got.append((yield coro.receive()))
        except ValueError:
            pass
        while True:
            message = yield coro.receive(0)
            if message is None:
                return got
            got.append(message)

    def main(coro=None):
        other = Coro(receiving)
        for number in range(1000):
            other.send(number)
        # After so many at once the others run, between a call and its fetch.
        yield coro.sleep(0)
        other.throw(ValueError())
        return (yield other.finish())

    assert go(main) == list(range(1000))


@also_await
def test_deliver_says_whether_it_arrived():
    def receive(coro=None):
        return (yield coro.receive())

    def main(coro=None):
        receiver = Coro(receive)
        first = yield receiver.deliver("parcel", 5)
        value = yield receiver.finish()
        return first, value, (yield receiver.deliver("late", 5))

    assert go(main) == (1, "parcel", -1)


def test_send_may_be_yielded():
    def main(coro=None):
        status = yield coro.send("note")
        return status, (yield coro.receive(0))

    assert go(main) == (0, "note")


@also_await
def test_two_coroutines_play_ping_pong():
    def pong(coro=None):
        while True:
            sender, n = yield coro.receive()
            if n is None:
                return "bye"
            sender.send(n + 1)

    def ping(coro=None):
        other = Coro(pong)
        n = 0
        while n < 1000:
            other.send((coro, n))
            n = yield coro.receive()
        other.send((coro, None))
        return n, (yield other.finish())

    assert go(ping) == (1000, "bye")


# ---- the scheduler


@pytest.mark.own("asks for its thread")
def test_the_scheduler_is_one_and_lives_in_a_thread():
    ended()
    scheduler = AsynCoro.instance()
    assert scheduler is AsynCoro() is asyncoro.Pycos.instance()
    assert scheduler.is_alive()

    def main(coro=None):
        yield coro.sleep(0)
        return AsynCoro.scheduler(), threading.current_thread()

    seen, thread = go(main)
    assert seen is scheduler and thread is not threading.current_thread()
    assert AsynCoro.scheduler() is None


def test_a_thread_that_waits_is_told_even_while_the_coroutine_ends():
    """The coroutine of a fresh process ends while the thread makes its lock to wait on."""
    program = run_program(
        "def work(coro=None):\n"
        "    yield coro.receive()\n"
        "coros = [asyncoro.Coro(work) for _ in range(200)]\n"
        "for coro in coros:\n"
        "    coro.send(None)\n"
        "    coro.value()\n"
        "print('told')\n"
    )
    assert program.stdout == "told\n"


def test_one_that_is_made_while_the_interpreter_ends_does_no_harm():
    program = run_program(
        "def work(coro=None):\n"
        "    yield coro.sleep(0)\n"
        "class Late:\n"
        "    def __del__(self, Coro=asyncoro.Coro, work=work):\n"
        "        try:\n"
        "            Coro(work)\n"
        "        except RuntimeError:\n"
        "            pass\n"
        "late = sys.late = Late()\n"
        "asyncoro.Coro(work).value()\n"
    )
    assert program.process.returncode == 0, program.stderr
