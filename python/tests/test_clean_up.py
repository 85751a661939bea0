"""What the `finally` of a terminated coroutine waits for goes on, for a time."""

import time

import pytest

import asyncoro
from asyncoro import AsynCoro, Coro
from harness import also_await, async_both, async_pair, done, go, run_program


def a_turn(coro=None):
    """Lets the others run as far as they come at once."""
    yield coro.sleep(0.01)


@pytest.fixture
def short_drain():
    before = AsynCoro().drain
    AsynCoro().drain = 0.05
    yield
    AsynCoro().drain = before


@also_await
def test_a_finally_may_wait_and_talk():
    sock, peer = async_pair()

    def victim(coro=None):
        try:
            yield coro.sleep()
        finally:
            yield asyncoro.sleep(0.01)
            yield sock.send_msg(b"goodbye")
            yield sock.flush()

    def main(coro=None):
        made = Coro(victim)
        yield coro.sleep(0)
        made.terminate()
        made.terminate()
        return (yield made.finish())

    assert go(main) is None
    assert peer.recv(100) == b"\0\0\0\x07goodbye"


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_each_of_nested_generators_waits_in_its_own_finally_inner_ones_first():
    log = []

    def cleanup(name):
        yield asyncoro.sleep(0.001)
        log.append(name)
        return name

    def innermost():
        try:
            yield asyncoro.sleep(30)
        finally:
            log.append((yield cleanup("innermost")))

    def inner():
        try:
            yield innermost()
        finally:
            log.append((yield cleanup("inner")))
        log.append("never")

    def swallows():
        try:
            yield inner()
        except GeneratorExit:
            log.append((yield cleanup("swallows")))
        return "not given"

    def outer(coro=None):
        try:
            log.append((yield swallows()))
        finally:
            log.append((yield cleanup("outer")))

    def main(coro=None):
        made = Coro(outer)
        yield coro.sleep(0)
        made.terminate()
        with pytest.raises(asyncoro.Terminated):
            yield asyncoro.gather(made)
        return log

    names = ["innermost", "inner", "swallows", "outer"]
    assert go(main) == [name for name in names for _ in range(2)]


def test_an_asynchronous_generator_that_lets_others_run_cleans_up_as_well():
    async def numbers(coro):
        try:
            while True:
                yield await coro.receive()
        finally:
            await asyncoro.sleep(0)
            log.append("inner")

    async def outer(coro=None):
        try:
            async for number in numbers(coro):
                assert number < 1000, "no other has run"
        finally:
            await asyncoro.sleep(0)
            log.append("outer")

    def terminate(coro):
        coro.terminate()
        yield

    def main(coro=None):
        made = Coro(outer)
        for number in range(2000):
            made.send(number)
        Coro(terminate, made)
        yield made.finish()
        return log

    log = []
    assert go(main) == ["inner", "outer"]


def test_generators_below_yield_from_wait_as_well():
    log = []

    def innermost():
        try:
            yield asyncoro.sleep(30)
        finally:
            yield asyncoro.sleep(0.001)
            log.append("innermost")

    def inner():
        try:
            yield from innermost()
        finally:
            yield from asyncoro.sleep(0.001)
            log.append("inner")

    def outer():
        try:
            yield from inner()
        finally:
            yield asyncoro.sleep(0.001)
            log.append("outer")

    made = Coro(outer)
    go(a_turn)
    made.terminate()
    assert done(made) is None
    assert log == ["innermost", "inner", "outer"]


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_an_exception_of_the_clean_up_is_logged_and_ends_it(caplog):
    def victim(coro=None):
        try:
            yield coro.sleep()
        finally:
            yield asyncoro.sleep(0)
            raise KeyError("in the clean-up")

    made = Coro(victim)
    go(a_turn)
    made.terminate()
    assert done(made) is None
    assert "in the clean-up" in caplog.text


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_what_takes_too_long_is_cut_off_and_named(short_drain, caplog):
    def waits_for_ever():
        yield asyncoro.sleep(30)  # here

    def stubborn(coro=None):
        try:
            yield coro.sleep()
        finally:
            yield waits_for_ever()

    made = Coro(stubborn)
    go(a_turn)
    made.terminate()
    assert done(made) is None
    text = caplog.text
    assert "stubborn/" in text and "was cut off" in text
    assert __file__ in text and "in waits_for_ever" in text


