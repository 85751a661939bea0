"""The call of a verb is an object: what it does, and for whom, in every way to keep and end it."""

import contextlib
import gc
import sys
import textwrap
import threading
import warnings
import weakref

import pytest

import asyncoro
from asyncoro import Coro, sleep
from harness import PRELUDE, WAIT, Program, also_await, async_pair, done, go


def run(folder, text, *flags):
    """Runs a program from a file, whose lines warnings show."""
    path = folder / "program.py"
    path.write_text(PRELUDE + textwrap.dedent(text))
    with Program(command=[sys.executable, *flags, str(path)]) as program:
        program.end()
        return program


# ---- kept and passed on


@also_await
def test_a_call_starts_when_it_is_waited_for():
    sock, peer = async_pair()
    peer.sendall(b"first second")

    def main(coro=None):
        later = sock.recv(6)
        assert (yield sock.recv(6)) == b"first "
        return (yield later)

    assert go(main) == b"second"


@also_await
def test_a_call_that_nobody_awaits_has_done_nothing():
    sock, peer = async_pair()
    peer.sendall(b"received")

    def main(coro=None):
        calls = [sock.recv(10), sock.send_msg(b"unsent"), sock.sendall(b"unsent"), sock.recv_msg()]
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            while calls:
                calls.pop()
        texts = [str(warning.message) for warning in seen]
        yield sock.sendall(b"sent")
        return texts, (yield sock.recv(10))

    texts, data = go(main)
    names = ["recv_msg", "sendall", "send_msg", "recv"]
    assert texts == ["AsyncSocket.%s was never awaited" % name for name in names]
    assert data == b"received"
    assert peer.recv(100) == b"sent"


@also_await
def test_a_call_is_passed_to_another_coroutine():
    sock, peer = async_pair()

    def other(call):
        return (yield call)

    def main(coro=None):
        reader = Coro(other, sock.recv(10))
        yield coro.sleep(0)
        peer.sendall(b"data")
        return (yield reader.finish())

    assert go(main) == b"data"


@also_await
def test_a_call_is_made_in_a_thread_and_awaited_in_a_coroutine():
    sock, peer = async_pair()
    call = sock.recv(10)
    peer.sendall(b"data")

    def main(coro=None):
        return (yield call)

    assert go(main) == b"data"


def test_a_coroutine_runs_a_call_and_a_verb():
    sock, peer = async_pair()
    made = Coro(sock.recv(2))
    called = Coro(sock.recv, 2)
    peer.sendall(b"abcd")
    assert {done(made), done(called)} == {b"ab", b"cd"}


@also_await
def test_gather_takes_calls():
    one, its_peer = async_pair()
    two, other_peer = async_pair()
    its_peer.sendall(b"1")
    other_peer.sendall(b"2")

    def main(coro=None):
        return (yield asyncoro.gather(one.recv(1), two.recv(1), coro.receive(0, "none")))

    assert go(main) == [b"1", b"2", "none"]


@also_await
def test_a_message_that_another_coroutine_waits_for_wakes_it():
    def main(coro=None):
        both = Coro(asyncoro.gather, coro.receive(), coro.receive(), coro.sleep())
        yield asyncoro.sleep(0.01)
        coro.send("one")
        coro.send("two")
        coro.resume("resumed")
        return (yield both.finish())

    one, two, resumed = go(main)
    assert {one, two} == {"one", "two"} and resumed == "resumed"


@also_await
def test_timeout_takes_a_call():
    sock, peer = async_pair()

    def main(coro=None):
        try:
            yield asyncoro.timeout(0.01, sock.recv(1))
        except TimeoutError:
            peer.sendall(b"x")
            return (yield asyncoro.timeout(10, sock.recv(1)))

    assert go(main) == b"x"


