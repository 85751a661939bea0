"""Whoever waits for the end of a coroutine: names, memory, tracebacks, gather."""

import concurrent.futures
import functools
import gc
import sys
import threading
import traceback
import weakref

import pytest

import asyncoro
from harness import done, ended, go, sleeper

# ---- functions that share their code


def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return (yield from function(*args, **kwargs))

    return wrapper


@traced
def alpha():
    yield asyncoro.sleep(0)


@traced
def beta():
    yield asyncoro.sleep(0)


def test_functions_of_one_decorator_have_their_own_names():
    coros = [asyncoro.Coro(function) for function in (alpha, beta, alpha, beta)]
    assert [coro.name for coro in coros] == ["alpha", "beta", "alpha", "beta"]
    for coro in coros:
        done(coro)
    alpha.__name__ = "gamma"
    try:
        assert asyncoro.Coro(alpha).name == "gamma"
    finally:
        alpha.__name__ = "alpha"


def test_a_name_of_a_class_of_its_own_runs_none_of_its_code():
    class Name(str):
        def __str__(self):
            raise AssertionError("shown")

        __repr__ = __format__ = __str__

    def plain():
        yield asyncoro.sleep(0)

    class Callable:
        __code__ = plain.__code__
        __name__ = Name("called")
        __defaults__ = None

        def __call__(self):
            return plain()

    plain.__name__ = Name("plain")
    for function, name in [(plain, "plain"), (Callable(), "called")]:
        coro = asyncoro.Coro(function)
        assert coro.name == name and type(coro.name) is str
        assert repr(coro).startswith("<Coro %s/" % name)
        done(coro)


def test_functions_of_one_factory_have_their_own_defaults():
    def only_named(default):
        def made(*, coro=default):
            yield asyncoro.sleep(0)
            return coro

        return made

    def positional(*defaults):
        def made(first=None, task=None):
            yield asyncoro.sleep(0)
            return first, task

        made.__defaults__ = defaults or None
        return made

    for _ in range(2):
        coro = asyncoro.Coro(only_named(None))
        assert done(coro) is coro
        assert done(asyncoro.Coro(only_named(5))) == 5
        coro = asyncoro.Coro(positional(1, 2))
        assert done(coro) == (1, coro)
        coro = asyncoro.Coro(positional(2), 7)
        assert done(coro) == (7, coro)
        # Without a default it is a parameter like any other.
        assert done(asyncoro.Coro(positional(), 7, 8)) == (7, 8)


# ---- memory


def left_by(call, times):
    """Returns how many blocks of memory each call leaves."""
    for _ in range(50):
        call()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(times):
        call()
    gc.collect()
    return (sys.getallocatedblocks() - before) / times


def coroutine():
    return asyncoro.Coro(sleeper)


def raises(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind}")


@pytest.mark.parametrize(
    "wait",
    [
        lambda coro: coro.value(0),
        lambda coro: raises(TimeoutError, lambda: coro.result(0)),
        lambda coro: raises(
            concurrent.futures.TimeoutError, lambda: coro.future().result(0)
        ),
        lambda coro: asyncoro.AsynCoro.instance().join(timeout=0),
    ],
    ids=["value", "result", "future", "join"],
)
def test_a_wait_of_a_thread_that_times_out_leaves_nothing(wait):
    coro = coroutine()
    try:
        # A lock, a future, a callback is one at least; other threads move the count a little.
        assert left_by(lambda: wait(coro), 1000) < 0.5
    finally:
        coro.terminate()
        done(coro)


def test_a_monitor_that_is_added_twice_is_told_once():
    def monitors(observed, coro=None):
        for _ in range(3):
            yield coro.monitor(observed)
        observed.notify(coro)
        observed.terminate()
        first = yield coro.receive()
        second = yield coro.receive(timeout=0)
        return first.info is observed, second

    assert go(monitors, coroutine()) == (True, None)


def test_waits_for_a_future_that_time_out_leave_nothing():
    future = concurrent.futures.Future()

    async def main():
        async def once():
            with pytest.raises(TimeoutError):
                await asyncoro.timeout(0, asyncoro.wait_future(future))

        for _ in range(20):
            await once()
        callbacks = len(future._done_callbacks)
        waiting = [asyncoro.Coro(waits) for _ in range(3)]
        await asyncoro.sleep(0)
        future.set_result("value")
        return callbacks, [await each for each in waiting]

    async def waits():
        return await asyncoro.wait_future(future)

    assert go(main) == (1, ["value"] * 3)
    assert go(waits) == "value"


