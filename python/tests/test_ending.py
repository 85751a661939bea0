"""Tests how a coroutine ends and who is told: throw, terminate, value, daemons, monitors."""

import threading
import time

import pytest

import asyncoro
from asyncoro import Coro
from harness import also_await, done, ended, go, let_run, sleeper


# ---- throw, terminate


@also_await
@pytest.mark.parametrize("form", ["exception", "type and value", "with traceback", "tuple"])
def test_throw_raises_at_the_pending_yield(form):
    def main(coro=None):
        try:
            yield coro.sleep()
        except KeyError as error:
            return error.args

    coro = Coro(main)
    let_run()
    arguments = {
        "exception": (KeyError("k"),),
        "type and value": (KeyError, KeyError("k")),
        "with traceback": (KeyError, KeyError("k"), None),
        "tuple": ((KeyError, KeyError("k")),),
    }[form]
    assert coro.throw(*arguments) == 0
    assert done(coro) == ("k",)
    assert coro.throw(KeyError("late")) == -1


@also_await
def test_throw_of_nothing_and_before_the_start():
    ran = []

    def late(coro=None):
        ran.append(True)
        yield coro.sleep(0)

    def main(coro=None):
        other = Coro(late)
        statuses = other.throw(), other.throw(KeyError("early"))
        yield other.finish(5)
        return statuses, other.is_alive()

    assert go(main) == ((-1, 0), False)
    assert not ran


@also_await
def test_an_uncaught_throw_is_a_failure():
    def main(coro=None):
        yield coro.sleep()

    coro = Coro(main)
    let_run()
    coro.throw(LookupError("gone"))
    status = coro.value(5)
    assert isinstance(status, asyncoro.MonitorStatus) and status.type is LookupError


@also_await
def test_terminate_of_oneself_takes_effect_at_the_next_wait():
    seen = []

    def main(coro=None):
        status = coro.terminate()
        seen.append(status)
        try:
            yield coro.sleep(0)
            seen.append("after")
        finally:
            seen.append("finally")

    assert go(main) is None
    assert seen == [0, "finally"]


def test_a_yield_in_cleanup_is_ignored():
    def main(coro=None):
        try:
            yield coro.sleep()
        finally:
            yield coro.sleep(30)

    coro = Coro(main)
    let_run()
    assert coro.terminate() == 0
    assert coro.value(5) is None
    assert not coro.is_alive()


@also_await
def test_terminate_before_the_start_and_after_the_end():
    ran = []

    def late(coro=None):
        ran.append(True)
        yield coro.sleep(0)

    def main(coro=None):
        other = Coro(late)
        status = other.terminate()
        yield other.finish(5)
        return status, other.is_alive()

    assert go(main) == (0, False)
    assert not ran
    assert ended().terminate() == -1


# ---- value, finish, is_alive


@also_await
def test_value_is_for_threads_and_may_be_asked_again():
    def main(coro=None):
        yield coro.sleep(0.3)
        return "value"

    coro = Coro(main)
    assert coro.is_alive()
    assert coro.value(0.05) is None
    assert coro.value(5) == "value"
    assert coro.value() == "value"
    assert not coro.is_alive()


@also_await
def test_finish_is_for_coroutines_and_may_be_a_call():
    def slow(coro=None):
        yield coro.sleep(0.3)
        return "value"

    def main(coro=None):
        other = Coro(slow)
        early = yield other.finish(0.05)
        called = yield other()
        return early, called, (yield other.finish())

    assert go(main) == (None, "value", "value")


@also_await
def test_a_thread_and_two_coroutines_wait_for_the_same_value():
    def slow(coro=None):
        yield coro.sleep(0.3)
        return "value"

    def wait(other, coro=None):
        return (yield other.finish())

    coro = Coro(slow)
    waiters = [Coro(wait, coro) for _ in range(2)]
    let_run()
    assert coro.value(5) == "value"
    assert [done(waiter) for waiter in waiters] == ["value"] * 2