@also_await
def test_the_first_of_several_loses_nothing_of_the_others():
    one, its_peer = async_pair()
    two, other_peer = async_pair()
    its_peer.sendall(b"1")
    other_peer.sendall(b"2")

    def main(coro=None):
        got = yield asyncoro.first(one.recv(1), two.recv(1))
        rest = yield asyncoro.first(one.recv(1), two.recv(1), coro.receive())
        late = yield asyncoro.first(one.recv(1), asyncoro.sleep(0.01))
        its_peer.sendall(b"3")
        return got, rest, late, (yield one.recv(1))

    assert go(main) == ((0, b"1"), (1, b"2"), (1, None), b"3")


@also_await
def test_the_first_of_coroutines_ends_the_others():
    ended = []

    def slow(coro=None):
        try:
            yield coro.sleep()
        finally:
            ended.append("slow")

    def fails(coro=None):
        yield coro.sleep(0)
        raise KeyError("failed")

    def main(coro=None):
        with pytest.raises(KeyError):
            yield asyncoro.first(slow, fails)
        yield asyncoro.sleep(0)
        return ended

    assert go(main) == ["slow"]


def test_first_refuses_what_is_no_call():
    def waits(coro=None):
        yield coro.sleep()

    def main(coro=None):
        with pytest.raises(ValueError):
            yield asyncoro.first()
        started = Coro(waits)
        with pytest.raises(TypeError):
            yield asyncoro.first(started, 5)
        yield asyncoro.sleep(0.01)
        return started.is_alive()

    assert go(main) is False


# ---- awaited once


@also_await
def test_a_second_await_of_a_call_is_an_error_that_names_it():
    sock, peer = async_pair()
    peer.sendall(b"data")

    def main(coro=None):
        call = sock.recv(10)
        first = yield call
        with pytest.raises(RuntimeError, match="AsyncSocket.recv was awaited before"):
            yield call
        with pytest.raises(RuntimeError, match="was awaited before"):
            yield asyncoro.first(call)
        return first

    assert go(main) == b"data"


@also_await
def test_a_call_that_another_one_waits_for_stays_with_it():
    sock, peer = async_pair()
    calls = []

    def owner(coro=None):
        calls.append(sock.recv(10))
        return (yield calls[0])

    def thief(coro=None):
        for way in (lambda call: call, asyncoro.first, asyncoro.gather):
            with pytest.raises(RuntimeError, match="awaited already"):
                yield way(calls[0])
        peer.sendall(b"mine")

    def main(coro=None):
        reader = Coro(owner)
        yield asyncoro.sleep(0.01)
        yield Coro(thief).finish()
        return (yield reader.finish())

    assert go(main) == b"mine"


@also_await
def test_a_call_that_was_thrown_out_of_is_over():
    sock, peer = async_pair()

    def main(coro=None):
        call = sock.recv(10)
        with pytest.raises(TimeoutError):
            yield asyncoro.timeout(0.01, call)
        with pytest.raises(RuntimeError, match="was awaited before"):
            yield call
        peer.sendall(b"whole")
        return (yield sock.recv(10))

    assert go(main) == b"whole"


# ---- by hand


def test_outside_of_a_coroutine_a_call_says_where_it_belongs():
    sock, _peer = async_pair()
    with pytest.raises(RuntimeError, match="is for coroutines"):
        sock.recv(1).send(None)
    with pytest.raises(RuntimeError, match="is for coroutines"):
        next(sock.recv(1))


def test_a_call_has_the_methods_of_a_coroutine():
    sock, peer = async_pair()

    def main():
        closed = sock.recv(10)
        assert closed.close() is None
        with pytest.raises(RuntimeError):
            closed.send(None)
        with pytest.raises(KeyError, match="thrown"):
            sock.recv(10).throw(KeyError("thrown"))
        with pytest.raises(KeyError, match="old way"):
            sock.recv(10).throw(KeyError, "old way", None)
        with pytest.raises(KeyError):
            sock.recv(10).throw(KeyError)
        with pytest.raises(OSError) as several:
            sock.recv(10).throw(OSError, (5, "several arguments"))
        assert several.value.errno == 5
        waiting = sock.recv(10)
        # What is no exception is refused, and does nothing.
        for wrong in [(), (5,), (int,), (KeyError("one"), KeyError("two"))]:
            with pytest.raises(TypeError):
                waiting.throw(*wrong)
        assert iter(waiting) is waiting and waiting.__await__() is waiting
        # It yields itself until its value is there.
        assert waiting.send(None) is waiting and next(waiting) is waiting
        peer.sendall(b"data")
        while True:
            try:
                yield waiting.send(None)
            except StopIteration as stop:
                return stop.value

    assert go(main) == b"data"


