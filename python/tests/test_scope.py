"""Tests scope and map_bounded: who has ended when a scope is left, and what comes out."""

import asyncio
import contextlib
import gc
import time
import weakref

import pytest

import asyncoro
from asyncoro import Coro
from harness import WAIT, also_await, done, ended, go
from scopes import fails, forever


# ---- The end of all


@also_await
def test_a_scope_is_left_when_all_have_ended():
    notes = []

    def work(number):
        yield asyncoro.sleep(0.01 * number)
        notes.append(number)
        return number

    def body(s):
        children = [s.spawn(work, number) for number in (3, 1, 2)]
        notes.append("body")
        first = yield children[1].finish()
        return first, children

    def main(coro=None):
        value, children = yield asyncoro.scope(body)
        assert not any(child.is_alive() for child in children)
        return value

    assert go(main) == 1
    assert notes == ["body", 1, 2, 3]


def test_async_with_gives_the_scope():
    async def work(notes):
        await asyncoro.sleep(0.01)
        notes.append("work")

    async def main(coro=None):
        notes = []
        async with asyncoro.scope() as s:
            assert isinstance(s, asyncoro.Scope)
            s.spawn(work, notes)
            s.spawn(work(notes))
        return notes

    assert go(main) == ["work", "work"]


@also_await
def test_children_spawn_others():
    notes = []

    def inner(depth, s):
        if depth:
            s.spawn(inner, depth - 1, s)
        yield asyncoro.sleep(0.001)
        notes.append(depth)

    def body(s):
        s.spawn(inner, 5, s)
        yield asyncoro.sleep(0)

    def main(coro=None):
        yield asyncoro.scope(body)

    go(main)
    assert sorted(notes) == [0, 1, 2, 3, 4, 5]


@also_await
def test_the_first_error_ends_the_others_and_the_block_and_comes_out():
    notes = []
    error = KeyError("bad")

    def body(s):
        s.spawn(forever, notes, "sibling")
        s.spawn(fails, error)
        try:
            yield asyncoro.sleep(None)
        finally:
            notes.append("body")

    def main(coro=None):
        with pytest.raises(KeyError) as raised:
            yield asyncoro.scope(body)
        return raised.value

    assert go(main) is error
    assert sorted(notes) == ["body", "sibling"]
    assert error.__context__ is None


@also_await
def test_an_error_of_the_body_ends_the_children():
    notes = []

    def body(s):
        s.spawn(forever, notes, "child")
        yield asyncoro.sleep(0)
        raise KeyError("body")

    def main(coro=None):
        with pytest.raises(KeyError):
            yield asyncoro.scope(body)
        return list(notes)

    assert go(main) == ["child"]


@also_await
def test_an_error_while_the_block_is_left_comes_out():
    notes = []

    def body(s):
        s.spawn(forever, notes, "sibling")
        s.spawn(fails, KeyError("late"), 0.02)
        yield asyncoro.sleep(0)

    def main(coro=None):
        with pytest.raises(KeyError):
            yield asyncoro.scope(body)
        return list(notes)

    assert go(main) == ["sibling"]


def test_later_errors_are_logged_with_the_coroutine(caplog):
    def late(coro=None):
        try:
            yield asyncoro.sleep(None)
        finally:
            raise ValueError("later one")

    def body(s):
        s.spawn(late)
        s.spawn(fails, KeyError("first one"))
        yield asyncoro.sleep(0)

    def main(coro=None):
        with pytest.raises(KeyError):
            yield asyncoro.scope(body)

    go(main)
    shown = caplog.text
    assert "late" in shown and "later one" in shown and "first one" not in shown


@also_await
def test_one_that_is_terminated_has_not_failed():
    notes = []

    def body(s):
        child = s.spawn(forever, notes, "child")
        yield asyncoro.sleep(0)
        child.terminate()
        yield child.finish()
        return "well"

    def main(coro=None):
        return (yield asyncoro.scope(body))

    assert go(main) == "well"


def test_an_awaited_error_that_is_caught_has_ended_the_scope_all_the_same():
    async def body(s):
        child = s.spawn(fails, KeyError("bad"))
        with contextlib.suppress(KeyError):
            await child
        return "caught"

    async def main(coro=None):
        with pytest.raises(KeyError):
            await asyncoro.scope(body)

    go(main)


