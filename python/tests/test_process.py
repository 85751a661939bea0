"""Tests when a process ends, with which code, and what Ctrl-C and uncaught exceptions do."""

import time

import pytest

from harness import Program, run_program

STYLES = ["yield", "await"]


def styled(source, style):
    """Returns the program as written, or with `async def` and `await` for `def` and `yield`."""
    if style == "await":
        source = source.replace("def main", "async def main").replace("yield ", "await ")
    return source


@pytest.mark.parametrize("style", STYLES)
def test_the_process_waits_for_coroutines_that_are_no_daemons(style):
    source = """
def main(coro=None):
    yield coro.sleep(0.7)
    print("coroutine is done")
asyncoro.Coro(main)
print("main is done")
"""
    started = time.monotonic()
    program = run_program(styled(source, style))
    assert program.process.returncode == 0
    assert program.stdout.split("\n")[:2] == ["main is done", "coroutine is done"]
    assert time.monotonic() - started > 0.7


@pytest.mark.parametrize("style", STYLES)
def test_the_process_does_not_wait_for_daemons_and_runs_their_finally(style):
    source = """
def main(coro=None):
    coro.set_daemon()
    try:
        yield coro.sleep(60)
    finally:
        print("finally")
asyncoro.Coro(main)
time.sleep(0.2)
"""
    started = time.monotonic()
    program = run_program(styled(source, style))
    assert program.process.returncode == 0
    assert program.stdout == "finally\n"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("end, code", [
    ("raise ValueError('main')", 1), ("sys.exit(3)", 3), ("sys.exit('text')", 1), ("pass", 0),
])
def test_the_exit_code_is_that_of_the_main_program(end, code):
    source = f"""
def main(coro=None):
    yield coro.sleep(0.3)
    print("coroutine is done")
asyncoro.Coro(main)
{end}
"""
    program = run_program(source)
    assert program.process.returncode == code
    assert "coroutine is done" in program.stdout


@pytest.mark.parametrize("style", STYLES)
def test_an_exception_in_a_coroutine_is_told_and_leaves_the_exit_code_alone(style):
    source = """
def main(coro=None):
    yield coro.sleep(0.1)
    raise ValueError("on purpose")
asyncoro.Coro(main)
def main2(coro=None):
    yield coro.sleep(0.3)
    print("the other goes on")
asyncoro.Coro(main2)
"""
    program = run_program(styled(source, style))
    assert program.process.returncode == 0
    assert "the other goes on" in program.stdout
    told = program.stdout + program.stderr
    assert "uncaught exception in main" in told
    assert "ValueError: on purpose" in told
    assert "ValueError: on purpose" in program.stderr


@pytest.mark.parametrize("error", ["SystemExit(5)", "KeyboardInterrupt()", "GeneratorExit()"])
@pytest.mark.parametrize("style", STYLES)
def test_no_exception_in_a_coroutine_hangs_the_process(style, error):
    source = f"""
def main(coro=None):
    yield coro.sleep(0.05)
    raise {error}
failing = asyncoro.Coro(main)
def main2(coro=None):
    yield coro.sleep(0.3)
    return "goes on"
print(asyncoro.Coro(main2).value(5))
failing.value(5)
print("is alive:", failing.is_alive())
"""
    program = run_program(styled(source, style))
    assert "goes on" in program.stdout
    assert "is alive: False" in program.stdout
    assert "hang" not in program.stderr


def test_an_exception_at_the_first_step_is_told():
    source = """
def main(coro=None):
    raise ValueError("at once")
    yield
asyncoro.Coro(main)
"""
    program = run_program(source)
    assert program.process.returncode == 0
    assert "at once" in program.stderr


def test_ctrl_c_while_waiting_at_exit_ends_the_process():
    source = """
def main(coro=None):
    print("waiting")
    yield coro.sleep(60)
asyncoro.Coro(main)
"""
    with Program(source) as program:
        program.expect("waiting")
        time.sleep(0.3)
        program.interrupt()
        program.end(5)


@pytest.mark.parametrize("wait", [
    "coro.value()", "coro.value(60)", "asyncoro.AsynCoro.instance().join()",
    "asyncoro.AsynCoro.instance().finish()", "time.sleep(60)",
])
def test_ctrl_c_while_the_main_thread_waits(wait):
    source = f"""
def main(coro=None):
    print("waiting")
    try:
        yield coro.sleep(60)
    finally:
        print("finally")
coro = asyncoro.Coro(main)
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted")
    coro.terminate()
"""
    with Program(source) as program:
        program.expect("waiting")
        time.sleep(0.3)
        program.interrupt()
        program.expect("interrupted")
        program.end(5)
        assert "finally" in program.stdout