def test_futures_of_one_coroutine_are_one():
    coro = coroutine()
    future = coro.future()
    assert coro.future() is future and not future.done()
    coro.terminate()
    with pytest.raises(asyncoro.Terminated):
        future.result(10)
    over = ended()
    assert over.future().result(10) is None
    dead = weakref.ref(coro)
    del coro, future
    for _ in range(100):
        gc.collect()
        if dead() is None:
            break
        threading.Event().wait(0.01)
    assert dead() is None


# ---- tracebacks


async def fails():
    raise KeyError("mine")


def depth(call):
    try:
        call()
    except KeyError as error:
        return len(traceback.extract_tb(error.__traceback__))
    raise AssertionError("nothing was raised")


def test_a_traceback_does_not_grow_with_each_raise():
    coro = asyncoro.Coro(fails)
    depths = {depth(lambda: coro.result(10)) for _ in range(20)}
    assert len(depths) == 1

    async def awaits():
        try:
            await coro
        except KeyError as error:
            return len(traceback.extract_tb(error.__traceback__))

    assert len({go(awaits) for _ in range(20)}) == 1
    status = coro.value()
    assert status.value.count("\n") == coro.value().value.count("\n")
    assert "in fails" in status.value and "depth" not in status.value
    assert "in fails" in "".join(traceback.format_tb(coro.future().exception().__traceback__))


def test_a_traceback_that_is_passed_on_shows_who_has_passed_it_on():
    async def outer(inner):
        await inner

    inner = asyncoro.Coro(fails)
    outer_coro = asyncoro.Coro(outer, inner)

    def names():
        try:
            outer_coro.result(10)
        except KeyError as error:
            shown = traceback.extract_tb(error.__traceback__)
            # Some versions of CPython await through a generator of the package.
            return [frame.name for frame in shown if frame.name != "awaiting"]

    first = names()
    assert first[-2:] == ["outer", "fails"]
    depth(lambda: inner.result(10))
    assert names() == first


# ---- gather


def test_gather_raises_when_the_others_have_ended():
    log = []

    async def works(name):
        try:
            await asyncoro.sleep(100)
        finally:
            log.append(name)

    async def fails_later():
        await asyncoro.sleep(0.01)
        raise KeyError("mine")

    async def main():
        others = [asyncoro.Coro(works, name) for name in "ab"]
        with pytest.raises(KeyError):
            await asyncoro.gather(*others, fails_later())
        return [other.is_alive() for other in others], sorted(log)

    assert go(main) == ([False, False], ["a", "b"])


def test_gather_of_what_is_no_coroutine_ends_those_that_have_begun():
    log = []

    async def works():
        log.append("begun")
        try:
            await asyncoro.sleep(100)
        finally:
            log.append("ended")

    async def main():
        work = asyncoro.Coro(works)
        await asyncoro.sleep(0)
        with pytest.raises(Exception, match="is not callable"):
            await asyncoro.gather(work, 42)
        return work.is_alive(), log

    assert go(main) == (False, ["begun", "ended"])


@pytest.mark.parametrize("how", ["terminate", "throw", "timeout"])
@pytest.mark.no_task("a task can only be cancelled")
def test_gather_that_is_ended_ends_what_it_gathers(how):
    log = []

    async def works(name):
        try:
            await asyncoro.sleep(100)
        finally:
            log.append(name)

    async def gathers(others):
        try:
            await asyncoro.gather(*others)
        except KeyError:
            return sorted(log)

    async def main():
        others = [asyncoro.Coro(works, name) for name in "ab"]
        coro = asyncoro.Coro(gathers, others)
        await asyncoro.sleep(0)
        if how == "timeout":
            with pytest.raises(TimeoutError):
                await asyncoro.timeout(0.01, asyncoro.gather(*others))
            assert sorted(log) == ["a", "b"]
        elif how == "throw":
            coro.throw(KeyError("thrown"))
            assert await coro == ["a", "b"]
        else:
            coro.terminate()
            with pytest.raises(asyncoro.Terminated):
                await coro
            for other in others:
                with pytest.raises(asyncoro.Terminated):
                    await other
        return [other.is_alive() for other in others], sorted(log)

    assert go(main) == ([False, False], ["a", "b"])


def test_gather_gives_values_in_order_also_of_what_has_ended():
    async def work(value, seconds):
        await asyncoro.sleep(seconds)
        return value

    async def main():
        over = asyncoro.Coro(work, 0, 0)
        await over
        return await asyncoro.gather(over, work(1, 0.02), asyncoro.Coro(work, 2, 0), over)

    assert go(main) == [0, 1, 2, 0]
    assert go(lambda: (yield asyncoro.gather())) == []
