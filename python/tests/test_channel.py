"""Tests of Channel: subscribers of all kinds, transforms, hierarchies, those without room."""

import asyncio
import functools
import gc
import weakref

import pytest

import asyncoro
from asyncoro import Channel, Coro, MailboxFull, Queue, QueueShutDown

from harness import also_await, done, go, parallel


def collect(coro=None):
    """Receives messages up to None."""
    received = []
    while True:
        message = yield coro.receive()
        if message is None:
            return received
        received.append(message)


@also_await
def test_each_message_goes_to_each_subscriber():
    def main():
        channel = Channel("news")
        one, two = Coro(collect), Coro(collect)
        assert (yield channel.subscribe(one)) == 0
        assert channel.send("to one") == 0
        assert (yield channel.subscribe(two)) == 0
        assert (yield channel.subscribe(two)) == 0
        assert channel.statistics() == (2, 0, False)
        assert channel.send("to both") == 0
        assert (yield channel.unsubscribe(one)) == 0
        assert (yield channel.unsubscribe(one)) == -1
        assert channel.send(None) == 0
        one.send(None)
        assert (yield one.finish()) == ["to one", "to both"]
        assert (yield two.finish()) == ["to both"]
        assert (yield channel.subscribe("no coroutine")) == -1
        assert (yield channel.unsubscribe("no coroutine")) == -1
        assert channel.name == str(channel) == "news"

    go(main)


@also_await
def test_one_that_ends_is_no_subscriber_any_more():
    def main():
        channel = Channel("news")
        one, two = Coro(collect), Coro(collect)
        yield channel.subscribe(one)
        yield channel.subscribe(two)
        one.terminate()
        yield one.finish()
        assert channel.statistics().subscribers == 1
        assert (yield channel.subscribe(one)) == -1
        channel.send(None)
        yield two.finish()
        assert channel.statistics().subscribers == 0

    go(main)


class Shouting:
    def method(self, name, message):
        return message.upper()


def by_default(name, message, end="!"):
    return message.upper()


def ignoring(name, *messages):
    return messages[0].upper()


@pytest.mark.parametrize("transform", [
    lambda name, message: message.upper(), Shouting().method, by_default, ignoring,
    functools.partial(by_default, end="?"),
])
def test_a_transform_changes_messages(transform):
    def main():
        channel = Channel("news", transform)
        coro = Coro(collect)
        yield channel.subscribe(coro)
        channel.send("quiet")
        assert channel.set_transform(None) == 0
        channel.send("quiet")
        channel.send(None)
        assert (yield coro.finish()) == ["QUIET", "quiet"]

    go(main)


def test_a_transform_drops_messages_by_none_or_an_error(log):
    def transform(name, message):
        assert name == "news"
        if message == 3:
            raise ValueError("no good")
        return None if message == 2 else message

    def main():
        channel = Channel("news", transform=transform)
        coro = Coro(collect)
        yield channel.subscribe(coro)
        assert [channel.send(number) for number in range(5)] == [0] * 5
        assert (yield channel.deliver(2, n=1)) == 0
        coro.send(None)
        assert (yield coro.finish()) == [0, 1, 4]

    go(main)
    assert "ValueError: no good" in log.text


@pytest.mark.parametrize("wrong", [5, lambda: None, lambda one: one, lambda a, b, c: a])
def test_a_wrong_transform_is_ignored(wrong, log):
    def main():
        channel = Channel("news", transform=wrong)
        coro = Coro(collect)
        yield channel.subscribe(coro)
        assert channel.set_transform(wrong) == -1
        channel.send("as it is")
        channel.send(None)
        assert (yield coro.finish()) == ["as it is"]

    go(main)
    assert "its transform is ignored" in log.text


