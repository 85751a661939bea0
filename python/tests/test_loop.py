"""asyncoro.EventLoop: an event loop of asyncio's that is a scheduler of ours."""

import asyncio
import contextvars
import errno
import gc
import logging
import math
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
import weakref

import pytest

import asyncoro
from harness import WAIT, run_program


@pytest.fixture
def loop():
    """A loop that is closed after the test."""
    made = asyncoro.new_event_loop()
    yield made
    if not made.is_closed():
        made.close()


@pytest.fixture
def pair():
    """Two connected sockets that do not block."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def run(loop, main):
    """Runs a coroutine object in a loop, bounded in time."""
    return loop.run_until_complete(asyncio.wait_for(main, WAIT))


# ---- how programs get one


def test_a_program_runs_in_one(loop):
    async def main():
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)
        return 7

    assert isinstance(loop, asyncoro.EventLoop)
    assert isinstance(loop, asyncio.SelectorEventLoop)
    assert run(loop, main()) == 7
    assert not loop.is_running()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner came with 3.11")
def test_a_runner_makes_one():
    async def main():
        return type(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=asyncoro.new_event_loop) as runner:
        assert runner.run(main()) is asyncoro.EventLoop


def test_run_of_ours_brings_one():
    async def main():
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop())

    assert asyncoro.run(main(), asyncio=asyncoro.new_event_loop) is asyncoro.EventLoop


def test_a_policy_makes_them():
    program = """
import asyncio, asyncoro, warnings
warnings.simplefilter('ignore', DeprecationWarning)
asyncio.set_event_loop_policy(asyncoro.EventLoopPolicy())
async def main():
    return type(asyncio.get_running_loop())