@also_await
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.no_task("a task can only be cancelled")
def test_a_loop_that_catches_everything_ends(short_drain):
    rounds = []

    def stubborn(coro=None):
        while True:
            try:
                yield coro.receive()
            except BaseException:
                rounds.append(1)

    made = Coro(stubborn)
    go(a_turn)
    made.terminate()
    assert done(made) is None
    assert 1 <= len(rounds) < 10


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_without_a_drain_time_nothing_is_waited_for():
    log = []

    def victim(coro=None):
        try:
            yield coro.sleep()
        finally:
            log.append("begun")
            yield asyncoro.sleep(0)
            log.append("never")

    AsynCoro().drain = 0
    try:
        made = Coro(victim)
        go(a_turn)
        made.terminate()
        assert done(made) is None
    finally:
        AsynCoro().drain = 1
    assert log == ["begun"]


def test_the_drain_time_is_a_number_of_seconds():
    assert AsynCoro().drain == 1.0
    with pytest.raises(ValueError):
        AsynCoro().drain = -1
    with pytest.raises(TypeError):
        AsynCoro().drain = "1"


@also_await
def test_a_timeout_in_the_clean_up_works():
    log = []

    def victim(coro=None):
        try:
            yield coro.sleep()
        finally:
            try:
                yield asyncoro.timeout(0.001, asyncoro.sleep(30))
            except TimeoutError:
                log.append("timed out")

    made = Coro(victim)
    go(a_turn)
    made.terminate()
    assert done(made) is None and log == ["timed out"]


def test_a_coroutine_that_was_not_started_has_no_clean_up():
    log = []

    def victim():
        log.append("started")
        yield

    def main(coro=None):
        made = Coro(victim)
        made.terminate()
        yield made.finish()
        return made.is_alive()

    assert go(main) is False and log == []


# ---- the end of a program


@pytest.mark.parametrize("end", ["", "asyncoro.AsynCoro().terminate(); print('terminated')"])
def test_at_the_end_of_a_program_daemons_clean_up(end):
    ran = run_program(
        f"""
        async def inner():
            try:
                await asyncoro.sleep(30)
            finally:
                await asyncoro.sleep(0.01)
                print("inner cleaned up")
        async def daemon(coro=None):
            coro.set_daemon()
            try:
                ready.set()
                await inner()
            finally:
                await asyncoro.sleep(0.01)
                print("cleaned up")
        ready = threading.Event()
        asyncoro.Coro(daemon)
        ready.wait()
        {end}
        """
    )
    assert ran.process.returncode == 0
    lines = ran.stdout.splitlines()
    assert lines[:2] == ["inner cleaned up", "cleaned up"]
    assert ran.stderr == ""


def test_a_program_ends_though_a_loop_catches_everything():
    started = time.monotonic()
    ran = run_program(
        """
        asyncoro.AsynCoro().drain = 0.05
        def server(coro=None):
            coro.set_daemon()
            while True:
                try:
                    yield coro.receive()
                except:
                    continue
        asyncoro.Coro(server)
        asyncoro.Coro(lambda: (yield asyncoro.sleep(0.01))).value()
        """
    )
    assert ran.process.returncode == 0
    assert "server/" in ran.stderr and "was cut off" in ran.stderr
    assert time.monotonic() - started < 10


# ---- asynchronous generators


def test_an_asynchronous_generator_that_is_left_is_closed():
    log = []

    async def lines():
        try:
            for number in range(3):
                yield number
        finally:
            await asyncoro.sleep(0.01)
            log.append("closed")

    async def main():
        async for number in lines():
            assert number == 0
            break
        await asyncoro.sleep(0.05)
        return log

    assert done(Coro(main)) == ["closed"]


def test_one_that_its_terminated_coroutine_was_in_is_closed():
    log = []
    one, other = async_both()

    async def messages():
        try:
            while True:
                yield await one.recv_msg()
        finally:
            await other.send_msg(b"closed")
            await other.flush()
            log.append("closed")

    async def main():
        async for _ in messages():
            pass

    made = Coro(main)
    go(a_turn)
    made.terminate()
    assert done(made) is None
    assert done(Coro(one.recv_msg)) == b"closed"
    go(a_turn)
    assert log == ["closed"]
