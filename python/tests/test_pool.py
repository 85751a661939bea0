"""AsyncThreadPool and AsyncDBCursor: values, failures, ends, and coroutines that no longer wait."""

import asyncio
import contextlib
import contextvars
import gc
import os
import sqlite3
import threading
import time
import weakref

import pytest

import asyncoro
from asyncoro import AsyncDBCursor, AsyncThreadPool, Coro
from harness import WAIT, also_await, done, go, let_run, parallel, run_program

#: How often the races are run.
TIMES = 200


@pytest.fixture
def pool():
    """A pool of two threads."""
    made = AsyncThreadPool(2)
    yield made
    made.terminate()


class Gate:
    """A function that runs until it is let go."""

    def __init__(self):
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, value=None):
        self.begun.set()
        assert self.go_on.wait(WAIT)
        return value


def until(condition):
    """Waits in a coroutine until something holds."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        yield asyncoro.sleep(0.001)


# ---- functions


@also_await
def test_a_function_runs_on_a_thread_and_its_value_comes_back(pool):
    def work(*args, **kwargs):
        return threading.current_thread(), args, kwargs

    def main():
        thread, args, kwargs = yield pool.async_task(work, 1, 2, three=3)
        assert thread is not threading.current_thread() and thread.daemon
        assert (args, kwargs) == ((1, 2), {"three": 3})
        assert (yield pool.async_task(work, args=(1,), kwargs={"two": 2}))[1:] == ((1,), {"two": 2})
        assert (yield pool.async_task(target=work, args=(1,)))[1:] == ((1,), {})
        assert (yield pool.async_task(work, kwargs={"two": 2}))[1:] == ((), {"two": 2})
        assert (yield pool.async_task(work, two=2))[1:] == ((), {"two": 2})
        assert (yield pool.async_task(work, 1, args=2))[1:] == ((1,), {"args": 2})
        assert (yield pool.async_task(work))[1:] == ((), {})

    go(main)


class Failure(BaseException):
    pass


@pytest.mark.parametrize("kind", [ValueError, Failure, SystemExit, KeyboardInterrupt])
def test_what_a_function_raises_is_raised_in_the_coroutine(pool, kind):
    def work():
        raise kind("no good")

    def main():
        with pytest.raises(kind, match="no good") as caught:
            yield pool.async_task(work)
        assert "work" in [entry.name for entry in caught.traceback]
        return (yield pool.async_task(int, "5"))

    assert go(main) == 5


@also_await
def test_stop_iteration_of_a_function_ends_no_coroutine(pool):
    def main():
        with pytest.raises(RuntimeError, match="StopIteration"):
            yield pool.async_task(next, iter(()))
        with pytest.raises(TypeError):
            yield pool.async_task(5)

    go(main)


@also_await
def test_context_variables_are_those_of_the_call(pool):
    name = contextvars.ContextVar("name", default="nobody")

    def work():
        before = name.get()
        name.set("the function")
        return before

    def main():
        name.set("the coroutine")
        assert (yield pool.async_task(work)) == "the coroutine"
        assert name.get() == "the coroutine"

    go(main)


def test_as_many_functions_as_there_are_threads_run_at_once(pool):
    running, most = [], []

    def work(number):
        running.append(number)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(number)
        return number

    def main():
        calls = [pool.async_task(work, number) for number in range(10)]
        return (yield asyncoro.gather(*calls))

    assert go(main) == list(range(10))
    assert max(most) == 2


def test_others_run_meanwhile(pool):
    def main():
        gate = Gate()
        waiting = asyncoro.Coro(pool.async_task, gate, "value")
        yield from until(gate.begun.is_set)
        assert waiting.is_alive()
        gate.go_on.set()
        return (yield waiting.finish())

    assert go(main) == "value"


def test_numbers_of_threads_are_checked():
    for wrong, error in [(0, ValueError), (-1, ValueError), ("2", TypeError), (None, TypeError)]:
        with pytest.raises(error):
            AsyncThreadPool(wrong)


# ---- coroutines that no longer wait


@pytest.mark.parametrize("how", ["terminate", "throw", "timeout"])
def test_a_coroutine_that_no_longer_waits_costs_no_thread(how):
    pool = AsyncThreadPool(1)
    gate, runs = Gate(), []

    def wait():
        if how == "timeout":
            with pytest.raises(TimeoutError):
                yield asyncoro.timeout(0.01, pool.async_task(gate))
        else:
            yield pool.async_task(gate)

    def queued():
        yield pool.async_task(runs.append, "withdrawn")

    def main():
        waiting = asyncoro.Coro(wait)
        yield from until(gate.begun.is_set)
        behind = asyncoro.Coro(queued)
        yield asyncoro.sleep(0)
        behind.terminate()
        if how == "terminate":
            waiting.terminate()
        elif how == "throw":
            waiting.throw(asyncoro.Terminated())
        yield waiting.finish()
        yield behind.finish()
        after = asyncoro.Coro(pool.async_task, runs.append, "after")
        yield asyncoro.sleep(0.01)
        assert after.is_alive()
        gate.go_on.set()
        yield after.finish()
        yield pool.terminate()

    asyncoro.logger.setLevel(asyncoro.Logger.CRITICAL)
    try:
        go(main)
    finally:
        asyncoro.logger.setLevel(asyncoro.Logger.INFO)
    assert runs == ["after"]


def test_a_failure_that_nobody_waits_for_is_logged(pool, caplog):
    gate = Gate()

    def work():
        gate()
        raise ValueError("seen by nobody")

    def wait():
        yield pool.async_task(work)

    def main():
        waiting = asyncoro.Coro(wait)
        yield from until(gate.begun.is_set)
        waiting.terminate()
        yield waiting.finish()
        gate.go_on.set()
        yield pool.join()

    go(main)
    assert "seen by nobody" in caplog.text and "wait" in caplog.text


def test_terminated_at_any_point_while_values_come():
    pool = AsyncThreadPool(4)
    values = []

    def work(number):
        return number

    def wait(number):
        values.append((yield pool.async_task(work, number)))

    def main():
        for number in range(TIMES):
            waiting = asyncoro.Coro(wait, number)
            for _ in range(number % 5):
                yield asyncoro.sleep(0)
            waiting.terminate()
            yield waiting.finish()
        # Every thread still works.
        got = yield asyncoro.gather(*(pool.async_task(work, number) for number in range(50)))
        assert got == list(range(50))
        yield pool.terminate()

    go(main)
    assert len(values) <= TIMES


def test_nothing_of_a_call_is_kept_when_it_is_over(pool):
    class Thing:
        pass

    def main():
        thing = Thing()
        seen = weakref.ref(thing)
        result = yield pool.async_task(lambda it: it, thing)
        assert result is thing
        del thing, result
        yield pool.join()
        yield from until(lambda: gc.collect() is not None and seen() is None)
        forgotten = Thing()
        seen = weakref.ref(forgotten)
        call = pool.async_task(id, forgotten)
        call.close()
        del call, forgotten
        gc.collect()
        assert seen() is None

    go(main)


# ---- ends


def test_join_waits_in_threads_and_in_coroutines(pool):
    gate = Gate()
    waiting = asyncoro.Coro(pool.async_task, gate)
    let_run()
    assert gate.begun.wait(WAIT)
    assert pool.join(0.01) is False

    def main():
        assert (yield pool.join(0.01)) is False
        joining = asyncoro.Coro(pool.join)
        yield asyncoro.sleep(0)
        assert joining.is_alive()
        gate.go_on.set()
        assert (yield joining.finish()) is True
        return (yield pool.join(WAIT))

    assert go(main) is True
    assert pool.join() is True
    done(waiting)


@pytest.mark.parametrize("name", ["join", "terminate"])
def test_a_function_of_a_pool_does_not_wait_for_its_own_end(pool, name):
    async def main():
        with pytest.raises(RuntimeError, match="end of that pool"):
            await pool.async_task(getattr(pool, name))
        return await pool.async_task(len, "abc")

    assert go(main) == 3


def test_terminate_lets_what_was_given_end_and_takes_no_more():
    pool = AsyncThreadPool(2)
    gate, done_ = Gate(), []

    def main():
        coros = [asyncoro.Coro(pool.async_task, gate) for _ in range(2)]
        coros += [asyncoro.Coro(pool.async_task, done_.append, number) for number in range(5)]
        yield from until(gate.begun.is_set)
        ending = asyncoro.Coro(pool.terminate)
        yield asyncoro.sleep(0.01)
        assert ending.is_alive()
        with pytest.raises(RuntimeError, match="terminated"):
            yield pool.async_task(print)
        gate.go_on.set()
        yield ending.finish()
        for coro in coros:
            yield coro.finish()
        yield pool.terminate()

    go(main)
    assert done_ == list(range(5))
    assert pool.terminate() is True
    assert not [each for each in threading.enumerate() if each.name.startswith("asyncoro-pool")]


def test_with_ends_a_pool():
    with AsyncThreadPool(1) as pool:
        assert done(asyncoro.Coro(pool.async_task, int, "5")) == 5
    with pytest.raises(RuntimeError):
        asyncoro.Coro(pool.async_task, int, "5").result()

    async def main():
        async with AsyncThreadPool(1) as pool:
            assert await pool.async_task(int, "5") == 5
        with pytest.raises(RuntimeError):
            await pool.async_task(int, "5")

    go(main)


def test_a_pool_that_is_dropped_ends_its_threads():
    before = threading.active_count()

    def main():
        pool = AsyncThreadPool(3)
        yield asyncoro.gather(*(pool.async_task(time.sleep, 0.01) for _ in range(3)))
        assert threading.active_count() >= before + 3

    go(main)
    gc.collect()
    deadline = time.monotonic() + WAIT
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() <= before


def test_a_function_that_a_pool_runs_may_use_it_too(pool):
    def inner():
        yield asyncoro.sleep(0)
        return (yield pool.async_task(int, "6"))

    def work():
        return asyncoro.Coro(inner).result()

    def main():
        return (yield pool.async_task(work))

    assert go(main) == 6


def test_the_end_of_the_program():
    source = """
        pool = asyncoro.AsyncThreadPool(3)
        hangs = threading.Event()

        def waits():
            print((yield pool.async_task(lambda: time.sleep(0.2) or "waited for")))

        def left(coro=None):
            yield pool.async_task(hangs.wait)

        leaves = asyncoro.Coro(left)
        asyncoro.Coro(waits)
        time.sleep(0.05)
        leaves.terminate()
    """
    program = run_program(source)
    assert program.process.returncode == 0
    assert (program.stdout, program.stderr) == ("waited for\n", "")


def test_the_end_of_the_program_many_times():
    source = """
        pool = asyncoro.AsyncThreadPool(8)

        async def main():
            return await asyncoro.gather(*(pool.async_task(int, "1") for _ in range(20)))

        print(sum(asyncoro.run(main())))
    """
    for _ in range(4):
        program = run_program(source)
        assert program.process.returncode == 0
        assert (program.stdout, program.stderr) == ("20\n", "")


def test_the_child_of_a_fork_has_threads_of_its_own():
    source = """
        import sqlite3
        pool = asyncoro.AsyncThreadPool(2)
        gate = threading.Event()
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        cursor = asyncoro.AsyncDBCursor(pool, connection.cursor())

        def use(what):
            yield cursor.execute("select 1")
            return (yield pool.async_task(lambda: (what, os.getpid())))

        def busy():
            yield pool.async_task(gate.wait)

        asyncoro.Coro(busy)
        print(asyncoro.Coro(use, "parent").result()[0])
        child = os.fork()
        if child == 0:
            what, pid = asyncoro.Coro(use, "child").result()
            assert pid == os.getpid()
            pool.terminate()
            print(what, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(asyncoro.Coro(use, "parent again").result()[0])
        gate.set()
    """
    program = run_program(source)
    assert program.process.returncode == 0
    assert program.stdout.splitlines() == ["parent", "child", "parent again"]


# ---- where it works


def test_pools_work_in_tasks_of_asyncio():
    async def main():
        async with AsyncThreadPool(2) as pool:
            assert await pool.async_task(int, "5") == 5
            gate = Gate()
            waiting = asyncio.ensure_future(pool.async_task(gate, "value"))
            while not gate.begun.is_set():
                await asyncio.sleep(0.001)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(pool.join(), 0.01)
            assert await pool.join(timeout=0.01) is False
            gate.go_on.set()
            assert await waiting == "value"
            assert await pool.join() is True
            with pytest.raises(ZeroDivisionError):
                await pool.async_task(divmod, 1, 0)

    for factory in (asyncio.new_event_loop, asyncoro.new_event_loop):
        loop = factory()
        try:
            loop.run_until_complete(asyncio.wait_for(main(), WAIT))
        finally:
            loop.close()


def test_several_threads_use_a_pool(pool):
    def use(start):
        def main():
            return (yield pool.async_task(sum, range(start)))

        for _ in range(TIMES // 4):
            assert done(asyncoro.Coro(main)) == sum(range(start))

    for thread in [parallel(use, start) for start in range(4)]:
        thread.result()


# ---- cursors


@pytest.fixture
def connection():
    made = sqlite3.connect(":memory:", check_same_thread=False)
    yield made
    made.close()


@also_await
def test_statements_run_on_threads(pool, connection):
    def main():
        cursor = AsyncDBCursor(pool, connection.cursor())
        threads = []
        connection.create_function("seen", 0, lambda: threads.append(threading.get_ident()) or 1)
        yield cursor.execute("create table users (id integer, name text)")
        yield cursor.execute("insert into users values (?, ?)", (1, "one"))
        yield cursor.execute("insert into users values (:id, :name)", {"id": 2, "name": "two"})
        yield cursor.executemany("insert into users values (?, ?)", [(3, "three"), (4, "four")])
        assert cursor.rowcount == 2
        result = yield cursor.execute("select name, seen() from users order by id")
        assert result is cursor._cursor
        assert [name for name, _ in cursor] == ["one", "two", "three", "four"]
        assert threads and threading.get_ident() not in threads
        yield cursor.execute("select name from users where id = ?", [3])
        assert cursor.fetchone() == ("three",)
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            yield cursor.execute("select * from missing")
        with pytest.raises(AttributeError):
            cursor.no_such_attribute
        # sqlite3 has none.
        with pytest.raises(AttributeError):
            yield cursor.callproc("procedure")
        cursor.close()
        with pytest.raises(sqlite3.ProgrammingError):
            yield cursor.execute("select 1")

    go(main)


def test_callproc_gives_the_procedure_its_arguments(pool):
    class Cursor:
        def callproc(self, name, args):
            return name, args

    def main():
        cursor = AsyncDBCursor(pool, Cursor())
        assert (yield cursor.callproc("clean_up")) == ("clean_up", ())
        assert (yield cursor.callproc("clean_up", (1,))) == ("clean_up", (1,))

    go(main)


def test_a_connection_that_is_used_in_its_own_thread_alone_says_so(pool):
    def main():
        connection = sqlite3.connect(":memory:")
        cursor = AsyncDBCursor(pool, connection.cursor())
        with pytest.raises(sqlite3.ProgrammingError, match="thread"):
            yield cursor.execute("select 1")
        connection.close()

    go(main)


class Slow:
    """A cursor that notes what it runs, one statement at a time."""

    def __init__(self):
        self.statements, self.running, self.gate = [], 0, threading.Event()

    def execute(self, query):
        assert self.running == 0
        self.running += 1
        self.gate.wait(WAIT)
        self.statements.append(query)
        self.running -= 1
        return query


def test_statements_of_a_cursor_run_one_after_the_other_and_those_of_two_at_once(pool):
    slow, other = Slow(), Slow()
    other.gate.set()

    def main():
        cursor, second = AsyncDBCursor(pool, slow), AsyncDBCursor(pool, other)
        coros = [asyncoro.Coro(cursor.execute, number) for number in range(10)]
        yield asyncoro.sleep(0)
        # The other thread is free.
        assert (yield second.execute("other")) == "other"
        slow.gate.set()
        values = []
        for coro in coros:
            values.append((yield coro.finish()))
        return values

    assert go(main) == list(range(10))
    assert slow.statements == list(range(10))


def test_a_coroutine_that_no_longer_waits_for_a_statement_withdraws_it(pool):
    slow = Slow()

    def main():
        cursor = AsyncDBCursor(pool, slow)
        coros = [asyncoro.Coro(cursor.execute, number) for number in range(4)]
        yield from until(lambda: slow.running)
        for number in (0, 2):
            coros[number].terminate()
        for number in (0, 2):
            yield coros[number].finish()
        slow.gate.set()
        yield coros[3].finish()
        yield coros[1].finish()

    go(main)
    # The first one was begun.
    assert slow.statements == [0, 1, 3]


def test_a_cursor_of_a_pool_that_was_terminated():
    pool = AsyncThreadPool(1)
    slow = Slow()
    cursor = AsyncDBCursor(pool, slow)

    def main():
        coros = [asyncoro.Coro(cursor.execute, number) for number in range(3)]
        yield from until(lambda: slow.running)
        ending = asyncoro.Coro(pool.terminate)
        yield asyncoro.sleep(0)
        slow.gate.set()
        for coro in coros:
            yield coro.finish()
        yield ending.finish()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="terminated"):
                yield cursor.execute("late")

    go(main)
    assert slow.statements == [0, 1, 2]


def test_many_cursors_at_once(tmp_path):
    path = str(tmp_path / "database")
    with sqlite3.connect(path) as connection:
        connection.execute("create table numbers (number integer)")

    def insert(pool, start):
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        cursor = AsyncDBCursor(pool, connection.cursor())
        for number in range(start, start + 10):
            yield cursor.execute("insert into numbers values (?)", (number,))
        connection.close()

    def main():
        pool = AsyncThreadPool(4)
        coros = [asyncoro.Coro(insert, pool, 10 * each) for each in range(5)]
        for coro in coros:
            yield coro.finish()
        yield pool.terminate()

    go(main)
    with sqlite3.connect(path) as connection:
        rows = connection.execute("select number from numbers order by number").fetchall()
    assert [number for number, in rows] == list(range(50))
    assert os.path.exists(path)


@pytest.mark.limit(30)
def test_a_pool_that_is_collected_in_its_own_thread_ends():
    """From Python 3.12 on a collection may begin wherever a thread has the lock of its pool."""
    collected = []

    class Collecting:
        """A lock that collects garbage once the thread of a pool has it."""

        def __init__(self, lock):
            self.lock = lock

        def __enter__(self):
            self.lock.acquire()
            if threading.current_thread().name.startswith("asyncoro-pool") and not collected:
                collected.append(gc.collect())

        def __exit__(self, *exception):
            self.lock.release()

    async def give_up(pool, work):
        with contextlib.suppress(TimeoutError):
            await asyncoro.timeout(0.02, pool.async_task(work))

    def abandoned():
        pool, goes_on = AsyncThreadPool(1), threading.Event()
        pool.circle = [pool]
        workers = pool._workers
        workers._lock = Collecting(workers._lock)
        done(Coro(give_up, pool, goes_on.wait))
        return workers, goes_on

    gc.disable()
    try:
        workers, goes_on = abandoned()
        threads = list(workers._threads)
        goes_on.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
    finally:
        gc.enable()
    assert collected and workers.is_ended