# ---- Ended from outside


@also_await
def test_termination_of_the_owner_ends_the_children_first():
    notes = []

    def body(s):
        s.spawn(forever, notes, "one")
        s.spawn(forever, notes, "two")
        yield asyncoro.sleep(None)

    def main(coro=None):
        try:
            yield asyncoro.scope(body)
        finally:
            notes.append("owner")

    owner = Coro(main)

    def end(coro=None):
        yield coro.sleep(0.02)
        owner.terminate()
        yield owner.finish()

    go(end)
    assert notes[-1] == "owner" and sorted(notes[:2]) == ["one", "two"]


@also_await
def test_termination_while_the_block_is_left_waits_for_clean_ups():
    notes = []

    def child(coro=None):
        try:
            yield asyncoro.sleep(None)
        finally:
            yield asyncoro.sleep(0.02)
            notes.append("cleaned up")

    def body(s):
        s.spawn(child)
        yield asyncoro.sleep(0)

    def main(coro=None):
        try:
            yield asyncoro.scope(body)
        finally:
            notes.append("owner")

    owner = Coro(main)

    def end(coro=None):
        yield coro.sleep(0.02)
        owner.terminate()
        yield owner.finish()

    go(end)
    assert notes == ["cleaned up", "owner"]


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_what_is_thrown_in_comes_out_after_the_children_have_ended():
    notes = []

    def body(s):
        s.spawn(forever, notes, "child")
        yield asyncoro.sleep(0)

    def main(coro=None):
        with pytest.raises(LookupError):
            yield asyncoro.scope(body)
        return list(notes)

    owner = Coro(main)

    def throw(coro=None):
        yield coro.sleep(0.02)
        owner.throw(LookupError())
        return (yield owner.finish())

    assert go(throw) == ["child"]


@also_await
def test_a_timeout_around_ends_a_scope():
    notes = []

    def body(s):
        s.spawn(forever, notes, "child")
        yield asyncoro.sleep(None)

    def main(coro=None):
        with pytest.raises(TimeoutError):
            with asyncoro.timeout(0.02):
                yield asyncoro.scope(body)
        return list(notes)

    assert go(main) == ["child"]


@pytest.mark.no_task("a circle of waits is not seen through a task")
def test_children_that_wait_for_the_owner_hang_nothing():
    async def waits(owner):
        try:
            await owner
        finally:
            await owner.finish()

    async def main(coro=None):
        with pytest.raises(RuntimeError):
            async with asyncoro.scope() as s:
                s.spawn(waits, coro)
                await asyncoro.sleep(0)
        return "on"

    assert go(main) == "on"


# ---- Edges


@also_await
def test_a_child_that_is_spawned_in_the_hard_phase_never_runs():
    notes = []

    def child():
        notes.append("ran")
        yield asyncoro.sleep(0)

    def body(s):
        try:
            yield asyncoro.sleep(None)
        finally:
            s.spawn(child)

    def main(coro=None):
        with pytest.raises(TimeoutError):
            yield asyncoro.scope(body, timeout=0.01)

    go(main)
    assert notes == []


@also_await
def test_misuse_is_told():
    kept = []

    def body(s):
        kept.append(s)
        yield asyncoro.sleep(0)

    def main(coro=None):
        with pytest.raises(RuntimeError, match="no block yet"):
            asyncoro.scope().spawn(body)
        yield asyncoro.scope(body)
        with pytest.raises(RuntimeError, match="ended"):
            kept[0].spawn(body)
        with pytest.raises(TypeError):
            asyncoro.scope(timeout="1")
        infinity, none = float("inf"), float("nan")
        for bad, error in ((-1, ValueError), (none, ValueError), (infinity, OverflowError)):
            with pytest.raises(error):
                asyncoro.scope(grace=bad)
            with pytest.raises(error):
                asyncoro.scope(timeout=bad)

    go(main)


def test_a_scope_has_one_block():
    async def main(coro=None):
        s = asyncoro.scope()
        async with s:
            with pytest.raises(RuntimeError, match="one block"):
                await s.__aenter__()
        with pytest.raises(RuntimeError, match="one block"):
            await s.__aenter__()

    go(main)