print(asyncio.run(main()) is asyncoro.EventLoop)
"""
    assert run_program(program).stdout.split() == ["True"]


def test_asyncio_is_not_imported_without_it():
    program = "import asyncoro, sys; print('asyncio' in sys.modules)"
    assert run_program(program).stdout.split() == ["False"]


# ---- callbacks


def test_callbacks_run_in_their_order_and_those_they_add_in_the_next_iteration(loop):
    called = []

    def first():
        called.append("first")
        loop.call_soon(called.append, "third")

    loop.call_soon(first)
    loop.call_soon(called.append, "second")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert called == ["first", "second"]
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert called == ["first", "second", "third"]


def test_a_callback_gets_all_its_arguments_and_its_context(loop):
    variable = contextvars.ContextVar("variable", default="none")
    called = []

    def note(*args):
        called.append((args, variable.get()))

    variable.set("at the call")
    loop.call_soon(note)
    loop.call_soon(note, 1, 2, 3)
    other = contextvars.Context()
    loop.call_soon(note, 4, context=other)
    variable.set("later")
    loop.call_later(0, note, 5)
    loop.call_soon_threadsafe(note, 6, context=None)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert called[0] == ((), "at the call")
    assert called[1] == ((1, 2, 3), "at the call")
    assert called[2] == ((4,), "none")
    assert sorted(called[3:]) == [((5,), "later"), ((6,), "later")]


def test_a_cancelled_callback_is_not_called(loop):
    called = []
    soon = loop.call_soon(called.append, "soon")
    later = loop.call_later(0.001, called.append, "later")
    late = loop.call_later(60, called.append, "late")
    for handle in (soon, later, late):
        assert not handle.cancelled()
        handle.cancel()
        handle.cancel()
        assert handle.cancelled()
        assert "cancelled" in repr(handle)
    loop.call_later(0.005, loop.stop)
    loop.run_forever()
    assert called == []


def test_what_a_cancelled_callback_refers_to_is_freed(loop):
    class Thing:
        pass

    thing = Thing()
    seen = weakref.ref(thing)
    handle = loop.call_later(60, print, thing)
    del thing
    gc.collect()
    assert seen() is not None
    handle.cancel()
    gc.collect()
    assert seen() is None


def test_a_handle_tells_what_it_calls(loop):
    handle = loop.call_later(60, sum, [1, 2])
    assert handle.when() > loop.time()
    assert "sum(" in repr(handle) and "TimerHandle" in repr(handle)
    assert isinstance(loop.call_soon(print).get_context(), contextvars.Context)


def test_an_exception_of_a_callback_is_for_the_handler_and_the_loop_goes_on(loop):
    told = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    handle = loop.call_soon(lambda: 1 / 0)
    loop.call_soon(loop.stop)
    loop.run_forever()
    (context,) = told
    assert isinstance(context["exception"], ZeroDivisionError)
    assert context["handle"] is handle
    assert "Exception in callback" in context["message"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_comes_out_and_what_is_left_is_called_later(loop, kind):
    def end():
        raise kind(3)

    called = []
    loop.call_soon(end)
    loop.call_soon(called.append, "left")
    with pytest.raises(kind):
        loop.run_forever()
    assert called == []
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert called == ["left"]


def test_a_closed_loop_takes_no_callbacks(loop):
    loop.close()
    loop.close()
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(0, print),
        lambda: loop.call_at(0, print),
        lambda: loop.add_reader(0, print),
        loop.run_forever,
    ):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_a_thread_wakes_a_loop_that_waits(loop):
    """However the loop waits: in its scheduler, or for readers as well."""

    def call():
        for _ in range(count):
            loop.call_soon_threadsafe(note)

    def note():
        nonlocal called
        called += 1
        if called == 4 * count:
            loop.stop()

    count = 2_000
    for watch in (False, True):
        called = 0
        ends = socket.socketpair()
        if watch:
            loop.add_reader(ends[0], print)
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        guard = loop.call_later(WAIT, loop.stop)
        loop.run_forever()
        guard.cancel()
        for thread in threads:
            thread.join()
        assert called == 4 * count
        if watch:
            loop.remove_reader(ends[0])
        for end in ends:
            end.close()


def test_debug_mode_tells_of_slow_callbacks_and_wrong_threads(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.001
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(time.sleep, 0.01)
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert any("took" in record.message for record in caplog.records)

    async def main():
        return await loop.run_in_executor(None, refused)

    def refused():
        with pytest.raises(RuntimeError, match="Non-thread-safe"):
            loop.call_soon(print)
        return True

    assert run(loop, main())
    with pytest.raises(TypeError, match="coroutine"):
        loop.call_soon(main)
    loop.call_later(60, print).cancel()


@pytest.mark.parametrize("debug", [False, True])
def test_a_task_that_failed_and_that_nobody_has_is_told_of_at_once(loop, debug):
    async def fails():
        1 / 0

    async def main():
        asyncio.create_task(fails())
        await asyncio.sleep(0)
        assert len(told) == 1

    told = []
    loop.set_debug(debug)
    loop.set_exception_handler(lambda _, context: told.append(context))
    loop.run_until_complete(main())


def test_showing_a_handle_does_not_disturb_it(loop):
    """In its own `repr` it may be cancelled, called or shown."""

    class Argument:
        def __init__(self, act):
            self.act = act

        def __repr__(self):
            self.act()
            return "argument"

    called = []
    loop.set_debug(False)
    handle = loop.call_soon(called.append, Argument(lambda: handle._run()))
    repr(handle._args)
    assert len(called) == 1
    handle.cancel()
    other = loop.call_soon(called.append, Argument(lambda: other.cancel()))
    repr(other._args)
    repr(other)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert len(called) == 1 and other.cancelled()


def test_handles_of_timers_are_ordered_by_their_time(loop):
    early, late = loop.call_later(1, print), loop.call_later(2, print)
    assert early < late and late > early and early <= late and not late <= early
    assert early == early and early != late
    assert len({early, late}) == 2
    with pytest.raises(TypeError):
        early < 1  # noqa: B015


def test_one_that_is_made_in_a_coroutine_of_the_process_is_refused():
    program = """
import asyncoro
async def main():
    try:
        asyncoro.new_event_loop()
    except RuntimeError as error:
        print('refused', 'coroutine of asyncoro' in str(error))
