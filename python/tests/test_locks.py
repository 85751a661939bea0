"""Tests of Lock, RLock, Condition, Event and Semaphore: turns, ends, and races of them."""

import asyncio
import gc
import random
import threading
import time
import weakref

import pytest

import asyncoro
from asyncoro import Condition, Coro, Event, Lock, RLock, Semaphore

from harness import WAIT, WAYS, also_await, done, go, let_run, parallel, run_program


# ---- Lock


@also_await
def test_one_at_a_time_has_a_lock_first_come_first_served():
    lock, order, inside = Lock(), [], []

    def work(number):
        assert (yield lock.acquire()) is True
        inside.append(number)
        assert len(inside) == 1
        yield asyncoro.sleep(0)
        order.append(number)
        inside.remove(number)
        lock.release()

    for coro in [Coro(work, number) for number in range(50)]:
        done(coro)
    assert order == list(range(50))
    assert not lock.locked()


def test_a_lock_of_an_async_with_block():
    lock, order = Lock(), []

    async def work(number):
        async with lock as nothing:
            assert nothing is None
            order.append(("in", number))
            await asyncoro.sleep(0)
            order.append(("out", number))

    for coro in [Coro(work, number) for number in range(5)]:
        done(coro)
    assert order == [(way, number) for number in range(5) for way in ("in", "out")]


def test_an_error_in_the_block_frees_the_lock():
    lock = Lock()

    async def main():
        with pytest.raises(KeyError):
            async with lock:
                raise KeyError
        assert not lock.locked()

    go(main)


@also_await
def test_acquire_that_does_not_wait_or_not_long():
    lock = Lock()

    def holder(coro=None):
        yield lock.acquire()
        yield coro.sleep()
        lock.release()

    def main(coro=None):
        assert (yield lock.acquire(blocking=False)) is True
        lock.release()
        holding = Coro(holder)
        yield asyncoro.sleep(0)
        assert (yield lock.acquire(False)) is False
        assert (yield lock.acquire(True, 0)) is False
        assert (yield lock.acquire(timeout=0.02)) is False
        assert lock.statistics().waiting == 0
        holding.resume()
        assert (yield lock.acquire(True, -1)) is True
        lock.release()

    go(main)


def test_only_who_has_it_frees_it():
    lock = Lock()

    def holder(coro=None):
        yield lock.acquire()
        yield coro.sleep()
        lock.release()

    def main(coro=None):
        with pytest.raises(RuntimeError, match="nobody has it"):
            lock.release()
        holding = Coro(holder)
        yield asyncoro.sleep(0)
        with pytest.raises(RuntimeError, match=r"\S+/\d+ has it"):
            lock.release()
        assert lock.statistics() == (True, holding, 0, 0)
        thread = parallel(lock.release)
        while thread.is_alive():
            yield asyncoro.sleep(0.005)
        with pytest.raises(RuntimeError, match="for the coroutine that has the lock"):
            thread.result()
        assert lock.locked()
        holding.resume()
        yield holding.finish()
        assert lock.statistics() == (False, None, 0, 0)

    go(main)


@also_await
def test_who_has_it_does_not_wait_for_itself():
    lock = Lock()

    def main(coro=None):
        yield lock.acquire()
        with pytest.raises(RuntimeError, match="would wait for itself"):
            yield lock.acquire()
        assert (yield lock.acquire(False)) is False
        assert (yield lock.acquire(timeout=0.01)) is False
        lock.release()

    go(main)


@pytest.mark.parametrize("how", ["return", "raise", "terminate"])
def test_a_lock_is_freed_when_its_holder_ends(how, log):
    lock = Lock()

    def holder(coro=None):
        yield lock.acquire()
        if how == "raise":
            raise ValueError("an error")
        if how == "terminate":
            yield coro.sleep()

    def waiter():
        assert (yield lock.acquire()) is True
        lock.release()
        return "got it"

    def main():
        holding = Coro(holder)
        # So that it is not logged.
        holding._when_ended(lambda _: None)
        waiting = [Coro(waiter) for _ in range(3)]
        yield asyncoro.sleep(0)
        if how == "terminate":
            holding.terminate()
        for coro in waiting:
            assert (yield coro.finish()) == "got it"
        assert lock.statistics() == (False, None, 0, 1)

    go(main)
    said = log.text
    assert ("has ended with a lock that it has not released" in said) == (how == "return"), said