def test_a_scope_is_for_coroutines():
    with pytest.raises(RuntimeError, match="for coroutines"):
        asyncoro.scope().__aenter__().send(None)
    assert not asyncoro.is_stopping()


def test_nothing_is_kept_when_a_scope_has_ended():
    class Kept:
        pass

    async def work(kept):
        await asyncoro.sleep(0)

    async def main(coro=None):
        kept = Kept()
        async with asyncoro.scope(timeout=WAIT) as s:
            s.spawn(work, kept)
        seen = weakref.ref(kept), weakref.ref(s)
        del kept, s
        await asyncoro.sleep(0.01)
        gc.collect()
        return [one() for one in seen]

    assert go(main) == [None, None]


def test_a_scope_that_has_failed_leaves_no_circle():
    class Kept:
        pass

    async def fails_with(kept):
        raise KeyError

    async def main(coro=None):
        kept = Kept()
        seen = weakref.ref(kept)
        gc.disable()
        try:
            try:
                async with asyncoro.scope() as s:
                    s.spawn(fails_with, kept)
            except KeyError:
                pass
            del kept, s
            await asyncoro.sleep(0.02)
            return seen()
        finally:
            gc.enable()

    assert go(main) is None


def test_many_children():
    async def work(notes):
        await asyncoro.sleep(0.001)
        notes.append(None)

    async def main(coro=None):
        notes = []
        async with asyncoro.scope() as s:
            for _ in range(5000):
                s.spawn(work, notes)
        return len(notes)

    assert go(main) == 5000


# ---- map_bounded


@also_await
def test_map_bounded_keeps_the_order_and_the_limit():
    running = []
    most = []

    def work(number):
        running.append(number)
        most.append(len(running))
        yield asyncoro.sleep(0.001 * (number % 3))
        running.remove(number)
        return number * 2

    def main(coro=None):
        return (yield asyncoro.map_bounded(work, range(20), 4))

    assert go(main) == [number * 2 for number in range(20)]
    assert max(most) == 4


@also_await
def test_map_bounded_takes_no_more_items_than_it_runs():
    taken = []

    items = map(lambda number: taken.append(number) or number, range(1000))

    def work(number):
        if number == 5:
            raise KeyError(number)
        yield asyncoro.sleep(0)

    def main(coro=None):
        with pytest.raises(KeyError):
            yield asyncoro.map_bounded(work, items, 3)
        with pytest.raises(ValueError):
            yield asyncoro.map_bounded(work, [], 0)
        return (yield asyncoro.map_bounded(work, [], 1))

    assert go(main) == []
    assert len(taken) < 12


# ---- In tasks of asyncio's


def run_task(main):
    return asyncio.run(asyncio.wait_for(main(), WAIT))


def test_a_task_owns_a_scope():
    notes = []

    async def main():
        with pytest.raises(KeyError):
            async with asyncoro.scope() as s:
                s.spawn(forever, notes, "sibling")
                s.spawn(fails, KeyError("bad"), 0.01)
                try:
                    await asyncio.sleep(WAIT)
                finally:
                    notes.append("body")
        # It was not cancelled, and can go on.
        await asyncio.sleep(0)
        if hasattr(asyncio.current_task(), "cancelling"):
            assert asyncio.current_task().cancelling() == 0
        return "on"

    assert run_task(main) == "on"
    assert sorted(notes) == ["body", "sibling"]


def test_a_scope_in_a_task_has_a_time():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncoro.scope(timeout=0.02) as s:
                s.spawn(asyncoro.sleep(None))
        async with asyncoro.scope() as s:
            s.stop()
            await asyncoro.stopping()
        return "on"

    assert run_task(main) == "on"


def test_a_task_that_is_cancelled_ends_its_scope():
    notes = []

    async def owner():
        async with asyncoro.scope() as s:
            s.spawn(forever, notes, "child")
            await asyncio.sleep(WAIT)

    async def main():
        task = asyncio.ensure_future(owner())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return list(notes)

    assert run_task(main) == ["child"]


