"""Tests coroutines inside coroutines, stored calls, and what is refused with an error."""

import time

import pytest

import asyncoro
from asyncoro import AsynCoro, Coro
from harness import also_await, async_pair, done, go

DEPTH = 20_000


def test_generators_nest_20000_deep():
    def nested(depth):
        if depth == 0:
            yield AsynCoro.cur_coro().sleep(0.01)
            return 0
        return 1 + (yield nested(depth - 1))

    def main(coro=None):
        return (yield nested(DEPTH))

    assert go(main) == DEPTH


def test_an_exception_passes_20000_generators():
    def nested(depth):
        if depth == 0:
            yield AsynCoro.cur_coro().sleep(0.01)
            raise KeyError("deep")
        yield nested(depth - 1)

    def main(coro=None):
        try:
            yield nested(DEPTH)
        except KeyError as error:
            return error.args

    assert go(main) == ("deep",)


@also_await
def test_nested_coroutines_wait_on_sockets():
    sock, peer = async_pair()
    peer.sendall(b"\0\0\0\x02hi" * 300)

    def nested(depth):
        if depth == 0:
            return (yield sock.recv_msg())
        return (yield nested(depth - 1))

    def main(coro=None):
        messages = set()
        for depth in range(300):
            messages.add(bytes((yield nested(depth))))
        return messages

    assert go(main) == {b"hi"}


def test_yield_and_yield_from_mix():
    def leaf(n):
        yield AsynCoro.cur_coro().sleep(0)
        return n

    def middle(n):
        first = yield from leaf(n)
        second = yield leaf(n + 1)
        return first + second

    def main(coro=None):
        return (yield middle(1)), (yield from middle(10))

    assert go(main) == (3, 21)


def test_a_generator_may_yield_a_coroutine_of_async_def():
    async def leaf(n):
        await AsynCoro.cur_coro().sleep(0)
        return n

    def main(coro=None):
        value = yield leaf(5)

        async def bad():
            await coro.sleep(0)
            raise KeyError("async")

        try:
            yield bad()
        except KeyError as error:
            return value, error.args

    assert go(main) == (5, ("async",))


def test_generators_and_async_def_talk_to_each_other():
    async def receiver(coro=None):
        return await coro.receive()

    def sender(coro=None):
        other = Coro(receiver)
        other.send("from a generator")
        return (yield other.finish())

    assert go(sender) == "from a generator"


def test_yield_from_works_on_every_verb():
    sock, peer = async_pair()
    peer.sendall(b"abcdef" + b"\0\0\0\1m")

    def main(coro=None):
        data = yield from sock.recv(3)
        rest = yield from sock.recvall(3)
        message = yield from sock.recv_msg()
        yield from sock.sendall(b"x")
        slept = yield from coro.sleep(0.01, "alarm")
        return data, rest, message, slept

    assert go(main) == (b"abc", b"def", b"m", "alarm")


@also_await
def test_a_call_may_be_stored_and_waited_for_later():
    sock, peer = async_pair()

    def main(coro=None):
        stored = sock.recv(10)
        before = sum(range(1000))
        data = yield stored
        return before, data

    coro = Coro(main)
    time.sleep(0.1)
    peer.sendall(b"later")
    assert done(coro) == (499500, b"later")


@also_await
def test_a_call_may_be_waited_for_in_an_inner_function():
    sock, peer = async_pair()
    peer.sendall(b"data")

    def wait(call):
        return (yield call)

    def main(coro=None):
        return (yield wait(sock.recv(10)))

    assert go(main) == b"data"


@also_await
@pytest.mark.parametrize("is_ready", [True, False])
def test_a_call_is_waited_for_once(is_ready):
    sock, peer = async_pair()
    if is_ready:
        peer.sendall(b"data")

    def main(coro=None):
        stored = sock.recv(10)
        data = yield stored
        with pytest.raises(RuntimeError):
            yield stored
        return data, (yield coro.sleep(0.01, "goes on"))

    coro = Coro(main)
    time.sleep(0.1)
    if not is_ready:
        peer.sendall(b"data")
    assert done(coro) == (b"data", "goes on")


@also_await
def test_a_call_of_another_coroutine_is_refused():
    sock, peer = async_pair()
    calls = []

    def first(coro=None):
        calls.append(sock.recv(10))
        return (yield calls[0])

    def second(coro=None):
        with pytest.raises(RuntimeError):
            yield calls[0]
        return (yield coro.sleep(0.01, "goes on"))

    reader = Coro(first)
    time.sleep(0.05)
    assert go(second) == "goes on"
    peer.sendall(b"mine")
    assert done(reader) == b"mine"


@also_await
def test_terminate_unwinds_inner_before_outer_in_the_victims_own_context():
    order = []

    def inner():
        try:
            yield AsynCoro.cur_coro().sleep()
        finally:
            order.append(("inner", AsynCoro.cur_coro()))

    def outer(coro=None):
        try:
            yield inner()
        finally:
            order.append(("outer", AsynCoro.cur_coro()))

    def terminator(victim, coro=None):
        status = victim.terminate()
        yield victim.finish(5)
        return status

    victim = Coro(outer)
    time.sleep(0.05)
    assert go(terminator, victim) == 0
    assert order == [("inner", victim), ("outer", victim)]


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_throw_reaches_the_innermost_first():
    def inner():
        try:
            yield AsynCoro.cur_coro().sleep()
        except KeyError:
            raise ValueError("from inner") from None

    def outer(coro=None):
        try:
            yield inner()
        except ValueError as error:
            return str(error)

    coro = Coro(outer)
    time.sleep(0.05)
    coro.throw(KeyError("k"))
    assert done(coro) == "from inner"


def test_stop_iteration_raised_in_a_generator_fails_the_coroutine():
    def main(coro=None):
        yield coro.sleep(0)
        raise StopIteration(5)

    status = Coro(main).value(5)
    assert isinstance(status, asyncoro.MonitorStatus) and status.type is RuntimeError


def test_100000_waits_leave_the_stack_flat():
    def main(coro=None):
        for _ in range(100_000):
            yield coro.sleep(0)
        return "done"

    assert go(main) == "done"