@also_await
def test_a_waiter_that_goes_is_no_holder():
    def main(how, coro=None):
        lock = Lock()
        first, second = Coro(waiter, lock), Coro(waiter, lock)
        yield lock.acquire()
        yield asyncoro.sleep(0)
        yield asyncoro.sleep(0)
        lock.release()
        # It was given the lock, and has not run since.
        assert lock.statistics().holder is first
        getattr(first, how)(*([KeyError] if how == "throw" else []))
        first._when_ended(lambda _: None)
        assert (yield second.finish()) is True
        assert not lock.locked() and lock.statistics().waiting == 0

    def waiter(lock):
        taken = yield lock.acquire()
        lock.release()
        return taken

    for how in WAYS:
        # The main coroutine takes the lock before them.
        def run(coro=None, how=how):
            yield main(how)

        go(run)


def test_a_lock_whose_acquire_is_one_of_several():
    lock = Lock()

    async def main():
        assert await asyncoro.first(lock.acquire(), asyncoro.sleep(1)) == (0, True)
        lock.release()
        held = Coro(hold)
        await asyncoro.sleep(0)
        assert await asyncoro.first(lock.acquire(), asyncoro.sleep(0.01)) == (1, None)
        with pytest.raises(TimeoutError):
            await asyncoro.timeout(0.01, lock.acquire())
        assert lock.statistics().waiting == 0
        held.resume()
        async with lock:
            pass

    async def hold(coro=None):
        async with lock:
            await coro.sleep()

    go(main)


def test_a_lock_is_taken_for_who_has_called_acquire():
    lock = Lock()

    async def main(coro=None):
        assert await asyncoro.gather(lock.acquire(), asyncoro.sleep(0)) == [True, None]
        assert lock.statistics().holder is coro
        waiting = Coro(asks)
        await asyncoro.sleep(0)
        waiting.terminate()
        await waiting.finish()
        lock.release()
        with pytest.raises(RuntimeError, match=r"to be taken for \S+/\d+, which has ended"):
            await taking[0]
        assert not lock.locked()

    async def asks():
        taking.append(Coro(takes, lock.acquire()))
        await asyncoro.sleep(1)

    async def takes(call):
        return await call

    taking = []
    go(main)


def test_a_lock_that_nobody_refers_to_but_its_holder():
    gone = []

    def main(coro=None):
        lock = Lock()
        gone.append(weakref.ref(lock))
        yield lock.acquire()
        lock = None
        gc.collect()
        assert gone[0]() is None
        yield asyncoro.sleep(0)

    go(main)


def test_outside_of_coroutines_an_acquire_is_refused():
    with pytest.raises(RuntimeError, match="Lock.acquire.. is for coroutines"):
        Lock().acquire().send(None)
    with pytest.raises((AttributeError, TypeError)):
        with Lock():
            pass


# ---- RLock


@also_await
def test_an_rlock_is_taken_again_by_who_has_it():
    lock = RLock()

    def other():
        assert (yield lock.acquire(False)) is False
        assert (yield lock.acquire()) is True
        lock.release()

    def main(coro=None):
        for _ in range(3):
            assert (yield lock.acquire()) is True
        waiting = Coro(other)
        yield asyncoro.sleep(0)
        lock.release()
        lock.release()
        yield asyncoro.sleep(0)
        assert lock.statistics().holder is coro
        lock.release()
        yield waiting.finish()
        with pytest.raises(RuntimeError):
            lock.release()

    go(main)


# ---- Event


@also_await
def test_an_event_wakes_all_who_wait():
    event = Event()

    def waiter(timeout=None):
        return (yield event.wait(timeout))

    def main():
        assert event.is_set() is event.isSet() is False
        waiting = [Coro(waiter) for _ in range(100)] + [Coro(waiter, 0.01)]
        yield asyncoro.sleep(0)
        assert event.statistics() == (False, 101)
        assert (yield waiting[-1].finish()) is False
        event.set()
        # Those who were woken get True, also if it is cleared before they run.
        event.clear()
        for coro in waiting[:-1]:
            assert (yield coro.finish()) is True
        assert (yield event.wait(0)) is False
        event.set()
        assert (yield event.wait(0)) is True
        assert event.statistics() == (True, 0)

    go(main)