@pytest.mark.parametrize("style", STYLES)
def test_ctrl_c_during_run_terminates_and_raises(style):
    source = """
def main():
    print("waiting")
    try:
        yield asyncoro.sleep(60)
    finally:
        print("finally")
try:
    asyncoro.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
    with Program(styled(source, style)) as program:
        program.expect("waiting")
        time.sleep(0.3)
        program.interrupt()
        assert program.end(5) == 0
        assert "finally" in program.stdout and "interrupted" in program.stdout


def test_uncaught_errors_of_run_are_those_of_the_process():
    source = """
def main():
    yield asyncoro.sleep(0.01)
    sys.exit(4)
asyncoro.run(main())
"""
    assert run_program(source).process.returncode == 4
    program = run_program(source.replace("sys.exit(4)", "raise KeyError('from main')"))
    assert program.process.returncode == 1
    assert "KeyError: 'from main'" in program.stderr


def test_importing_starts_nothing():
    source = """
print(threading.active_count(), len(os.listdir("/proc/self/task")))
"""
    program = run_program(source)
    assert program.stdout == "1 1\n"


def test_join_waits_for_all_but_daemons():
    source = """
def daemon(coro=None):
    coro.set_daemon()
    yield coro.sleep()
def sleeper(coro=None):
    yield coro.sleep()
asyncoro.Coro(daemon)
coro = asyncoro.Coro(sleeper)
time.sleep(0.1)
scheduler = asyncoro.AsynCoro.instance()
print(scheduler.join(timeout=0.1))
coro.terminate()
print(scheduler.join(timeout=5))
"""
    assert run_program(source).stdout == "False\nTrue\n"


def test_terminate_of_the_scheduler_ends_all_and_a_new_one_starts():
    source = """
def sleeper(coro=None):
    try:
        yield coro.sleep()
    finally:
        print("finally")
def main(coro=None):
    yield coro.sleep(0.01)
    return "value"
asyncoro.Coro(sleeper)
time.sleep(0.1)
asyncoro.AsynCoro.instance().terminate()
print(asyncoro.Coro(main).value(5))
asyncoro.AsynCoro.instance().finish()
print(asyncoro.Coro(main).value(5))
"""
    program = run_program(source)
    assert program.stdout == "finally\nvalue\nvalue\n"
    assert program.process.returncode == 0


def test_atexit_calls_the_higher_priority_first():
    source = """
def main(coro=None):
    yield coro.sleep(0.1)
    print("coroutine")
asyncoro.Coro(main)
scheduler = asyncoro.AsynCoro.instance()
scheduler.atexit(1, print, "one")
scheduler.atexit(9, print, "nine")
scheduler.atexit(5, print, "five")
scheduler.atexit(7, len, "dropped")
scheduler.drop_atexit(7, len)
"""
    program = run_program(source)
    assert program.stdout == "coroutine\nnine\nfive\none\n"


def test_a_coroutine_may_start_another_while_the_process_ends():
    source = """
def second(coro=None):
    yield coro.sleep(0.2)
    print("second")
def first(coro=None):
    yield coro.sleep(0.3)
    asyncoro.Coro(second)
asyncoro.Coro(first)
"""
    assert run_program(source).stdout == "second\n"


def test_sockets_left_open_are_flushed_at_exit():
    source = """
a, b = socket.socketpair()
sock = asyncoro.AsyncSocket(a)
def main(coro=None):
    yield sock.send_msg(b"last words")
asyncoro.Coro(main).value(5)
print(b.recv(100))
"""
    assert "last words" in run_program(source).stdout


def test_threads_that_make_the_first_coroutines_at_once_share_one_scheduler():
    program = run_program(
        "def work(coro=None):\n"
        "    yield\n"
        "    return 1\n"
        "sys.setswitchinterval(1e-6)\n"
        "gate = threading.Barrier(16)\n"
        "def first():\n"
        "    gate.wait()\n"
        "    values.append(asyncoro.Coro(work).value())\n"
        "values = []\n"
        "threads = [threading.Thread(target=first) for _ in range(16)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(sum(values), sum(t.name == 'asyncoro' for t in threading.enumerate()))\n"
    )
    assert program.stdout == "16 1\n"
