"""Tests of Queue: room, items, ends, and races of them."""

import asyncio
import gc
import random
import threading
import weakref

import pytest

import asyncoro
from asyncoro import Coro, Queue, QueueEmpty, QueueFull, QueueShutDown

from harness import WAYS, also_await, done, go, let_run, parallel


@also_await
def test_items_come_in_the_order_in_which_they_were_put_in():
    queue = Queue(3)

    def producer():
        for number in range(100):
            assert (yield queue.put(number)) is None

    def consumer():
        got = []
        while len(got) < 100:
            got.append((yield queue.get()))
            assert queue.qsize() <= 3
        return got

    producing, consuming = Coro(producer), Coro(consumer)
    assert done(consuming) == list(range(100))
    done(producing)
    assert queue.empty() and not queue.full() and queue.maxsize == 3


@also_await
def test_those_who_wait_are_served_first_come_first_served():
    queue, got = Queue(), []

    def consumer(number):
        got.append((number, (yield queue.get())))

    def main():
        consumers = [Coro(consumer, number) for number in range(5)]
        yield asyncoro.sleep(0)
        assert queue.statistics().getting == 5
        for number in range(5):
            queue.put_nowait(number)
        # All of them were promised.
        with pytest.raises(QueueEmpty):
            queue.get_nowait()
        for coro in consumers:
            yield coro.finish()
        assert got == [(number, number) for number in range(5)]

    go(main)


def test_what_does_not_wait():
    queue = Queue(2)
    with pytest.raises(QueueEmpty):
        queue.get_nowait()
    queue.put_nowait(1)
    queue.put_nowait(None)
    assert queue.full() and queue.qsize() == 2
    with pytest.raises(QueueFull):
        queue.put_nowait(3)
    assert [queue.get_nowait(), queue.get_nowait()] == [1, None]
    assert Queue().maxsize == Queue(-3).maxsize == 0
    assert repr(queue) == "<Queue: 0 of 2 items>"


@also_await
def test_join_waits_until_all_is_done():
    queue, finished = Queue(), []

    def worker():
        for _ in range(3):
            yield queue.get()
            yield asyncoro.sleep(0)
            finished.append(1)
            queue.task_done()

    def main():
        yield queue.join()
        for number in range(3):
            yield queue.put(number)
        Coro(worker)
        yield queue.join()
        assert len(finished) == 3
        with pytest.raises(ValueError):
            queue.task_done()

    go(main)


def test_async_for_goes_through_a_queue_until_it_is_shut_down():
    queue = Queue()

    async def consumer():
        return [item async for item in queue]

    async def main():
        consuming = Coro(consumer)
        for number in range(5):
            await queue.put(number)
        await asyncoro.sleep(0)
        queue.shutdown()
        assert await consuming == list(range(5))
        with pytest.raises(QueueShutDown):
            await queue.put(1)
        with pytest.raises(QueueShutDown):
            await queue.get()
        with pytest.raises(QueueShutDown):
            queue.put_nowait(1)
        with pytest.raises(QueueShutDown):
            queue.get_nowait()

    go(main)


@also_await
def test_shutdown_wakes_all_who_wait():
    def putter(queue):
        try:
            yield queue.put(1)
        except QueueShutDown:
            return "shut down"

    def getter(queue):
        try:
            yield queue.get()
        except QueueShutDown:
            return "shut down"

    def joiner(queue):
        yield queue.join()
        return "joined"

    def main():
        full, empty = Queue(1), Queue()
        yield full.put(0)
        waiting = [Coro(putter, full), Coro(putter, full), Coro(getter, empty)]
        joining = Coro(joiner, full)
        yield asyncoro.sleep(0)
        full.shutdown(immediate=True)
        empty.shutdown()
        for coro in waiting:
            assert (yield coro.finish()) == "shut down"
        assert (yield joining.finish()) == "joined"
        assert full.statistics() == (0, 1, 0, 0, 0, 0, True)

    go(main)


@also_await
def test_an_item_for_one_that_goes_stays():
    def getter(queue):
        return (yield queue.get())

    def main():
        for how in WAYS:
            queue = Queue()
            one, two = Coro(getter, queue), Coro(getter, queue)
            one._when_ended(lambda _: None)
            yield asyncoro.sleep(0)
            queue.put_nowait("first")
            queue.put_nowait("second")
            getattr(one, how)(*([KeyError] if how == "throw" else []))
            assert (yield two.finish()) == "first"
            assert queue.get_nowait() == "second"

    go(main)