def test_any_thread_sets_an_event():
    event = Event()

    def main():
        return (yield event.wait())

    waiting = Coro(main)
    let_run()
    parallel(event.set).result()
    assert done(waiting) is True
    assert done(Coro(event.wait)) is True


# ---- Semaphore


@also_await
def test_at_most_so_many_have_a_semaphore():
    semaphore, inside, most = Semaphore(3), 0, 0

    def work():
        nonlocal inside, most
        assert (yield semaphore.acquire()) is True
        inside += 1
        most = max(most, inside)
        yield asyncoro.sleep(0)
        inside -= 1
        semaphore.release()

    def main():
        for coro in [Coro(work) for _ in range(50)]:
            yield coro.finish()
        assert most == 3

    go(main)
    assert semaphore.statistics() == (3, 0)


def test_a_semaphore_of_an_async_with_block():
    semaphore, inside = Semaphore(2), []

    async def work(number):
        async with semaphore:
            inside.append(number)
            assert len(inside) <= 2
            await asyncoro.sleep(0)
            inside.remove(number)

    for coro in [Coro(work, number) for number in range(9)]:
        done(coro)


@also_await
def test_a_semaphore_that_is_not_waited_for():
    semaphore = Semaphore(0)

    def main():
        assert semaphore.locked()
        assert (yield semaphore.acquire(False)) is False
        assert (yield semaphore.acquire(timeout=0.01)) is False
        semaphore.release(2)
        assert [(yield semaphore.acquire()), (yield semaphore.acquire())] == [True, True]
        assert semaphore.locked()

    go(main)
    for wrong in (-1, -5):
        with pytest.raises(ValueError):
            Semaphore(wrong)
    with pytest.raises(ValueError):
        semaphore.release(0)


@also_await
def test_a_permit_that_was_given_to_one_that_goes_is_passed_on():
    def waiter(semaphore):
        yield semaphore.acquire()
        return "got it"

    def main():
        for how in WAYS:
            semaphore = Semaphore(0)
            one, two = Coro(waiter, semaphore), Coro(waiter, semaphore)
            one._when_ended(lambda _: None)
            yield asyncoro.sleep(0)
            semaphore.release()
            getattr(one, how)(*([KeyError] if how == "throw" else []))
            assert (yield two.finish()) == "got it"

    go(main)


# ---- Condition


@also_await
def test_a_condition_is_waited_for_without_its_lock():
    condition, items, got = Condition(), [], []

    def consumer(number):
        yield condition.acquire()
        while not items:
            assert (yield condition.wait()) is True
        got.append((number, items.pop(0)))
        condition.release()

    def main():
        consumers = [Coro(consumer, number) for number in range(3)]
        yield asyncoro.sleep(0)
        yield asyncoro.sleep(0)
        assert condition.statistics().waiting == 3
        for number in range(3):
            yield condition.acquire()
            items.append(number)
            condition.notify()
            condition.release()
        for coro in consumers:
            yield coro.finish()
        assert sorted(got) == [(0, 0), (1, 1), (2, 2)]

    go(main)


@also_await
def test_a_wait_that_times_out_has_the_lock_again():
    condition = Condition()

    def main(coro=None):
        yield condition.acquire()
        yield condition.acquire()
        assert (yield condition.wait(0.01)) is False
        assert condition.statistics().lock.holder is coro
        condition.release()
        condition.release()
        with pytest.raises(RuntimeError):
            condition.release()
        with pytest.raises(RuntimeError, match="Condition.wait"):
            yield condition.wait()

    go(main)


def test_wait_for_a_predicate():
    condition, state = Condition(Lock()), []

    async def main():
        setting = Coro(sets)
        async with condition:
            assert await condition.wait_for(lambda: len(state) == 3) is True
            assert await condition.wait_for(lambda: state and "x", 1) == "x"
            assert await condition.wait_for(lambda: False, 0.01) is False
        await setting

    async def sets():
        for _ in range(3):
            async with condition:
                state.append(1)
                condition.notify_all()
            await asyncoro.sleep(0)

    go(main)