def test_a_value_that_is_a_tuple_or_an_exception_is_given_whole():
    async def main(coro=None):
        values = [("a", "tuple"), KeyError("no error"), StopIteration(5), None]
        got = []
        for value in values:
            coro.send(value)
            got.append((await coro.receive()) is value)
        return got

    assert go(main) == [True] * 4


def test_its_text_shows_verb_socket_and_state():
    sock, peer = async_pair()
    peer.sendall(b"x")
    shown = []

    def main(coro=None):
        call = sock.recv(1)
        shown.append(repr(call))
        yield call
        shown.append(repr(call))
        waiting = sock.recv(1)
        reader = Coro(waiting)
        yield coro.sleep(0)
        shown.append(repr(waiting))
        reader.terminate()
        name = repr(sock)
        return [text.replace(name, "SOCK") for text in shown]

    assert go(main) == [
        "<call AsyncSocket.recv() of SOCK: not started>",
        "<call AsyncSocket.recv() of SOCK: over>",
        "<call AsyncSocket.recv() of SOCK: waits>",
    ]


def test_a_call_cannot_be_made_by_its_class():
    with pytest.raises(TypeError):
        asyncoro.Call()
    with pytest.raises(TypeError):
        type("Derived", (asyncoro.Call,), {})
    assert "Call[bytes]" in str(asyncoro.Call[bytes])


def test_arguments_are_checked_when_the_call_is_made():
    sock, _peer = async_pair()
    with pytest.raises(ValueError):
        sock.recv(-1)
    with pytest.raises(TypeError):
        sock.send_msg("text")
    sock.close()
    with pytest.raises(OSError):
        sock.recv(1)


@also_await
def test_a_call_of_a_socket_that_was_closed_meanwhile_fails():
    sock, _peer = async_pair()

    def main(coro=None):
        call = sock.recv(1)
        sock.close()
        with pytest.raises(OSError) as failed:
            yield call
        return failed.value.errno

    assert go(main) == 9


@also_await
def test_what_a_call_sends_is_what_stands_in_its_buffer_when_it_starts():
    sock, peer = async_pair()

    def main(coro=None):
        data = bytearray(b"before")
        call = sock.send_msg(data)
        data[:] = b"longer than before"
        yield call
        yield sock.flush()

    go(main)
    assert peer.recv(100) == b"\0\0\0\x12longer than before"


def test_a_call_that_was_started_by_hand_may_be_dropped_anywhere():
    sock, peer = async_pair()
    kept = []

    def main(coro=None):
        for _ in range(3):
            call = sock.recv(10)
            assert call.send(None) is call
            kept.append(call)
        yield coro.sleep(0)

    go(main)
    # In a thread: its future belongs to the scheduler's.
    kept[0].close()
    with pytest.raises(KeyError):
        kept[1].throw(KeyError())
    kept.clear()
    peer.sendall(b"data")
    assert done(Coro(sock.recv, 10)) == b"data"


# ---- the warning


def test_the_warning_is_at_the_line_that_forgot_it(tmp_path):
    ran = run(
        tmp_path,
        """
        sock = asyncoro.AsyncSocket(socket.socketpair()[0])
        def main(coro=None):
            sock.send_msg(b"forgotten")
            yield
        asyncoro.Coro(main).value()
        """
    )
    line = next(line for line in ran.stderr.splitlines() if "RuntimeWarning" in line)
    assert line.endswith("RuntimeWarning: AsyncSocket.send_msg was never awaited")
    assert 'sock.send_msg(b"forgotten")' in ran.stderr