@also_await
def test_a_channel_subscribes_to_a_channel():
    def main():
        world = Channel("world")
        europe = Channel("europe", lambda name, message: (name, message))
        one, two = Coro(collect), Coro(collect)
        yield world.subscribe(one)
        assert (yield world.subscribe(europe)) == 0
        yield europe.subscribe(two)
        world.send("all")
        europe.send("some")
        assert (yield world.deliver("counted")) == 2
        assert (yield world.unsubscribe(europe)) == 0
        world.send("one")
        for coro in (one, two):
            coro.send(None)
        assert (yield one.finish()) == ["all", "counted", "one"]
        assert (yield two.finish()) == [(europe.name, text) for text in ("all", "some", "counted")]

    go(main)


@also_await
def test_a_message_comes_once_in_a_circle_of_channels():
    def main():
        channels = [Channel("channel %d" % number) for number in range(5)]
        coros = [Coro(collect) for _ in channels]
        for channel, coro in zip(channels, coros):
            yield channel.subscribe(coro)
            for other in channels:
                yield channel.subscribe(other)
        channels[2].send("once")
        assert (yield channels[0].deliver("counted")) == 5
        for coro in coros:
            coro.send(None)
            assert (yield coro.finish()) == ["once", "counted"]
        gone = [weakref.ref(channel) for channel in channels]
        del channels, channel, other
        gc.collect()
        assert not any(channel() for channel in gone)

    go(main)


def test_a_long_chain_of_channels():
    def main():
        channels = [Channel("%d" % number) for number in range(5000)]
        for one, next_one in zip(channels, channels[1:]):
            yield one.subscribe(next_one)
        coro = Coro(collect)
        yield channels[-1].subscribe(coro)
        channels[0].send("far")
        coro.send(None)
        assert (yield coro.finish()) == ["far"]
        while channels:
            channels.pop()

    go(main)


@also_await
def test_deliver_waits_for_subscribers():
    def late(channel, *subscribers):
        for subscriber in subscribers:
            yield asyncoro.sleep(0)
            yield channel.subscribe(subscriber)

    def main():
        channel = Channel("news")
        assert (yield channel.deliver("to nobody")) == 0
        assert (yield channel.deliver("to nobody", timeout=0.01, n=1)) == 0
        assert (yield channel.deliver("wrong", n=-1)) == -1
        coros = [Coro(collect) for _ in range(3)]
        Coro(late, channel, *coros[:2])
        assert (yield channel.deliver("to two", n=2)) == 2
        Coro(late, channel, coros[2])
        assert (yield channel.deliver("to three", timeout=5, n=3)) == 3
        channel.send(None)
        assert (yield coros[0].finish()) == ["to two", "to three"]
        assert (yield coros[2].finish()) == ["to three"]

    go(main)


@also_await
def test_deliver_waits_for_room():
    def slow(coro=None):
        yield coro.sleep()
        received = []
        while True:
            message = yield coro.receive()
            if message is None:
                return received
            received.append(message)

    def main():
        channel = Channel("news")
        quick, coro = Coro(collect), Coro(slow)
        coro.mailbox_capacity = 1
        yield channel.subscribe(quick)
        yield channel.subscribe(coro)
        yield asyncoro.sleep(0)
        assert channel.send("first") == 0
        with pytest.raises(MailboxFull, match=r"no room in the mailboxes of \S+/\d+"):
            channel.send("second")
        assert (yield channel.deliver("third", timeout=0.01)) == 1
        assert (yield channel.deliver("fourth", n=1)) == 1
        coro.resume()
        assert (yield channel.deliver("fifth")) == 2
        assert (yield channel.deliver(None)) == 2
        assert (yield coro.finish()) == ["first", "fifth"]
        assert (yield quick.finish()) == ["first", "second", "third", "fourth", "fifth"]

    go(main)