@pytest.mark.no_task("nothing can be thrown into it")
def test_an_exception_in_a_wait_comes_with_the_lock():
    condition = Condition()

    async def waiter(coro=None):
        async with condition:
            try:
                await condition.wait()
            except KeyError:
                assert condition.statistics().lock.holder is coro
                return "thrown"

    async def main():
        waiting = Coro(waiter)
        await asyncoro.sleep(0)
        async with condition:
            waiting.throw(KeyError)
            await asyncoro.sleep(0.01)
            assert waiting.is_alive()
        assert await waiting == "thrown"
        with pytest.raises(TimeoutError):
            async with condition:
                with asyncoro.timeout(0.01):
                    await condition.wait()

    go(main)


def test_a_notice_for_one_that_goes_is_passed_on():
    async def waiter(condition):
        async with condition:
            await condition.wait()
            return "told"

    async def main():
        for how in WAYS:
            condition = Condition()
            one, two = Coro(waiter, condition), Coro(waiter, condition)
            one._when_ended(lambda _: None)
            await asyncoro.sleep(0)
            await asyncoro.sleep(0)
            async with condition:
                condition.notify()
                getattr(one, how)(*([KeyError] if how == "throw" else []))
                await asyncoro.sleep(0)
            assert await two == "told"

    go(main)


@pytest.mark.no_task("its end is an exception as any other, which comes with the lock")
def test_a_waiter_that_is_terminated_does_not_free_the_lock_of_another(log):
    condition = Condition()

    async def waiter():
        async with condition:
            await condition.wait()

    async def main(coro=None):
        waiting = Coro(waiter)
        await asyncoro.sleep(0)
        async with condition:
            waiting.terminate()
            await waiting.finish()
            assert condition.statistics().lock.holder is coro
        assert not condition.locked()

    go(main)
    assert log.text == ""


def test_what_a_condition_takes():
    with pytest.raises(TypeError):
        Condition(threading.Lock())
    lock = RLock()
    assert Condition(lock).statistics().lock == lock.statistics()


# ---- tasks of asyncio's


def test_locks_in_tasks_of_asyncios():
    async def main():
        lock, semaphore, event, condition = Lock(), Semaphore(2), Event(), Condition()
        order = []

        async def work(number):
            async with lock:
                order.append(number)
                await asyncio.sleep(0)
                with pytest.raises(RuntimeError):
                    await lock.acquire()
            async with semaphore:
                await asyncio.sleep(0)
            assert await event.wait() is True

        def ours(number):
            yield lock.acquire()
            order.append(number)
            yield asyncoro.sleep(0)
            lock.release()
            yield event.wait()

        tasks = [asyncio.ensure_future(work(number)) for number in range(5)]
        coros = [Coro(ours, number) for number in range(5, 10)]
        while len(order) < 10:
            await asyncio.sleep(0.001)
        event.set()
        await asyncio.gather(*tasks)
        for coro in coros:
            await coro
        assert sorted(order) == list(range(10))
        assert lock.statistics() == (False, None, 0, 0)

        async with condition:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(waits(condition), 0.01)
            assert await condition.wait(0.01) is False

    async def waits(condition):
        async with condition:
            await condition.wait()

    asyncio.run(main())


def test_a_thread_wakes_tasks_of_asyncios():
    async def main():
        event, queue, semaphore = Event(), asyncoro.Queue(), Semaphore(0)
        waits = [event.wait(), queue.get(), semaphore.acquire()]

        def wake():
            time.sleep(0.01)  # so that the loop waits
            event.set()
            queue.put_nowait("put")
            semaphore.release()

        thread = parallel(wake)
        given = [await asyncio.wait_for(waiting, WAIT) for waiting in waits]
        assert given == [True, "put", True]
        thread.result()

    asyncio.run(main())


def test_a_lock_of_several_loops_and_the_scheduler():
    lock, semaphore, inside, count = Lock(), Semaphore(1), [], 0

    async def work():
        nonlocal count
        for _ in range(20):
            async with lock:
                async with semaphore:
                    inside.append(1)
                    await asyncoro.sleep(0)
                    assert len(inside) == 1
                    inside.pop()
                    count += 1

    async def main():
        await asyncio.gather(*[work() for _ in range(3)])

    threads = [parallel(asyncio.run, main()) for _ in range(2)]
    coros = [Coro(work) for _ in range(3)]
    for coro in coros:
        done(coro)
    for thread in threads:
        thread.result()
    assert count == 9 * 20
    assert lock.statistics() == (False, None, 0, 0) and semaphore.statistics() == (1, 0)


