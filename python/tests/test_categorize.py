"""CategorizeMessages and Singleton."""

import asyncio
import functools
import gc
import threading
import time
import weakref

import pytest

import asyncoro
from asyncoro import CategorizeMessages, Singleton
from harness import WAIT, also_await, done, go, parallel


def by_type(message):
    return type(message).__name__ if type(message) in (int, str) else None


@also_await
def test_messages_come_by_category_in_their_order():
    def main():
        me = asyncoro.current()
        sorted_ = CategorizeMessages(me)
        sorted_.add(by_type)
        for message in (1, "a", 2.5, 2, "b", None):
            me.send(message)
        assert (yield sorted_.receive("str")) == "a"
        assert (yield sorted_.receive("str")) == "b"
        assert (yield sorted_.receive("int")) == 1
        assert (yield sorted_.receive()) == 2.5
        assert (yield sorted_.recv("int")) == 2
        assert (yield sorted_.receive(None)) is None
        assert (yield sorted_.receive("int", timeout=0, alarm_value="none")) == "none"

    go(main)


@also_await
def test_the_function_that_was_added_last_is_asked_first():
    def main():
        me = asyncoro.current()
        sorted_ = CategorizeMessages(me)
        even = functools.partial(lambda what, it: what if it in (0, 2, 4) else None, "even")
        sorted_.add(by_type)
        sorted_.add(even)
        for number in range(4):
            me.send(number)
        assert (yield sorted_.receive("int")) == 1
        assert (yield sorted_.receive("even")) == 0
        sorted_.remove(even)
        assert (yield sorted_.receive("int")) == 2
        sorted_.add(even)
        me.send(4)
        me.send("text")
        assert (yield sorted_.receive("str")) == "text"
        sorted_.remove(even)
        # What was sorted stays so.
        assert (yield sorted_.receive("int")) == 3
        assert (yield sorted_.receive("even")) == 4

    go(main)


@pytest.mark.parametrize("categorize", [
    by_type, lambda message: by_type(message), functools.partial(by_type), type("Callable", (), {
        "__call__": lambda self, message: by_type(message),
    })(), type("Bound", (), {"method": lambda self, message: by_type(message)})().method,
])
def test_any_function_of_a_message_sorts(categorize):
    def main(coro=None):
        sorted_ = CategorizeMessages(coro)
        sorted_.add(categorize)
        coro.send(5)
        coro.send("text")
        return (yield sorted_.receive("str"))

    assert go(main) == "text"


def test_what_is_no_function_is_refused(caplog):
    sorted_ = CategorizeMessages(None)
    with pytest.raises(TypeError, match="str"):
        sorted_.add("category")
    sorted_.remove(by_type)
    assert "no function" in caplog.text


@also_await
def test_a_timeout_counts_from_the_call_whatever_comes_meanwhile():
    def main():
        me = asyncoro.current()
        sorted_ = CategorizeMessages(me)
        sorted_.add(by_type)

        def talk():
            for number in range(100):
                me.send(number)
                yield asyncoro.sleep(0.01)

        talking = asyncoro.Coro(talk)
        start = time.monotonic()
        assert (yield sorted_.receive("str", 0.1, alarm_value=0)) == 0
        assert 0.1 <= time.monotonic() - start < 0.8
        talking.terminate()
        # None of them was lost, nor taken for the alarm value.
        assert (yield sorted_.receive("int")) == 0
        assert (yield sorted_.receive("int")) == 1

    go(main)


@also_await
def test_a_function_that_fails_loses_no_message():
    def main():
        me = asyncoro.current()
        sorted_ = CategorizeMessages(me)
        sorted_.add(lambda message: message["category"])
        me.send({"category": "one", "text": 1})
        me.send("no dict")
        me.send({"category": ["no", "key"]})
        me.send({"category": "one", "text": 2})
        assert (yield sorted_.receive("one"))["text"] == 1
        for _ in range(2):
            with pytest.raises(TypeError):
                yield sorted_.receive("one")
        assert (yield sorted_.receive("one"))["text"] == 2
        assert (yield sorted_.receive()) == "no dict"
        assert (yield sorted_.receive()) == {"category": ["no", "key"]}

    go(main)


def test_a_receive_that_is_given_up_loses_no_message():
    got = []

    def receive(coro=None):
        sorted_ = CategorizeMessages(coro)
        sorted_.add(by_type)
        while len(got) < 200:
            try:
                got.append((yield asyncoro.timeout(0.0005, sorted_.receive("int"))))
            except TimeoutError:
                pass
        return (yield sorted_.receive(timeout=0, alarm_value="over"))

    def send(receiver):
        for number in range(200):
            receiver.send(2.5)
            receiver.send(number)
            if number % 3 == 0:
                yield asyncoro.sleep(0.0003)

    receiver = asyncoro.Coro(receive)
    done(asyncoro.Coro(send, receiver))
    assert done(receiver) == 2.5
    assert got == list(range(200))


def test_it_works_in_tasks_of_asyncio():
    async def main():
        me = asyncoro.current()
        sorted_ = CategorizeMessages(me)
        sorted_.add(by_type)
        me.send(1)
        me.send("text")
        assert await sorted_.receive("str") == "text"
        assert await sorted_.receive("str", 0.01, "over") == "over"
        assert await sorted_.receive("int") == 1

    asyncio.run(asyncio.wait_for(main(), WAIT))


def test_a_singleton_is_made_once():
    made = []

    class One(metaclass=Singleton):
        def __init__(self, *args, **kwargs):
            made.append((args, kwargs))

        def __bool__(self):
            return False

    class Other(One):
        pass

    assert Singleton.instance(One) is None
    one = One(1, two=2)
    assert One() is one and One(3) is one and Singleton.instance(One) is one
    other = Other()
    assert type(other) is Other and Other() is other and One() is one
    assert made == [((1,), {"two": 2}), ((), {})]
    Singleton.discard(One)
    Singleton.discard(One)
    assert Singleton.instance(One) is None
    assert One() is not one and Other() is other


def test_a_singleton_that_fails_is_made_the_next_time():
    class Fails(metaclass=Singleton):
        fails = True

        def __init__(self):
            if Fails.fails:
                raise ValueError("not yet")

    with pytest.raises(ValueError):
        Fails()
    Fails.fails = False
    assert Fails() is Fails()


def test_threads_get_the_same_singleton():
    for _ in range(200):
        class One(metaclass=Singleton):
            def __init__(self):
                time.sleep(0)

        barrier = threading.Barrier(4)

        def make():
            barrier.wait(WAIT)
            return One()

        threads = [parallel(make) for _ in range(4)]
        assert len({id(thread.result()) for thread in threads}) == 1


def test_a_class_with_its_singleton_is_collected():
    class One(metaclass=Singleton):
        pass

    One()
    seen = weakref.ref(One)
    del One
    gc.collect()
    assert seen() is None