# ---- daemons, monitors


def test_set_daemon_is_for_the_running_coroutine():
    def main(coro=None):
        yield coro.sleep(0)
        return coro.set_daemon(), coro.set_daemon(False)

    assert go(main) == (0, 0)
    other = Coro(sleeper)
    let_run()
    assert other.set_daemon() == -1
    other.terminate()


@also_await
@pytest.mark.parametrize("end", ["return", "raise", "terminate"])
@pytest.mark.parametrize("way", ["monitor", "notify"])
def test_a_monitor_is_told_of_the_end(end, way):
    def watched(coro=None):
        yield coro.receive()
        if end == "raise":
            raise ValueError("bad")
        return 17

    def main(coro=None):
        other = Coro(watched)
        if way == "monitor":
            status = yield coro.monitor(other)
        else:
            status = other.notify(coro)
        yield coro.sleep(0.02)
        if end == "terminate":
            other.terminate()
        else:
            other.send("go")
        return status, other, (yield coro.receive(5))

    status, other, told = go(main)
    assert status == 0
    assert isinstance(told, asyncoro.MonitorStatus) and told.info is other
    if end == "raise":
        assert told.type is ValueError and "bad" in str(told.value)
    else:
        assert told.type is StopIteration
        assert told.value == (17 if end == "return" else None)


@also_await
def test_nobody_monitors_the_dead():
    dead = ended()

    def main(coro=None):
        return (yield coro.monitor(dead))

    assert go(main) == -1


def test_a_thread_that_asks_while_a_failure_is_being_logged_is_told(monkeypatch):
    logging = threading.Event()

    def slow(label, error):
        logging.set()
        time.sleep(0.3)

    def fails(coro=None):
        yield
        raise ValueError("logged slowly")

    monkeypatch.setattr(asyncoro.logger, "_report", slow)
    coro = Coro(fails)
    assert logging.wait(5)
    # Without a timeout: a thread that is not told waits for ever.
    assert coro.value().type is ValueError


# ---- circles


@also_await
@pytest.mark.parametrize("length", [1, 2, 3, 50])
@pytest.mark.parametrize("way", ["finish", "await"])
def test_a_circle_of_coroutines_that_wait_for_each_other_is_told_at_once(length, way):
    coros = []

    async def awaits(other):
        return await other

    def link(place, coro=None):
        while len(coros) < length:
            yield coro.sleep(0.001)
        other = coros[(place + 1) % length]
        try:
            if way == "finish":
                value = yield other.finish()
            else:
                value = yield awaits(other)
            return value
        except RuntimeError as error:
            return "circle", str(error)

    for place in range(length):
        coros.append(Coro(link, place))
    for coro in coros:
        kind, text = done(coro)
        assert kind == "circle" and text.count("waits for") == length


@also_await
def test_waits_that_end_or_have_a_limit_make_no_circle():
    def other(first, coro=None):
        ended = yield first.finish(0.01)
        return ended

    def main(coro=None):
        limited = Coro(other, coro)
        yield limited.finish()
        waiting = Coro(sleeper)
        yield waiting.finish(0.001)
        stopped = Coro(other, waiting)
        yield stopped.finish()
        waiting.terminate()
        yield waiting.finish()
        return "done"

    assert go(main) == "done"


@also_await
def test_a_wait_that_was_given_up_is_no_link_of_a_circle():
    def first(coro=None):
        second = Coro(waits_for, coro)
        yield coro.receive()
        try:
            with asyncoro.timeout(0.01):
                yield sleeping.finish()
        except TimeoutError:
            pass
        sleeping.terminate()
        return (yield sleeping.finish()), second

    def waits_for(other, coro=None):
        other.send("go")
        yield other.finish()

    sleeping = Coro(sleeper)
    value, second = go(first)
    assert value is None
    done(second)