def test_others_who_cancel_a_task_are_heard_beside_its_scope():
    async def owner():
        async with asyncoro.scope() as s:
            s.spawn(fails, KeyError("bad"))
            await asyncio.sleep(WAIT)

    async def main():
        task = asyncio.ensure_future(owner())
        # Its child has failed, and the task was told, but has not run.
        while not task._must_cancel and not getattr(task, "cancelling", lambda: 0)():
            await asyncio.sleep(0)
            if task.done():
                break
        task.cancel()
        with pytest.raises((asyncio.CancelledError, KeyError)):
            await task

    run_task(main)


def test_a_task_of_asyncio_inside_is_no_child():
    async def detached():
        await asyncio.sleep(0)
        return asyncoro.is_stopping()

    async def main():
        async with asyncoro.scope() as s:
            s.stop()
            return await asyncio.ensure_future(detached())

    assert run_task(main) is False


# ---- What comes out


@also_await
def test_an_exception_of_the_blocks_clean_up_is_not_hidden_by_its_timeout():
    def body(s):
        try:
            yield asyncoro.sleep(None)
        finally:
            raise ValueError("not stored")

    def main(coro=None):
        with pytest.raises(ValueError, match="not stored"):
            yield asyncoro.scope(body, timeout=0.02)

    go(main)


@also_await
def test_gather_that_is_terminated_waits_for_its_coroutines():
    notes = []

    def slow():
        try:
            yield asyncoro.sleep(None)
        finally:
            yield asyncoro.sleep(0.02)
            notes.append("cleaned up")

    def gathers():
        try:
            yield asyncoro.gather(slow(), slow())
        finally:
            notes.append("gather")

    def body(s):
        child = s.spawn(gathers)
        yield asyncoro.sleep(0.01)
        child.terminate()

    def main(coro=None):
        yield asyncoro.scope(body)
        return list(notes)

    assert go(main) == ["cleaned up", "cleaned up", "gather"]


def test_a_generator_that_ends_elsewhere_leaves_the_scope_around():
    async def numbers():
        async with asyncoro.scope():
            yield 1

    async def consumes():
        generator = numbers()
        async for _ in generator:
            break
        del generator
        gc.collect()
        await asyncoro.sleep(0.02)
        await asyncoro.stopping()
        return asyncoro.is_stopping()

    async def main():
        async with asyncoro.scope() as s:
            child = s.spawn(consumes)
            await asyncio.sleep(0.05)
            s.stop()
            return await child

    assert run_task(main)


def test_scopes_that_follow_one_another_are_not_kept():
    seen = []

    async def generation(left):
        async with asyncoro.scope() as s:
            seen.append(weakref.ref(s))
            if left:
                Coro(generation, left - 1)
            s.spawn(asyncoro.sleep(0))

    async def main(coro=None):
        await Coro(generation, 50)
        while len(seen) < 51:
            await asyncoro.sleep(0.001)
        await asyncoro.sleep(0.02)
        gc.collect()
        return sum(s() is not None for s in seen)

    assert go(main) <= 2


# ---- Abandoned


def test_an_asynchronous_generator_that_is_dropped_inside_ends_its_scope():
    notes = []

    async def numbers():
        async with asyncoro.scope() as s:
            s.spawn(forever, notes, "child")
            yield 1

    async def main(coro=None):
        async for _ in numbers():
            await asyncoro.sleep(0.01)
            break
        gc.collect()
        while not notes:
            await asyncoro.sleep(0.01)
        assert not asyncoro.is_stopping()

    go(main)
    assert notes == ["child"]


def test_other_threads_are_refused():
    kept = []

    async def main(coro=None):
        async with asyncoro.scope() as s:
            kept.append(s)
            while len(kept) < 3:
                await asyncoro.sleep(0.005)

    coro = Coro(main)
    while not kept:
        time.sleep(0.005)
    for use in (kept[0].stop, lambda: kept[0].spawn(forever, [], "never")):
        with pytest.raises(RuntimeError, match="thread"):
            use()
        kept.append(None)
    done(coro)


def test_an_owner_that_is_closed_without_a_scheduler_leaves_nothing():
    def main(coro=None):
        yield asyncoro.scope(lambda s: forever([], "body"))

    generator = main()
    coro = Coro(generator)

    def end(coro_=None):
        yield asyncoro.sleep(0.01)
        coro.terminate()
        yield coro.finish()

    done(Coro(end))
    ended()