def test_a_task_that_is_cancelled_passes_its_turn_on():
    async def main():
        for make in (Lock, lambda: Semaphore(1)):
            lock = make()

            async def work():
                async with lock:
                    return "had it"

            await lock.acquire()
            one, two = asyncio.ensure_future(work()), asyncio.ensure_future(work())
            await asyncio.sleep(0.005)
            lock.release()
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
            assert await two == "had it"

    asyncio.run(main())


def test_a_task_that_ends_frees_its_lock():
    async def main():
        lock = Lock()

        async def takes():
            await lock.acquire()

        # Before Python 3.12 that takes the lock in a task of its own, but for this one.
        assert await asyncio.wait_for(lock.acquire(), WAIT) is True
        lock.release()
        await asyncio.ensure_future(takes())
        assert await lock.acquire(timeout=WAIT)
        lock.release()
        assert lock.statistics().cut_off == 1

    asyncio.run(main())


# ---- races


@pytest.mark.parametrize("seed", range(5))
def test_races_of_locks(seed):
    """Coroutines take what they can while others terminate them, or throw into them."""
    chance = random.Random(seed)
    lock, rlock, semaphore, condition = Lock(), RLock(), Semaphore(2), Condition()
    inside = {"lock": 0, "rlock": 0, "semaphore": 0}

    class Thrown(Exception):
        pass

    async def within(name, most):
        inside[name] += 1
        assert inside[name] <= most
        try:
            await asyncoro.sleep(0)
        finally:
            inside[name] -= 1

    async def once():
        which = chance.randrange(5)
        if which == 0:
            async with lock:
                await within("lock", 1)
        elif which == 1:
            async with rlock:
                async with rlock:
                    await within("rlock", 1)
        elif which == 2:
            async with semaphore:
                await within("semaphore", 2)
        elif which == 3:
            async with condition:
                await condition.wait(chance.choice([None, 0, 0.001]))
        else:
            async with condition:
                condition.notify(chance.randrange(3))
                await asyncoro.sleep(0)

    async def worker(coro=None):
        for _ in range(30):
            try:
                with asyncoro.timeout(chance.choice([None, 0.001])):
                    await once()
            except (Thrown, TimeoutError):
                pass

    async def main():
        workers = [Coro(worker) for _ in range(12)]
        for _ in range(300):
            coro = chance.choice(workers)
            if coro.is_alive() and chance.random() < 0.3:
                coro.throw(Thrown())
            elif chance.random() < 0.02:
                coro.terminate()
            condition.notify(chance.randrange(2))
            await asyncoro.sleep(0)
        while any(coro.is_alive() for coro in workers):
            condition.notify_all()
            await asyncoro.sleep(0.001)
        for held in (lock, rlock):
            assert held.statistics()[:3] == (False, None, 0)
        assert semaphore.statistics() == (2, 0)
        assert condition.statistics()[0] == 0 and not condition.locked()

    go(main)


# ---- the process


def test_a_child_of_a_fork_has_locks_of_its_own():
    program = run_program("""
        lock, semaphore, event = asyncoro.Lock(), asyncoro.Semaphore(1), asyncoro.Event()
        held = threading.Event()
        async def holds(coro=None):
            coro.set_daemon()
            await lock.acquire()
            await semaphore.acquire()
            held.set()
            await event.wait()
        asyncoro.Coro(holds)
        assert held.wait(10)
        pid = os.fork()
        if pid == 0:
            async def child():
                assert not lock.locked()
                async with lock:
                    event.set()
                    assert await event.wait(1)
                    semaphore.release()
                    async with semaphore:
                        return 7
            value = asyncoro.run(child())
            os._exit(value)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code == 7, code
        assert lock.locked()
        print("over")
    """)
    assert program.process.returncode == 0 and "over" in program.stdout


def test_a_program_ends_while_coroutines_hold_and_wait():
    program = run_program("""
        lock, event, queue = asyncoro.Lock(), asyncoro.Event(), asyncoro.Queue()
        async def holds(coro=None):
            coro.set_daemon()
            async with lock:
                await event.wait()
        async def waits(coro=None):
            coro.set_daemon()
            async with lock:
                await queue.get()
        for _ in range(10):
            asyncoro.Coro(holds), asyncoro.Coro(waits)
        time.sleep(0.1)
        print("over")
    """)
    assert program.process.returncode == 0 and program.stderr == "", program.stderr