def test_in_development_mode_the_warning_is_at_the_line_that_made_it(tmp_path):
    text = """
        sock = asyncoro.AsyncSocket(socket.socketpair()[0])
        def main(coro=None):
            call = sock.recv(1)  # this one
            yield
            call = None
        asyncoro.Coro(main).value()
        """
    ran = run(tmp_path, text, "-X", "dev")
    assert "AsyncSocket.recv was never awaited" in ran.stderr
    assert "# this one" in ran.stderr


def test_a_warning_that_is_an_error_hurts_nobody(tmp_path):
    ran = run(
        tmp_path,
        """
        sock = asyncoro.AsyncSocket(socket.socketpair()[0])
        def main(coro=None):
            try:
                sock.recv(1)
                raise KeyError("the one that counts")
            except KeyError as error:
                yield
                return str(error)
        print(asyncoro.Coro(main).value())
        """,
        "-W",
        "error",
    )
    assert "the one that counts" in ran.stdout
    assert "was never awaited" in ran.stderr


# ---- generators that others close


def test_what_the_collector_closes_takes_no_bytes():
    sock, peer = async_pair()
    peer.sendall(b"whole")

    def forgotten():
        try:
            yield
        finally:
            sock.recv(2)

    def main():
        left = forgotten()
        next(left)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            del left
            gc.collect()
        return (yield sock.recv(10))

    assert go(main) == b"whole"


def test_a_program_with_a_trace_function_awaits_values(tmp_path):
    ran = run(
        tmp_path,
        """
        threading.settrace(lambda *_: None)
        def trace(frame, event, arg):
            return trace
        threading.settrace(trace)
        async def inner(sock):
            return await sock.recv_msg()
        async def main(coro=None):
            here, there = map(asyncoro.AsyncSocket, socket.socketpair())
            asyncoro.Coro(later, there)
            got = await inner(here)
            coro.send("message")
            return got, await coro.receive()
        async def later(sock):
            await asyncoro.sleep(0.01)
            await sock.send_msg(b"hello")
        print(asyncoro.Coro(main).result(5))
        """
    )
    assert "(bytearray(b'hello'), 'message')" in ran.stdout


def test_many_calls_in_many_threads_are_made_and_dropped():
    sock, _peer = async_pair()

    def make():
        with warnings.catch_warnings():
            for _ in range(300):
                sock.recv(1).close()
                [sock.recv(1) for _ in range(3)][0].close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert go(lambda: (yield)) is None


def test_a_call_that_was_entered_by_hand_wakes_whoever_yields_it_later():
    sock, peer = async_pair()
    kept = []

    def enters():
        kept.append(sock.recv(10))
        assert kept[0].send(None) is kept[0]
        yield

    def yields():
        # `await` has entered it, so the value is fetched by hand as well.
        assert (yield kept[0]) is None
        try:
            kept[0].send(None)
        except StopIteration as stop:
            return stop.value

    go(enters)
    reader = Coro(yields)
    go(enters_nothing)
    peer.sendall(b"data")
    assert done(reader) == b"data"


def enters_nothing():
    yield


# ---- exceptions and orders of others


class Chaos(Exception):
    """Thrown into a coroutine that goes on."""


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_an_exception_that_comes_between_two_calls_loses_no_message():
    def main(coro=None):
        seen = []
        while len(seen) < 2000:
            try:
                seen.append((yield coro.receive()))
            except Chaos:
                thrown.append(None)
        return seen

    def throw(other, coro=None):
        while other.throw(Chaos()) == 0:
            yield coro.sleep(0)

    def start(coro=None):
        other = Coro(main)
        for number in range(2000):
            other.send(number)
        Coro(throw, other)
        return (yield other.finish())

    thrown = []
    assert go(start) == list(range(2000))
    assert thrown