@also_await
def test_one_that_waits_for_room_and_goes_has_put_nothing_in():
    def putter(queue, item):
        yield queue.put(item)

    def main():
        queue = Queue(1)
        yield queue.put(0)
        one, two = Coro(putter, queue, 1), Coro(putter, queue, 2)
        yield asyncoro.sleep(0)
        assert queue.statistics().putting == 2
        assert (yield queue.get()) == 0
        one.terminate()
        yield two.finish()
        assert queue.get_nowait() == 2 and queue.empty()
        assert (yield asyncoro.first(queue.get(), asyncoro.sleep(0.01))) == (1, None)
        yield queue.put("x")
        assert (yield queue.get()) == "x"

    go(main)


def test_any_thread_puts_and_takes_what_is_there():
    queue = Queue()

    def consumer():
        total = 0
        for _ in range(400):
            total += yield queue.get()
        return total

    consuming = Coro(consumer)
    let_run()
    threads = [parallel(lambda: [queue.put_nowait(1) for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.result()
    assert done(consuming) == 400


def test_what_is_in_a_queue_is_collected_with_it():
    class Item:
        pass

    item = Item()
    queue = item.queue = Queue()
    queue.put_nowait(item)
    gone = weakref.ref(item)
    del item, queue
    gc.collect()
    assert gone() is None


def test_an_item_whose_end_uses_the_queue():
    queue = Queue()

    class Item:
        def __del__(self):
            queue.put_nowait("from the end")

    queue.put_nowait(Item())
    queue.get_nowait()
    assert queue.get_nowait() == "from the end"


def test_a_queue_in_tasks_of_asyncios():
    async def main():
        queue = Queue(2)

        async def produce():
            for number in range(50):
                await queue.put(number)
            queue.shutdown()

        def ours():
            got = []
            while True:
                try:
                    got.append((yield queue.get()))
                except QueueShutDown:
                    return got

        task = asyncio.ensure_future(produce())
        coro = Coro(ours)
        got = [item async for item in queue]
        await task
        assert sorted(got + await coro) == list(range(50))
        empty = Queue()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(empty.get(), 0.01)
        empty.put_nowait(1)
        assert await empty.get() == 1

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(5))
def test_races_of_queues(seed):
    """Nothing is lost, and nothing comes twice, whoever is terminated or thrown into."""
    chance = random.Random(seed)
    queue, put, got = Queue(chance.choice([0, 1, 3])), [], []

    class Thrown(Exception):
        pass

    async def producer(number):
        for count in range(40):
            item = number, count
            try:
                with asyncoro.timeout(chance.choice([None, 0.001])):
                    await queue.put(item)
                put.append(item)
            except (Thrown, TimeoutError):
                pass

    async def consumer():
        while True:
            try:
                with asyncoro.timeout(chance.choice([None, 0.001])):
                    got.append(await queue.get())
            except QueueShutDown:
                return
            except (Thrown, TimeoutError):
                pass
            if chance.random() < 0.1:
                await asyncoro.sleep(0)

    async def main():
        producers = [Coro(producer, number) for number in range(6)]
        consumers = [Coro(consumer) for _ in range(6)]
        while any(coro.is_alive() for coro in producers):
            coro = chance.choice(producers + consumers[2:])
            if chance.random() < 0.3 and coro.is_alive():
                coro.throw(Thrown())
            elif chance.random() < 0.05:
                coro.terminate()
            await asyncoro.sleep(0)
        queue.shutdown()
        for coro in consumers:
            await coro.finish()
        assert queue.statistics()[0] == 0 and queue.statistics()[2:4] == (0, 0)

    go(main)
    # Terminated between its put and its note, or its get and its note, nobody is: what a call has
    # given comes before the order.
    assert sorted(put) == sorted(got)


@pytest.mark.filterwarnings("ignore")
def test_one_whose_loop_was_closed_gets_nothing():
    queue, semaphore, event = asyncoro.Queue(), asyncoro.Semaphore(1), asyncoro.Event()

    async def wait():
        await semaphore.acquire()
        waits = (semaphore.acquire, queue.get, event.wait)
        await asyncio.wait([asyncio.ensure_future(one()) for one in waits])

    loop = asyncio.new_event_loop()
    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    del task
    gc.collect()

    def main(coro=None):
        queue.put_nowait("item")
        semaphore.release()
        event.set()
        assert queue.qsize() == 1
        got = yield queue.get()
        acquired = yield semaphore.acquire(timeout=5)
        return got, acquired

    assert go(main) == ("item", True)
