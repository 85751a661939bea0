"""Tests of mailboxes with a capacity: full ones, senders that wait for room, or stop waiting."""

import random
import threading

import pytest

import asyncoro
from asyncoro import Coro, MailboxFull

from harness import also_await, done, ended, go, parallel


def idle(coro=None):
    """Waits to be resumed, then receives all messages up to None."""
    yield coro.sleep()
    received = []
    while True:
        message = yield coro.receive()
        if message is None:
            return received
        received.append(message)


def bounded(capacity, function=idle):
    coro = Coro(function)
    coro.mailbox_capacity = capacity
    return coro


def asleep(capacity):
    """Returns a coroutine that has begun to sleep in `idle`."""
    coro = bounded(capacity)
    yield asyncoro.sleep(0)
    return coro


def test_send_to_a_full_mailbox_raises():
    def main(coro=None):
        receiver = yield from asleep(2)
        assert [receiver.send(1), receiver.send(2)] == [0, 0]
        with pytest.raises(MailboxFull, match=r"the mailbox of idle/\d+ is full: 2 messages"):
            receiver.send(3)
        with pytest.raises(MailboxFull):
            receiver.send(message=3)
        receiver.resume()
        assert (yield receiver.deliver(None)) == 1
        return (yield receiver.finish())

    assert go(main) == [1, 2]


def test_without_a_capacity_nothing_is_refused():
    def main(coro=None):
        assert coro.mailbox_capacity is None
        for number in range(10000):
            coro.send(number)
        coro.mailbox_capacity = 3
        with pytest.raises(MailboxFull):
            coro.send("more")
        assert coro.mailbox_capacity == 3
        for number in range(10000):
            assert (yield coro.receive()) == number
        coro.mailbox_capacity = None
        assert coro.mailbox_capacity is None

    go(main)


@pytest.mark.parametrize("wrong, error", [
    (0, ValueError), (-1, ValueError), (1.5, TypeError), ("8", TypeError), (1 << 80, OverflowError)
])
def test_a_wrong_capacity_is_refused(wrong, error):
    def main(coro=None):
        with pytest.raises(error):
            coro.mailbox_capacity = wrong
        with pytest.raises(error):
            Coro(target=idle, mailbox_capacity=wrong)
        assert coro.mailbox_capacity is None
        yield coro.sleep(0)

    go(main)


def test_the_form_with_target_takes_the_capacity():
    def work(number, more, coro=None):
        yield coro.sleep()
        return number + more

    receiver = Coro(target=work, args=(1,), kwargs={"more": 2}, mailbox_capacity=1)
    assert receiver.mailbox_capacity == 1
    assert receiver.send("one") == 0
    with pytest.raises(MailboxFull):
        receiver.send("two")
    receiver.terminate()
    unbounded = Coro(target=work, args=(1, 2), mailbox_capacity=None)
    assert unbounded.mailbox_capacity is None

    def wake(coro=None):
        yield coro.sleep(0)
        unbounded.resume()

    go(wake)
    assert done(unbounded) == 3


def test_the_functions_own_keywords_stay_its_own():
    def work(mailbox_capacity=0, coro=None):
        yield coro.sleep(0)
        return mailbox_capacity, coro.mailbox_capacity

    def any_names(coro=None, **names):
        yield coro.sleep(0)
        return names, coro.mailbox_capacity

    assert done(Coro(work, mailbox_capacity=5)) == (5, None)
    assert done(Coro(any_names, mailbox_capacity=5)) == ({"mailbox_capacity": 5}, None)
    both = Coro(target=work, kwargs={"mailbox_capacity": 5}, mailbox_capacity=6)
    assert done(both) == (5, 6)


def test_a_derived_class_sets_it_before_it_begins():
    class Worker(Coro):
        def __init__(self):
            self.mailbox_capacity = 1
            super().__init__(self.work)

        def work(self):
            yield asyncoro.sleep(0)
            return self.mailbox_capacity

    assert done(Worker()) == 1


@also_await
def test_deliver_waits_for_room():
    def sender(receiver, coro=None):
        statuses = []
        for number in range(100):
            statuses.append((yield receiver.deliver(number)))
        statuses.append((yield receiver.deliver(None)))
        return statuses

    def main(coro=None):
        receiver = bounded(3)
        sending = Coro(sender, receiver)
        for _ in range(5):
            yield coro.sleep(0)
        assert sending.is_alive()
        receiver.resume()
        assert (yield sending.finish()) == [1] * 101
        return (yield receiver.finish())

    assert go(main) == list(range(100))


