"""Each coroutine has a context of its own (PEP 567), which `decimal`, too, is in."""

import asyncio
import contextvars
import decimal
import gc

import pytest

import asyncoro
from asyncoro import Coro
from harness import also_await, done, go

request = contextvars.ContextVar("request", default="none")


@also_await
def test_what_a_coroutine_sets_no_other_sees():
    def handler(name, seconds, coro=None):
        request.set(name)
        yield coro.sleep(seconds)
        return request.get()

    def main(coro=None):
        names = yield asyncoro.gather(Coro(handler, "a", 0.02), Coro(handler, "b", 0.01))
        return names, request.get()

    assert go(main) == (["a", "b"], "none")


@also_await
def test_a_coroutine_starts_with_the_context_of_whoever_makes_it():
    def child(coro=None):
        before = request.get()
        request.set("child")
        yield coro.sleep(0)
        return before, request.get()

    def main(coro=None):
        request.set("parent")
        made = Coro(child)
        request.set("later")
        return (yield made.finish()), request.get()

    assert go(main) == (("parent", "child"), "later")

    def in_a_thread():
        request.set("thread")
        return go(child_of_thread)

    assert contextvars.copy_context().run(in_a_thread) == "thread"
    assert go(child_of_thread) == "none"


def child_of_thread(coro=None):
    yield coro.sleep(0)
    return request.get()


@also_await
def test_decimal_has_its_precision_in_each_coroutine():
    def precise(coro=None):
        with decimal.localcontext() as context:
            context.prec = 3
            yield coro.sleep(0.02)
            return decimal.getcontext().prec

    def other(coro=None):
        yield coro.sleep(0.01)
        return decimal.getcontext().prec

    def main(coro=None):
        return (yield asyncoro.gather(precise, other))

    assert go(main) == [3, 28]


@also_await
@pytest.mark.parametrize("end", ["terminate", "throw", "drop"])
@pytest.mark.no_task("a task can only be cancelled")
def test_a_coroutine_is_ended_in_its_own_context(end):
    seen = []

    def victim(coro=None):
        request.set("victim")
        try:
            yield coro.sleep()
        finally:
            seen.append(request.get())

    def main(coro=None):
        request.set("main")
        made = Coro(victim)
        yield coro.sleep(0)
        if end == "throw":
            made.throw(asyncoro.Terminated())
        else:
            made.terminate()
        if end == "drop":
            del made
            gc.collect()
        yield coro.sleep(0.01)
        return request.get()

    logger_level = asyncoro.logger.level
    asyncoro.logger.setLevel("critical")
    try:
        assert go(main) == "main"
    finally:
        asyncoro.logger.setLevel(logger_level)
    assert seen == ["victim"]


def test_callbacks_of_the_end_and_a_thread_see_their_own():
    seen = []

    def main(coro=None):
        request.set("main")
        yield coro.sleep(0.01)

    made = Coro(main)
    made.future().add_done_callback(lambda _: seen.append("called"))
    done(made)
    assert request.get() == "none" and seen == ["called"]


def test_beside_asyncio_both_have_theirs():
    async def ours():
        request.set("ours")
        await asyncoro.sleep(0.01)
        return request.get()

    async def theirs():
        request.set("theirs")
        got = await asyncio.wrap_future(Coro(ours).future())
        return got, request.get()

    assert asyncio.run(theirs()) == ("ours", "theirs")