def test_an_order_that_comes_before_a_call_starts_leaves_its_bytes():
    sock, peer = async_pair()
    peer.sendall(b"12")

    def main(coro=None):
        coro.throw(Chaos())
        try:
            yield sock.recv(1)
        except Chaos:
            pass
        first = yield sock.recv(1)
        coro.throw(Chaos())
        try:
            return first, (yield read())
        except Chaos:
            return first, (yield sock.recv(1))

    def read():
        return (yield sock.recv(1))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert go(main) == (b"1", b"2")


def test_what_a_called_generator_returns_survives_an_order():
    sock, peer = async_pair()
    peer.sendall(b"x")

    def read(coro):
        data = yield sock.recv(1)
        coro.throw(Chaos())
        return data

    def main(coro=None):
        data = yield read(coro)
        try:
            yield
        except Chaos:
            return data

    assert go(main) == b"x"


@also_await
def test_a_coroutine_goes_on_when_another_closes_its_call():
    sock, peer = async_pair()

    def main(call):
        try:
            yield call
        except RuntimeError as error:
            return str(error)

    def start(coro=None):
        call = sock.recv(10)
        other = Coro(main, call)
        yield coro.sleep(0)
        call.close()
        return (yield other.finish(5))

    assert "AsyncSocket.recv" in go(start)


def test_a_coroutine_ends_when_another_closes_its_generator():
    sock, peer = async_pair()
    generators = []

    async def main(coro=None):
        generators.append(awaiting())
        await generators[0]

    async def awaiting():
        await sock.recv(10)

    def start(coro=None):
        other = Coro(main)
        yield coro.sleep(0)
        generators[0].close()
        yield other.finish(5)
        return other.is_alive()

    asyncoro.logger.setLevel(asyncoro.Logger.CRITICAL)
    try:
        assert go(start) is False
    finally:
        asyncoro.logger.setLevel(asyncoro.Logger.WARNING)


@pytest.mark.own("a coroutine begins before its maker has noted it")
def test_a_wait_in_first_makes_no_circle():
    def one(coro=None):
        return (yield from asyncoro.first(others[1].finish(), asyncoro.sleep(0.05)))

    def other(coro=None):
        return (yield others[0].finish())

    others = []
    others += [Coro(one), Coro(other)]
    assert done(others[0]) == (1, None)
    assert done(others[1]) == (1, None)


# ---- calls that are put off


@pytest.mark.parametrize("kind", ["sleep", "receive", "recv", "finish"])
def test_an_await_that_has_to_let_others_run_first_waits_all_the_same(kind):
    # After 255 awaited calls that were done at once, one is put off, in whatever it waits for.
    sock, peer = async_pair()

    async def waits(coro):
        if kind == "sleep":
            return await sleep(0.001)
        if kind == "receive":
            Coro(sends, coro)
            return await coro.receive()
        if kind == "recv":
            threading.Timer(0.001, peer.sendall, (b"x",)).start()
            return await sock.recv(1)
        return await Coro(sends, coro).finish()

    async def sends(to, coro=None):
        await sleep(0.001)
        to.send("sent")
        return "ended"

    async def main(count, coro=None):
        for number in range(count):
            coro.send(number)
        for number in range(count):
            assert await coro.receive() == number
        return await waits(coro)

    expected = {"sleep": None, "receive": "sent", "recv": b"x", "finish": "ended"}[kind]
    for count in range(253, 259):
        assert Coro(main, count).result(WAIT) == expected


def test_what_a_call_keeps_is_released_when_any_thread_throws_into_it():
    class Kept:
        pass

    def receiver(coro=None):
        yield coro.receive()

    other = Coro(receiver)
    for give_up in (lambda call: call.throw(KeyError), lambda call: call.close()):
        kept = Kept()
        reference = weakref.ref(kept)
        call = other.deliver(kept)
        del kept
        with contextlib.suppress(KeyError):
            give_up(call)
        assert reference() is None
    other.terminate()
