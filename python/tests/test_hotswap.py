"""Tests replacing a coroutine's function while it runs: `hot_swappable`, `hot_swap`."""

import gc
import warnings

import asyncoro
import pytest
from asyncoro import Coro
from harness import also_await, done, go, let_run


@also_await
@pytest.mark.no_task("a task cannot be swapped")
def test_hot_swap_at_once_keeps_messages_and_changes_the_name():
    def old(coro=None):
        coro.hot_swappable(True)
        yield coro.sleep()
        return "old"

    def new(n, coro=None):
        return n, (yield coro.receive(0, "nothing"))

    coro = Coro(old)
    let_run()
    coro.send("kept")
    assert coro.hot_swap(new, 5) == 0
    assert done(coro) == (5, "kept")
    assert coro.name == "new"


@also_await
@pytest.mark.no_task("a task cannot be swapped")
def test_the_old_function_is_asked_and_may_refuse():
    asked = []

    def old(coro=None):
        coro.hot_swappable(True)
        while True:
            try:
                return (yield coro.receive())
            except asyncoro.HotSwapException as request:
                asked.append(request.args[0].__name__)
                if len(asked) == 2:
                    raise

    def new(coro=None):
        return "new", (yield coro.receive(0))

    coro = Coro(old)
    let_run()
    coro.hot_swap(new)
    let_run()
    assert coro.is_alive() and coro.name == "old"
    coro.hot_swap(new)
    assert done(coro) == ("new", None)
    assert asked == ["new", "new"]


@also_await
@pytest.mark.no_task("a task cannot be swapped")
def test_a_request_waits_until_swapping_is_allowed():
    def old(coro=None):
        yield coro.receive()
        coro.hot_swappable(True)
        yield coro.sleep(5)
        return "old"

    def new(coro=None):
        yield coro.sleep(0)
        return "new"

    coro = Coro(old)
    let_run()
    assert coro.hot_swap(new) == 0
    let_run()
    assert coro.name == "old"
    coro.send("go")
    assert done(coro) == "new"


# Not for `async def`: to the scheduler, what awaits and what is awaited are one.
def test_a_request_waits_while_nested():
    def inner(coro):
        yield coro.receive()

    def old(coro=None):
        coro.hot_swappable(True)
        yield inner(coro)
        seen.append("inner is over")
        yield coro.sleep(5)

    def new(coro=None):
        yield coro.sleep(0)
        return "new"

    seen = []
    coro = Coro(old)
    let_run()
    coro.hot_swap(new)
    let_run()
    assert coro.name == "old"
    coro.send("go")
    assert done(coro) == "new"


def test_only_a_function_that_makes_coroutines_can_be_swapped_in():
    def old(coro=None):
        coro.hot_swappable(True)
        yield coro.receive()
        return "old"

    coro = Coro(old)
    let_run()
    assert coro.hot_swap(lambda: None) == -1
    coro.send(None)
    assert done(coro) == "old"


def test_hot_swappable_is_for_the_running_coroutine():
    def old(coro=None):
        yield coro.receive()

    coro = Coro(old)
    let_run()
    assert coro.hot_swappable(True) == -1
    coro.send(None)
    done(coro)


def test_a_coroutine_that_does_not_take_over_is_closed():
    def old(coro=None):
        coro.hot_swappable(True)
        try:
            yield coro.receive()
        except asyncoro.HotSwapException:
            return "refused"

    def never(coro=None):
        yield coro.receive()

    async def new():
        pass

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        coro = Coro(old)
        coro.hot_swap(new)
        assert done(coro) == "refused"
        coro = Coro(never)
        coro.hot_swap(new)
        coro.hot_swap(new)
        coro.send(None)
        done(coro)
        del coro
        gc.collect()
    assert [str(warning.message) for warning in seen if "await" in str(warning.message)] == []


def test_a_coroutine_that_is_terminated_lets_nobody_take_over():
    def old(coro=None):
        coro.hot_swappable(True)
        try:
            yield coro.sleep()
        finally:
            ending.append(1)
            yield coro.sleep()
            ending.append(2)

    def new():
        ending.append("new")
        yield

    def main(coro=None):
        other = Coro(old)
        yield coro.sleep(0)
        other.terminate()
        while not ending:
            yield coro.sleep(0)
        other.hot_swap(new)
        yield coro.sleep(0)
        other.resume()
        return (yield other.finish())

    ending = []
    assert go(main) is None
    assert ending == [1, 2]