@also_await
def test_senders_are_served_first_come_first_served():
    def sender(receiver, name, coro=None):
        return (yield receiver.deliver(name))

    def main(coro=None):
        receiver = bounded(1)
        yield coro.sleep(0)
        senders = [Coro(sender, receiver, name) for name in range(20)]
        yield coro.sleep(0)
        with pytest.raises(MailboxFull):
            receiver.send("pushy")
        receiver.resume()
        yield receiver.deliver(None)
        assert (yield asyncoro.gather(*senders)) == [1] * 20
        return (yield receiver.finish())

    assert go(main) == list(range(20))


def test_nobody_overtakes_the_first_in_line():
    def fill(coro=None):
        yield coro.sleep()
        taken = yield coro.receive()
        # There is room, and the first in line has not run yet.
        with pytest.raises(MailboxFull):
            coro.send("pushy")
        assert (yield coro.deliver("third", 0)) == 0
        return taken, (yield coro.receive())

    def main(coro=None):
        receiver = bounded(1, fill)
        yield coro.sleep(0)
        receiver.send("first")
        waiting = Coro(receiver.deliver("second"))
        yield coro.sleep(0)
        receiver.resume()
        assert (yield receiver.finish()) == ("first", "second")
        return (yield waiting.finish())

    assert go(main) == 1


@also_await
def test_deliver_gives_0_at_its_timeout_and_has_sent_nothing():
    def main(coro=None):
        receiver = bounded(1)
        yield coro.sleep(0)
        assert (yield receiver.deliver("kept", 0)) == 1
        assert (yield receiver.deliver("refused", 0)) == 0
        assert (yield receiver.deliver("refused", 0.01)) == 0
        receiver.resume()
        assert (yield receiver.deliver(None, 5)) == 1
        return (yield receiver.finish())

    assert go(main) == ["kept"]


@also_await
def test_a_waiting_sender_is_told_of_the_end():
    def sender(receiver, coro=None):
        return (yield receiver.deliver("late")), (yield receiver.deliver("later"))

    def main(coro=None):
        receiver = bounded(1)
        yield coro.sleep(0)
        receiver.send("unread")
        senders = [Coro(sender, receiver) for _ in range(3)]
        yield coro.sleep(0)
        receiver.terminate()
        return (yield asyncoro.gather(*senders))

    assert go(main) == [(-1, -1)] * 3


@also_await
def test_a_dropped_wait_has_sent_nothing_and_the_next_moves_up():
    def sender(receiver, name, coro=None):
        return (yield receiver.deliver(name))

    def main(coro=None):
        receiver = bounded(1)
        yield coro.sleep(0)
        receiver.send("first")
        senders = [Coro(sender, receiver, name) for name in "abc"]
        yield coro.sleep(0)
        senders[0].terminate()
        yield senders[0].finish()
        thrown = yield asyncoro.first(receiver.deliver("raced"), coro.sleep(0.01, "slept"))
        try:
            yield asyncoro.timeout(0.01, receiver.deliver("bounded"))
        except TimeoutError:
            pass
        receiver.resume()
        yield receiver.deliver(None)
        assert (yield asyncoro.gather(*senders[1:])) == [1, 1]
        return thrown, (yield receiver.finish())

    assert go(main) == ((1, "slept"), ["first", "b", "c"])


def test_one_that_is_terminated_when_its_turn_has_come_sends_nothing():
    def take(others, coro=None):
        yield coro.sleep()
        received = [(yield coro.receive())]
        # The first in line was woken, and is ended before it runs.
        others[0].terminate()
        while len(received) < 3:
            received.append((yield coro.receive()))
        return received

    def main(coro=None):
        others = []
        receiver = Coro(take, others)
        receiver.mailbox_capacity = 1
        yield coro.sleep(0)
        receiver.send("first")
        others += [Coro(receiver.deliver(name)) for name in "abc"]
        yield coro.sleep(0)
        receiver.resume()
        return (yield receiver.finish())

    assert go(main) == ["first", "b", "c"]


def test_more_capacity_lets_all_in():
    def main(coro=None):
        receiver = bounded(1)
        yield coro.sleep(0)
        receiver.send("first")
        senders = [Coro(receiver.deliver(number)) for number in range(50)]
        yield coro.sleep(0)
        receiver.mailbox_capacity = 11
        for _ in range(60):
            yield coro.sleep(0)
        alive = sum(sender.is_alive() for sender in senders)
        receiver.mailbox_capacity = None
        assert (yield asyncoro.gather(*senders)) == [1] * 50
        receiver.send(None)
        receiver.resume()
        return alive, (yield receiver.finish())

    assert go(main) == (40, ["first"] + list(range(50)))


