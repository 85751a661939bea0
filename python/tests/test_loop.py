"""asyncoro.EventLoop: an event loop of asyncio's that is a scheduler of ours."""

import asyncio
import contextvars
import errno
import gc
import logging
import math
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
import weakref

import pytest

import asyncoro
from harness import WAIT, run_program
from loops import loop, pair, run  # noqa: F401


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


def test_who_replaces_the_look_up_of_asyncio_events_changes_nothing():
    # As tests of CPython 3.9 do.
    program = """
import asyncio, socket
import asyncoro
asyncio.events._get_running_loop = lambda: None

async def main():
    one, two = map(asyncoro.AsyncSocket, socket.socketpair())
    await one.send_msg(b"hello")
    print(bytes(await two.recv_msg()).decode())

loop = asyncoro.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""
    assert run_program(program).stdout.split() == ["hello"]


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