asyncoro.run(main())
"""
    assert run_program(program).stdout.split() == ["refused", "True"]


# ---- timers


def test_timers_are_called_by_their_time_also_within_a_tick(loop):
    called = []
    base = loop.time() + 0.002
    for place in (5, 1, 4, 2, 3):
        loop.call_at(base + place * 1e-6, called.append, place)
    loop.call_at(base + 0.001, loop.stop)
    loop.run_forever()
    assert called == [1, 2, 3, 4, 5]


def test_no_timer_is_called_early(loop):
    late = []

    def note(when):
        late.append(loop.time() - when)

    for step in range(200):
        when = loop.time() + step * 37e-6
        loop.call_at(when, note, when)
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert len(late) == 200
    assert min(late) >= 0


@pytest.mark.parametrize("delay", [-1, 0, -math.inf, math.nan, 0.0001])
def test_what_is_due_is_called_at_once(loop, delay):
    loop.call_later(delay, loop.stop)
    loop.run_forever()


def test_what_is_due_needs_no_tick_of_the_wheel(loop):
    def again(left):
        if left:
            loop.call_later(0, again, left - 1)
        else:
            loop.stop()

    count = 0
    once = loop._run_once

    def counted():
        nonlocal count
        count += 1
        once()

    loop._run_once = counted
    again(100)
    loop.run_forever()
    del loop._run_once
    assert count <= 102


@pytest.mark.parametrize("debug", [False, True])
def test_a_cancelled_timer_is_freed_at_once(loop, debug):
    class Thing:
        pass

    loop.set_debug(debug)
    handle = loop.call_later(3600, print, Thing())
    seen = weakref.ref(handle)
    handle.cancel()
    del handle
    gc.collect()
    assert seen() is None


def test_a_time_that_never_comes_is_waited_for(loop):
    far = [loop.call_later(delay, print) for delay in (1e9, 1e300, math.inf)]
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert not any(handle.cancelled() for handle in far)


def test_wrong_times_are_refused(loop):
    for call in (loop.call_later, loop.call_at):
        with pytest.raises(TypeError):
            call(None, print)
        with pytest.raises(TypeError):
            call("soon", print)


def test_the_time_is_that_of_the_clock(loop):
    before = time.monotonic()
    now = loop.time()
    assert before - 1e-3 <= now <= time.monotonic() + 1e-3


# ---- readers and writers


def test_a_reader_is_called_for_as_long_as_there_is_data(loop):
    called = []
    reading, writing = os.pipe()
    try:
        loop.add_reader(reading, lambda: called.append(os.read(reading, 1)))
        os.write(writing, b"abc")
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        assert called == [b"a", b"b", b"c"]
        assert loop.remove_reader(reading)
        assert not loop.remove_reader(reading)
        os.write(writing, b"d")
        loop.call_later(0.002, loop.stop)
        loop.run_forever()
        assert called == [b"a", b"b", b"c"]
    finally:
        os.close(reading)
        os.close(writing)


def test_a_reader_and_a_writer_of_one_descriptor(loop, pair):
    called = set()
    ours, theirs = pair
    loop.add_reader(ours, called.add, "read")
    loop.add_writer(ours.fileno(), called.add, "write")
    loop.call_later(0.002, loop.stop)
    loop.run_forever()
    assert called == {"write"}
    assert loop.remove_writer(ours)
    theirs.send(b"x")
    loop.call_later(0.002, loop.stop)
    loop.run_forever()
    assert called == {"write", "read"}
    assert loop.remove_reader(ours)


def test_a_second_reader_takes_the_place_of_the_first(loop, pair):
    called = []
    ours, theirs = pair
    theirs.send(b"x")
    loop.add_reader(ours, called.append, "first")
    loop.add_reader(ours, lambda: (called.append("second"), loop.stop()))
    loop.run_forever()
    assert set(called) == {"second"}
    loop.remove_reader(ours)


def test_a_number_may_be_used_anew_after_remove_reader(loop):
    for _ in range(3):
        ours, theirs = socket.socketpair()
        called = []
        loop.add_reader(ours, lambda: (called.append(ours.recv(1)), loop.stop()))
        theirs.send(b"x")
        loop.run_forever()
        assert called == [b"x"]
        loop.remove_reader(ours)
        ours.close()
        theirs.close()


def test_what_cannot_be_watched_is_refused_as_by_asyncio(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with open(path) as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, print)
        assert not loop.remove_reader(file)
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(-1, print)
    with pytest.raises(ValueError, match="Invalid file object"):
        loop.add_reader(object(), print)
    for number in (999_999, 2**31 - 1):
        with pytest.raises(OSError) as told:
            loop.add_reader(number, print)
        assert told.value.errno == errno.EBADF


def test_it_shows_what_it_watches(loop, pair):
    watched = loop._selector
    loop.add_reader(pair[0], print)
    key = watched.get_key(pair[0])
    assert key.fd == pair[0].fileno() and key.events == 1
    assert list(watched.get_map()) == [pair[0].fileno()]
    with pytest.raises(KeyError):
        watched.get_key(pair[1])
    loop.remove_reader(pair[0])


# ---- sock_recv and so on


def test_bytes_go_there_and_back(loop, pair):
    ours, theirs = pair

    async def main():
        await loop.sock_sendall(ours, b"hello")
        assert await loop.sock_recv(theirs, 2) == b"he"
        room = bytearray(10)
        assert await loop.sock_recv_into(theirs, room) == 3
        assert room[:3] == b"llo"
        waiting = asyncio.ensure_future(loop.sock_recv(theirs, 100))
        await asyncio.sleep(0)
        await loop.sock_sendall(ours, memoryview(b"later"))
        assert await waiting == b"later"
        ours.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(theirs, 100) == b""

    run(loop, main())


def test_much_is_sent_and_received(loop, pair):
    ours, theirs = pair
    data = bytes(range(256)) * 16_384

    async def receive():
        got = bytearray()
        while len(got) < len(data):
            got += await loop.sock_recv(theirs, 1 << 20)
        return got

    async def main():
        sending = asyncio.ensure_future(loop.sock_sendall(ours, bytearray(data)))
        assert await receive() == data
        assert await sending is None

    run(loop, main())


def test_a_buffer_that_is_being_sent_stays_as_it_is(loop, pair):
    ours, theirs = pair
    data = bytearray(4 << 20)

    async def main():
        sending = asyncio.ensure_future(loop.sock_sendall(ours, data))
        await asyncio.sleep(0)
        with pytest.raises(BufferError):
            data.clear()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        data.clear()

    run(loop, main())


def test_a_cancelled_receive_takes_nothing(loop, pair):
    ours, theirs = pair

    async def main():
        got = bytearray()
        for number in range(300):
            waiting = asyncio.ensure_future(loop.sock_recv(theirs, 1))
            await asyncio.sleep(0)
            ours.send(bytes([number % 256]))
            if number % 3:
                # Ready, perhaps, and not resumed.
                waiting.cancel()
            try:
                got += await waiting
            except asyncio.CancelledError:
                got += await loop.sock_recv(theirs, 1)
        assert got == bytes(number % 256 for number in range(300))
        with pytest.raises(BlockingIOError):
            theirs.recv(1)

    run(loop, main())


def test_a_timeout_bounds_each(loop, pair):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def main():
        for waits in (
            loop.sock_recv(pair[0], 1),
            loop.sock_recv_into(pair[0], bytearray(1)),
            loop.sock_recvfrom_into(pair[0], bytearray(1)),
            loop.sock_recvfrom(pair[0], 1),
            loop.sock_accept(listener),
        ):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(waits, 0.002)

    run(loop, main())
    listener.close()


def test_connections_are_made_and_accepted(loop):
    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await asyncio.sleep(0)
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))
        served, address = await accepting
        assert address == client.getsockname()
        assert served.gettimeout() == 0
        await loop.sock_sendall(client, b"x")
        assert await loop.sock_recv(served, 1) == b"x"
        port = listener.getsockname()[1]
        for sock in (listener, client, served):
            sock.close()
        refused = socket.socket()
        refused.setblocking(False)
        with pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(refused, ("127.0.0.1", port))
        refused.close()

    run(loop, main())


def test_datagrams_are_sent_and_received(loop):
    async def main():
        one, other = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        waiting = asyncio.ensure_future(loop.sock_recvfrom(other, 100))
        await asyncio.sleep(0)
        assert await loop.sock_sendto(one, b"hello", other.getsockname()) == 5
        assert await waiting == (b"hello", one.getsockname())
        await loop.sock_sendto(one, b"again", other.getsockname())
        room = bytearray(100)
        assert await loop.sock_recvfrom_into(other, room) == (5, one.getsockname())
        await loop.sock_sendto(one, b"again", other.getsockname())
        assert await loop.sock_recvfrom_into(other, room, 2) == (2, one.getsockname())
        one.close()
        other.close()

    if not hasattr(asyncio.SelectorEventLoop, "sock_recvfrom"):
        assert hasattr(loop, "sock_recvfrom")
    run(loop, main())


def test_two_tasks_may_wait_for_one_socket(loop, pair):
    ours, theirs = pair

    async def main():
        tasks = [asyncio.ensure_future(loop.sock_recv(theirs, 1)) for _ in range(2)]
        await asyncio.sleep(0)
        ours.send(b"ab")
        assert sorted([await task for task in tasks]) == [b"a", b"b"]
        both = [
            asyncio.ensure_future(loop.sock_recv(theirs, 1)),
            asyncio.ensure_future(loop.sock_sendall(theirs, b"x")),
        ]
        await asyncio.sleep(0)
        ours.send(b"c")
        assert await both[0] == b"c"
        await both[1]

    run(loop, main())


def test_a_number_that_another_socket_gets_is_watched_anew(loop):
    """In the iteration in which the first one was closed, too."""

    async def main():
        for _ in range(50):
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            number = theirs.fileno()
            waiting = asyncio.ensure_future(loop.sock_recv(theirs, 1))
            await asyncio.sleep(0)
            ours.send(b"x")
            assert await waiting == b"x"
            theirs.close()
            ours.close()
            again = socket.socketpair()
            assert number in [sock.fileno() for sock in again]
            for sock, other in (again, again[::-1]):
                sock.setblocking(False)
                waiting = asyncio.ensure_future(loop.sock_recv(sock, 1))
                await asyncio.sleep(0)
                other.send(b"y")
                assert await asyncio.wait_for(waiting, WAIT) == b"y"
            for sock in again:
                sock.close()

    run(loop, main())


def iterations(loop, seconds):
    """Returns how often a loop goes round in a time in which nothing happens."""
    count = 0
    once = loop._run_once

    def counted():
        nonlocal count
        count += 1
        once()

    loop._run_once = counted
    loop.run_until_complete(asyncio.sleep(seconds))
    del loop._run_once
    return count


def test_data_that_nobody_waits_for_does_not_keep_the_loop_busy(loop, pair):
    ours, theirs = pair

    async def receive(count):
        waiting = asyncio.ensure_future(loop.sock_recv(theirs, count))
        await asyncio.sleep(0)
        ours.send(b"abc")
        return await waiting

    assert run(loop, receive(1)) == b"a"
    assert iterations(loop, 0.05) < 10
    assert run(loop, loop.sock_recv(theirs, 2)) == b"bc"
    assert run(loop, receive(3)) == b"abc"


def test_a_socket_that_lives_on_elsewhere_does_not_keep_the_loop_busy(loop, pair):
    """Under another number, after the one that was waited for is closed: as in a child process."""
    ours, theirs = pair

    async def receive():
        waiting = asyncio.ensure_future(loop.sock_recv(theirs, 1))
        await asyncio.sleep(0)
        ours.send(b"a")
        return await waiting

    assert run(loop, receive()) == b"a"
    number = theirs.fileno()
    with theirs.dup():
        theirs.close()
        ours.send(b"bc")
        assert iterations(loop, 0.05) < 10
        # Whoever has the number now hears nothing of that.
        again = socket.socketpair()
        assert number in [sock.fileno() for sock in again]
        for sock in again:
            sock.setblocking(False)
            loop.add_reader(sock, pytest.fail, "told of another's data")
        assert iterations(loop, 0.05) < 10
        for sock in again:
            loop.remove_reader(sock)
            sock.close()


def test_a_number_that_is_made_another_files_is_watched_anew(loop, pair):
    ours, theirs = pair
    others = socket.socketpair()

    async def receive(sender):
        waiting = asyncio.ensure_future(loop.sock_recv(theirs, 1))
        await asyncio.sleep(0)
        sender.send(b"x")
        return await waiting

    assert run(loop, receive(ours)) == b"x"
    os.dup2(others[0].fileno(), theirs.fileno())
    theirs.setblocking(False)
    assert run(loop, receive(others[1])) == b"x"
    for sock in others:
        sock.close()


def test_a_transport_reads_nothing_of_a_socket_that_got_its_number(loop, pair):
    ours, theirs = pair
    told = []

    class Protocol(asyncio.Protocol):
        def data_received(self, data):
            told.append(data)

        def connection_lost(self, error):
            told.append(error)

    async def main():
        await loop.create_connection(Protocol, sock=theirs)
        number = theirs.fileno()
        again = []

        def steal():
            theirs.close()
            again.extend(socket.socketpair())
            assert number in [sock.fileno() for sock in again]
            for sock in again:
                sock.send(b"secret")

        ours.send(b"x")
        loop.call_soon(steal)
        while not told:
            await asyncio.sleep(0)
        assert b"secret" not in told
        for sock in again:
            sock.close()

    run(loop, main())


def test_what_a_socket_cannot_do_is_told(loop, pair):
    async def main():
        with pytest.raises(ValueError):
            await loop.sock_recv(pair[0], -1)
        with pytest.raises(TypeError):
            await loop.sock_sendall(pair[0], "text")
        with pytest.raises(TypeError):
            await loop.sock_recv_into(pair[0], b"constant")
        pair[1].close()
        with pytest.raises(BrokenPipeError):
            await loop.sock_sendall(pair[0], b"x")
        with pytest.raises(OSError):
            await loop.sock_recv(pair[1], 1)
        loop.set_debug(True)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with pytest.raises(ValueError, match="non-blocking"):
                await loop.sock_recv(ours, 1)
        loop.set_debug(False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with context.wrap_socket(socket.socket(), do_handshake_on_connect=False) as secured:
            with pytest.raises(TypeError, match="SSLSocket"):
                await loop.sock_recv(secured, 1)

    run(loop, main())


def test_a_socket_of_a_transport_is_refused(loop):
    async def main():
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        sock = writer.get_extra_info("socket")
        with pytest.raises(RuntimeError, match="is used by transport"):
            await loop.sock_recv(sock._sock, 1)
        writer.close()
        server.close()

    run(loop, main())


def test_they_are_awaited_in_our_coroutines_too(loop, pair):
    ours, theirs = pair

    async def receive(coro=None):
        return await loop.sock_recv(theirs, 10)

    async def main():
        coro = asyncoro.Coro(receive)
        await asyncio.sleep(0)
        await loop.sock_sendall(ours, b"x")
        return await coro

    assert run(loop, main()) == b"x"


def test_a_million_bytes_with_cancelled_receives_lose_nothing(loop, pair):
    ours, theirs = pair
    count = 20_000

    async def send():
        for number in range(count):
            await loop.sock_sendall(ours, number.to_bytes(4, "big"))

    async def main():
        sending = asyncio.ensure_future(send())
        got = bytearray()
        cancelled = 0
        while len(got) < 4 * count:
            waiting = asyncio.ensure_future(loop.sock_recv(theirs, 64))
            if cancelled % 2 == 0:
                await asyncio.sleep(0)
                waiting.cancel()
            try:
                got += await waiting
            except asyncio.CancelledError:
                pass
            cancelled += 1
        await sending
        assert got == b"".join(number.to_bytes(4, "big") for number in range(count))

    run(loop, main())


# ---- signals, processes, threads


@pytest.mark.parametrize("watch", [False, True])
def test_a_signal_wakes_it(watch):
    program = """
