"""Tests the scenarios S19 to S23: coroutines."""

import time

import asyncoro
import pytest
from asyncoro import Coro
from harness import also_await, done, go


@also_await
def test_s19_nested_coroutines_and_their_exceptions():
    def five():
        yield from inner()
        return 5

    def inner(coro=None):
        yield asyncoro.AsynCoro.cur_coro().sleep(0)

    def broken():
        yield from inner()
        raise KeyError("nested")

    def main(coro=None):
        first = yield five()
        second = yield from five()
        try:
            yield broken()
        except KeyError as error:
            return first, second, error.args

    assert go(main) == (5, 5, ("nested",))


def test_s19_a_plain_value_comes_back():
    values = ["plain", 5, (1, 2), [3], None]

    def main(coro=None):
        back = []
        for value in values:
            back.append((yield value))
        return back

    assert go(main) == values


def test_s20_what_was_yielded_last_is_not_the_value():
    def main(coro=None):
        yield 42

    assert go(main) is None


@also_await
def test_s21_an_exception_ends_one_coroutine_only():
    def bad(coro=None):
        yield coro.sleep(0)
        raise ValueError("on purpose")

    def good(coro=None):
        yield coro.sleep(0.1)
        return "good"

    failing, going = Coro(bad), Coro(good)
    status = failing.value(5)
    assert isinstance(status, asyncoro.MonitorStatus)
    assert status.info is failing and status.type is ValueError
    assert "on purpose" in str(status.value)
    assert not failing.is_alive()
    assert done(going) == "good"


@also_await
def test_s22_sleep_and_receive():
    def main(coro=None):
        alarm = yield coro.sleep(0.1, "al")
        none = yield coro.receive(0.1, "none")
        coro.send(1)
        coro.send(2)
        messages = []
        for _ in range(3):
            messages.append((yield coro.receive(0, "empty")))
        return alarm, none, messages, (yield coro.sleep(0, "zero"))

    assert go(main) == ("al", "none", [1, 2, "empty"], "zero")


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_s23_terminate_of_a_sleeper():
    seen = []

    def main(coro=None):
        try:
            yield coro.sleep(30)
        except GeneratorExit:
            seen.append("GeneratorExit")
            raise
        finally:
            seen.append("finally")

    coro = Coro(main)
    time.sleep(0.1)
    assert coro.terminate() == 0
    assert coro.value(5) is None
    assert seen == ["GeneratorExit", "finally"]
    assert not coro.is_alive()