def test_monitor_statuses_are_never_refused():
    def fails(coro=None):
        yield coro.sleep(0)
        raise ValueError("expected")

    def main(coro=None):
        coro.mailbox_capacity = 1
        coro.send("note")
        for _ in range(3):
            yield coro.monitor(Coro(fails))
        for _ in range(5):
            yield coro.sleep(0)
        assert (yield coro.receive()) == "note"
        with pytest.raises(MailboxFull):
            coro.send("another")
        kinds = []
        for _ in range(3):
            kinds.append((yield coro.receive(5)).type)
        assert coro.send("note") == 0
        return kinds

    assert go(main) == [ValueError] * 3


def test_a_thread_sends_and_lets_a_coroutine_wait():
    receiver = bounded(1)
    assert receiver.send("first") == 0
    with pytest.raises(MailboxFull):
        receiver.send("second")
    delivering = Coro(receiver.deliver("second"))

    def wake(coro=None):
        yield coro.sleep(0)
        receiver.resume()

    go(wake)
    assert done(delivering) == 1
    assert done(Coro(receiver.deliver(None))) == 1
    assert done(receiver) == ["first", "second"]


def test_an_ended_coroutine_still_gives_its_status():
    coro = ended()
    coro.mailbox_capacity = 1
    assert coro.send("late") == -1

    def main(own=None):
        return (yield coro.deliver("late"))

    assert go(main) == -1


def test_messages_of_given_up_waits_are_freed():
    gone = []

    class Message:
        def __del__(self):
            gone.append(threading.current_thread())

    def main(coro=None):
        receiver = bounded(1)
        yield coro.sleep(0)
        receiver.send("first")
        for _ in range(100):
            yield receiver.deliver(Message(), 0)
        receiver.terminate()
        yield receiver.finish()

    go(main)
    assert len(gone) == 100


@pytest.mark.parametrize("seed", range(20))
def test_statuses_tell_the_truth_whatever_happens(seed):
    chance = random.Random(seed)

    def sender(receiver, name, sent, given_up, coro=None):
        for number in range(10):
            message = name, number
            timeout = chance.choice([None, None, 0, 0.001])
            given_up.add(message)
            if chance.random() < 0.2:
                try:
                    status = 1 + receiver.send(message)
                except MailboxFull:
                    status = 0
            elif chance.random() < 0.2:
                place, _ = yield asyncoro.first(receiver.deliver(message), coro.sleep(0))
                status = 1 - place
            else:
                status = yield receiver.deliver(message, timeout)
            given_up.discard(message)
            if status == 1:
                sent.append(message)

    def take(coro=None):
        received = []
        while True:
            message = yield coro.receive()
            if message is None:
                return received
            received.append(message)
            if chance.random() < 0.3:
                yield coro.sleep(0)
            if chance.random() < 0.1:
                coro.mailbox_capacity = chance.choice([1, 2, 5])

    def main(coro=None):
        receiver, sent, given_up = bounded(2, take), [], set()
        senders = [Coro(sender, receiver, name, sent, given_up) for name in range(20)]
        while any(each.is_alive() for each in senders):
            if chance.random() < 0.05:
                chance.choice(senders).terminate()
            yield coro.sleep(0)
        yield receiver.deliver(None)
        received = yield receiver.finish()
        # A sender may have been ended in its last step, after it had sent.
        assert len(set(received)) == len(received)
        assert set(sent) <= set(received) <= set(sent) | given_up
        for name in range(20):
            numbers = [number for sender, number in received if sender == name]
            assert numbers == sorted(numbers)

    go(main)


def test_many_threads_and_coroutines_send_to_one():
    def take(count, coro=None):
        coro.mailbox_capacity = 3
        received = []
        while len(received) < count:
            received.append((yield coro.receive()))
        return received

    def refused_or_sent(receiver, name):
        for number in range(50):
            while True:
                try:
                    assert receiver.send((name, number)) == 0
                    break
                except MailboxFull:
                    assert Coro(asyncoro.sleep(0)).value() is None

    def sender(receiver, name, coro=None):
        for number in range(50):
            assert (yield receiver.deliver((name, number))) == 1

    receiver = Coro(take, 400)
    threads = [parallel(refused_or_sent, receiver, name) for name in range(4)]
    coros = [Coro(sender, receiver, name) for name in range(4, 8)]
    received = done(receiver)
    for thread in threads:
        thread.result()
    assert [done(coro) for coro in coros] == [None] * 4
    assert sorted(received) == [(name, number) for name in range(8) for number in range(50)]
    for name in range(8):
        assert [number for sender, number in received if sender == name] == list(range(50))