import asyncio, asyncoro, os, signal, socket, threading
loop = asyncoro.new_event_loop()
ends = socket.socketpair()
if %r:
    loop.add_reader(ends[0], print)
loop.add_signal_handler(signal.SIGUSR1, lambda: (print('called'), loop.stop()))
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
loop.run_forever()
print(loop.remove_signal_handler(signal.SIGUSR1))
loop.close()
""" % watch
    assert run_program(program).stdout.split() == ["called", "True"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the handler of asyncio came with 3.11")
@pytest.mark.parametrize("watch", [False, True])
def test_ctrl_c_ends_a_program(watch):
    program = """
import asyncio, asyncoro, os, signal, socket, threading
async def main():
    loop = asyncio.get_running_loop()
    ends = socket.socketpair()
    if %r:
        loop.add_reader(ends[0], print)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        await asyncio.sleep(60)
    finally:
        print('cleaned up')
try:
    with asyncio.Runner(loop_factory=asyncoro.new_event_loop) as runner:
        runner.run(main())
except KeyboardInterrupt:
    print('interrupted')
""" % watch
    assert run_program(program).stdout.split() == ["cleaned", "up", "interrupted"]


def test_processes_and_executors_work(loop):
    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(input()[::-1])",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate(b"abc\n")
        assert output == b"cba\n" and process.returncode == 0
        assert await loop.run_in_executor(None, lambda: 5) == 5

    asyncio.set_event_loop(loop)
    try:
        if sys.version_info < (3, 12):
            asyncio.get_child_watcher().attach_loop(loop)
        run(loop, main())
    finally:
        asyncio.set_event_loop(None)


def test_loops_in_several_threads(pair):
    def work():
        loop = asyncoro.new_event_loop()

        async def main():
            ours, theirs = socket.socketpair()
            one, other = asyncoro.AsyncSocket(ours), asyncoro.AsyncSocket(theirs)
            for number in range(200):
                receiving = asyncio.ensure_future(other.recv_msg())
                await asyncio.sleep(0)
                await one.send_msg(b"%d" % number)
                assert await receiving == b"%d" % number
            one.close()
            other.close()
            return 1

        results.append(run(loop, main()))
        loop.close()

    results = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 4


# ---- its end


def test_what_is_left_at_its_close_is_freed(loop):
    class Thing:
        pass

    things = [Thing() for _ in range(3)]
    seen = [weakref.ref(thing) for thing in things]
    reading, writing = os.pipe()
    loop.call_soon(print, things[0])
    loop.call_later(60, print, things[1])
    loop.add_reader(reading, print, things[2])
    del things
    loop.close()
    gc.collect()
    assert [ref() for ref in seen] == [None] * 3
    os.close(reading)
    os.close(writing)


def test_one_that_is_not_closed_is_told_of_and_collected():
    loop = asyncoro.new_event_loop()
    loop.call_later(60, print, loop)
    seen = weakref.ref(loop)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    assert seen() is None
    assert any("unclosed event loop" in str(warning.message) for warning in told)


def test_one_after_the_other_leaves_no_descriptors():
    def once():
        loop = asyncoro.new_event_loop()
        run(loop, asyncio.sleep(0))
        loop.close()

    once()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        once()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_child_of_a_fork_leaves_the_parents_and_may_run_its_own():
    program = """
import asyncio, asyncoro, os, socket
loop = asyncoro.new_event_loop()
ours, theirs = socket.socketpair()
theirs.setblocking(False)

async def receive(loop):
    return await asyncio.wait_for(loop.sock_recv(theirs, 1), 10)

ours.send(b'1')
assert loop.run_until_complete(receive(loop)) == b'1'
loop.add_reader(theirs, print)
child = os.fork()
if child == 0:
    loop.remove_reader(theirs)
    loop.close()
    own = asyncoro.new_event_loop()
    ours.send(b'2')
    print(own.run_until_complete(receive(own)), flush=True)
    own.close()
    os._exit(0)
os.waitpid(child, 0)
ours.send(b'3')
loop.remove_reader(theirs)
print(loop.run_until_complete(receive(loop)))
loop.close()
"""
    assert run_program(program).stdout.split() == ["b'2'", "b'3'"]