def test_async_for_goes_through_a_subscription():
    channel = Channel("news")

    async def listener(messages):
        return [message async for message in messages]

    async def main():
        one, two = Coro(listener, channel.subscription()), Coro(listener, channel.subscription(9))
        for number in range(5):
            assert channel.send(number) == 0
        assert await channel.deliver(5) == 2
        channel.close()
        assert await one == await two == list(range(6))
        assert channel.send("nobody") == -1
        assert await channel.deliver("nobody") == -1
        assert await channel.subscribe(Queue()) == -1
        assert [message async for message in channel.subscription()] == []
        assert channel.statistics() == (0, 0, True)

    go(main)


def test_a_subscription_that_nobody_has_any_more_is_none():
    channel = Channel("news")

    async def main():
        async for message in channel.subscription():
            assert message == "only"
            break
        gc.collect()
        channel.send("to nobody")
        assert channel.statistics().subscribers == 0

    def sends():
        while channel.statistics().subscribers == 0:
            yield asyncoro.sleep(0)
        channel.send("only")

    Coro(sends)
    go(main)


def test_a_slow_subscription_is_shut_down_or_loses_its_oldest():
    channel = Channel("news")

    async def main():
        slow, losing = channel.subscription(2), channel.subscription(2, slow="drop")
        healthy = channel.subscription(2)
        for number in range(4):
            assert channel.send(number) == 0
            assert await healthy.get() == number
        assert [slow.get_nowait(), slow.get_nowait()] == [0, 1]
        with pytest.raises(QueueShutDown, match="full when its channel"):
            slow.get_nowait()
        with pytest.raises(QueueShutDown):
            async for message in slow:
                pass
        assert [losing.get_nowait(), losing.get_nowait()] == [2, 3]
        assert losing.statistics().lost == 2
        assert channel.statistics().subscribers == 2
        with pytest.raises(ValueError):
            channel.subscription(slow="wait")

    go(main)


def test_a_subscription_for_whose_room_deliver_waits():
    channel = Channel("news")

    async def main():
        messages = channel.subscription(1)
        channel.send("first")
        delivering = Coro(channel.deliver, "second")
        await asyncoro.sleep(0)
        assert delivering.is_alive()
        assert await messages.get() == "first"
        assert await delivering == 1
        assert await messages.get() == "second"

    go(main)


def test_any_thread_sends():
    channel = Channel("news")
    coro = Coro(collect)
    done(Coro(channel.subscribe, coro))
    parallel(lambda: [channel.send(number) for number in range(100)]).result()
    channel.send(None)
    assert done(coro) == list(range(100))


def test_a_transform_may_change_the_channel():
    def main():
        channel = Channel("news")
        coro = Coro(collect)

        def transform(name, message):
            channel.set_transform(None)
            channel.send("before")
            return message

        channel.set_transform(transform)
        yield channel.subscribe(coro)
        channel.send("after")
        channel.send(None)
        assert (yield coro.finish()) == ["before", "after"]

    go(main)


def test_a_class_may_be_derived():
    class Named(Channel):
        def __init__(self, name):
            self.own = name

    assert Named("news").own == "news" and Named("news").name == "news"


def test_a_channel_in_tasks_of_asyncios():
    async def main():
        channel = Channel("news")
        assert await channel.subscribe(asyncoro.current()) == 0
        messages = channel.subscription()
        channel.send(1)
        assert await asyncoro.current().receive() == 1
        assert await messages.get() == 1

        async def short():
            await channel.subscribe(asyncoro.current())

        await asyncio.ensure_future(short())
        # asyncio tells of the end of a task in the next turn of its loop.
        await asyncio.sleep(0)
        assert channel.statistics().subscribers == 2
        assert await channel.deliver(2, n=2) == 2

    asyncio.run(main())


def test_thousands_of_subscribers():
    channel = Channel("news")

    def main():
        coros = [Coro(collect) for _ in range(2000)]
        for coro in coros:
            yield channel.subscribe(coro)
        for number in range(3):
            channel.send(number)
        assert (yield channel.deliver(None)) == 2000
        for coro in coros:
            assert (yield coro.finish()) == [0, 1, 2]
        assert channel.statistics().subscribers == 0

    go(main)
