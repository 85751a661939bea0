"""Tests the end of the process: whatever threads and coroutines do then, it neither crashes nor
hangs. Each program runs several times: CPython stops a thread where it happens to be.
"""

import os
import sys

import pytest

from harness import Program, parallel, run_program

#: How often each program runs; more for a thorough search.
ROUNDS = int(os.environ.get("ASYNCORO_EXIT_ROUNDS", "8"))

#: Daemon threads that call `work` for ever, while the main thread ends.
DAEMONS = """
def value(coro=None):
    yield
    return 1
async def nothing():
    await asyncoro.sleep(0)
def daemon(coro=None):
    coro.set_daemon()
    yield asyncoro.sleep(0.001)
def forever(work):
    try:
        while True:
            work()
    except (RuntimeError, asyncoro.Terminated):
        pass  # the program is ending
{definitions}
for _ in range(3):
    threading.Thread(target=forever, args=({work},), daemon=True).start()
time.sleep(0.05)
"""

WORK = {
    "value": "lambda: asyncoro.Coro(value).value()",
    "result": "lambda: asyncoro.Coro(value).result()",
    "run": "lambda: asyncoro.run(nothing())",
    "start": "lambda: asyncoro.Coro(daemon)",
    "send": "send",
    "accept": "accept",
    "close": "close",
    "convert": "convert",
}

DEFINITIONS = """
def pair():
    return [asyncoro.AsyncSocket(sock, blocking=True) for sock in socket.socketpair()]
def send():
    one, other = pair()
    for _ in range(5):
        one.send_msg(b"x" * 100)
        other.recv_msg()
server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", 0)), blocking=True)
server.settimeout(0.001)
def accept():
    try:
        server.accept()
    except TimeoutError:
        pass
def use(sock, coro=None):
    coro.set_daemon()
    yield sock.send_msg(b"x")
    yield sock.recv_msg()
def close():
    one, other = map(asyncoro.AsyncSocket, socket.socketpair())
    asyncoro.Coro(use, one)
    time.sleep(0)
    one.close()
def convert():
    one, other = map(asyncoro.AsyncSocket, socket.socketpair())
    one.setblocking(True)
    one.send_msg(b"x")
    one.fileno()
    one.unwrap().close()
"""


def ends_well(program):
    """Tells whether a program has ended with 0, without a word of a crash."""
    if program.process.returncode != 0:
        return False
    words = ["Fatal Python error", "panicked", "not rethrown", "PanicException"]
    return not any(word in program.stderr for word in words)


def repeated(source):
    """Runs a program often, two at a time; returns what the bad ends have said."""

    def several():
        programs = [run_program(source) for _ in range((ROUNDS + 1) // 2)]
        return [
            (program.process.returncode, program.stderr)
            for program in programs
            if not ends_well(program)
        ]

    threads = [parallel(several) for _ in range(2)]
    return sum((thread.result(ROUNDS * 5 + 15) for thread in threads), [])


@pytest.mark.parametrize("work", WORK)
def test_daemon_threads_at_work_do_not_crash_the_end(work):
    source = DAEMONS.format(definitions=DEFINITIONS, work=WORK[work])
    assert not repeated(source)


def test_daemon_threads_that_wait_do_not_crash_the_end():
    source = """
def sleeper(coro=None):
    coro.set_daemon()
    yield asyncoro.sleep(1000)
coro = asyncoro.Coro(sleeper)
_, peer = socket.socketpair()
sock = asyncoro.AsyncSocket(peer, blocking=True)
def waits(wait):
    try:
        wait()
    except (RuntimeError, asyncoro.Terminated):
        pass
for wait in [coro.value, coro.result, sock.recv_msg, asyncoro.AsynCoro().join]:
    threading.Thread(target=waits, args=(wait,), daemon=True).start()
time.sleep(0.05)
"""
    assert not repeated(source)


@pytest.mark.parametrize("body", ["pass", "sum(range(1000))", "asyncoro.AsynCoro().cur_coro()"])
def test_a_daemon_that_computes_does_not_hang_the_end(body):
    source = f"""
def computes(coro=None):
    coro.set_daemon()
    while True:
        {body}
    yield
asyncoro.Coro(computes)
"""
    assert not run_program(source).process.returncode


def test_a_daemon_that_blocks_its_thread_does_not_hang_the_end():
    source = """
def blocks(coro=None):
    coro.set_daemon()
    started.set()
    while True:
        time.sleep(1000)
    yield
started = threading.Event()
asyncoro.Coro(blocks)
started.wait()
"""
    program = run_program(source)
    assert program.process.returncode == 0
    assert "is cut off" in program.stderr


@pytest.mark.parametrize("imported", ["before", "after"])
def test_a_coroutine_that_outlives_main_uses_a_pool(imported):
    source = """
def main(coro=None):
    yield asyncoro.sleep(0.1)
    for number in range(3):
        print((yield asyncoro.wait_future(pool.submit(pow, number, 2))))
    pool.shutdown()
"""
    pool = """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
pool.submit(int).result()
"""
    start = "asyncoro.Coro(main)\n"
    source += pool + start if imported == "before" else start + pool
    program = run_program(source)
    assert program.stdout == "0\n1\n4\n", program.stderr
    assert program.process.returncode == 0


@pytest.mark.skipif(
    (3, 12, 0) <= sys.version_info < (3, 12, 2),
    reason="CPython 3.12.0 and 3.12.1 start no thread once main has ended (gh-113964)",
)
def test_a_coroutine_that_outlives_main_starts_threads():
    source = """
def main(coro=None):
    yield asyncoro.sleep(0.1)
    thread = threading.Thread(target=print, args=("in a thread",))
    thread.start()
    thread.join()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        print((yield asyncoro.wait_future(pool.submit(pow, 3, 2))))
import concurrent.futures
asyncoro.Coro(main)
"""
    program = run_program(source)
    assert program.stdout == "in a thread\n9\n", program.stderr


def test_coroutines_of_threads_that_outlive_main_are_waited_for():
    source = """
def slow(coro=None):
    yield asyncoro.sleep(0.2)
    print("slow")
def work():
    time.sleep(0.2)
    print(asyncoro.Coro(first).value())
    asyncoro.Coro(slow)
def first(coro=None):
    yield asyncoro.sleep(0)
    return "first"
asyncoro.Coro(first).value()
threading.Thread(target=work).start()
"""
    assert run_program(source).stdout == "first\nslow\n"


def test_the_end_does_not_wait_for_what_daemon_threads_start_meanwhile():
    source = """
def sleeper(coro=None):
    started.set()
    yield asyncoro.sleep(1000)
def starts_late():
    main_has_ended.wait()
    asyncoro.Coro(sleeper)
def main(coro=None):
    while not threading._SHUTTING_DOWN:
        yield asyncoro.sleep(0.01)
    yield asyncoro.sleep(0.1)  # until the wait for coroutines has begun
    main_has_ended.set()
    while not started.is_set():
        yield asyncoro.sleep(0.01)
    print("started")
started, main_has_ended = threading.Event(), threading.Event()
threading.Thread(target=starts_late, daemon=True).start()
asyncoro.Coro(main)
"""
    program = run_program(source)
    assert program.process.returncode == 0 and program.stdout == "started\n"


def test_functions_at_exit_may_still_use_coroutines_and_later_ones_are_refused():
    source = """
import atexit
def late(coro=None):
    yield asyncoro.sleep(0)
    return "late"
def refused():
    try:
        asyncoro.Coro(late)
    except RuntimeError as error:
        print(error)
asyncoro.Coro(late).value()
atexit.register(lambda: print(asyncoro.Coro(late).value()))
"""
    before = "import atexit\natexit.register(lambda: refused())\n"
    program = run_program(before + source)
    assert program.stdout.startswith("late\nthe interpreter is ending"), program.stderr


def test_ctrl_c_again_and_again_at_the_end_does_not_crash():
    source = """
def main(coro=None):
    print("waiting")
    while True:
        try:
            while True: pass
        except BaseException:
            pass
    yield
asyncoro.Coro(main)
"""
    with Program(source) as program:
        program.expect("waiting")
        for _ in range(4):
            program.interrupt()
            program.process.poll()
        program.end(15)
        assert program.process.returncode >= 0 or program.process.returncode == -2
        assert "Fatal" not in program.stderr and "panicked" not in program.stderr


# ---- sockets of a scheduler that ends

#: A scheduler that ends takes a second here: it still has to send what nobody receives.
DRAINS = """
import gc
def fill(sock, coro=None):
    while True:
        yield sock.send_msg(b"x" * 60000)
def reads(sock, coro=None):
    yield sock.recv(1)
def pair():
    return map(asyncoro.AsyncSocket, socket.socketpair())
full, deaf = pair()
filling = asyncoro.Coro(fill, full)
socks = []
for _ in range(20):
    sock, peer = socket.socketpair()
    socks.append((asyncoro.AsyncSocket(sock), sock, peer))
    asyncoro.Coro(reads, socks[-1][0])
time.sleep(0.2)
ending = threading.Thread(target=asyncoro.AsynCoro().terminate)
ending.start()
time.sleep(0.2)
drains = ending.is_alive()
"""


@pytest.mark.parametrize("end", ["close", "del", "setblocking", "unwrap"])
def test_a_socket_may_end_in_another_thread_while_its_scheduler_drains(end):
    source = DRAINS + {
        "close": """
for sock, plain, peer in socks:
    sock.close()
ending.join()
for sock, plain, peer in socks:
    assert plain.fileno() == -1 and peer.recv(1) == b""
""",
        "del": """
import weakref
plains = [weakref.ref(plain) for sock, plain, peer in socks]
peers = [peer for sock, plain, peer in socks]
del sock, peer
socks.clear()
ending.join()
gc.collect()
assert not any(plain() for plain in plains)
for peer in peers:
    assert peer.recv(1) == b""
""",
        "setblocking": """
for sock, plain, peer in socks:
    try:
        sock.setblocking(True)
    except RuntimeError:
        pass
ending.join()
""",
        "unwrap": """
for sock, plain, peer in socks:
    assert sock.unwrap() is plain
ending.join()
for sock, plain, peer in socks:
    plain.setblocking(True)
    peer.send(b"x")
    assert plain.recv(1) == b"x"
""",
    }[end] + "print(drains, 'done')\n"
    program = run_program(source)
    assert program.stdout == "True done\n"
    assert program.process.returncode == 0
    assert "panicked" not in program.stderr and "Exception" not in program.stderr


def test_a_socket_whose_scheduler_has_ended_is_used_in_the_next_one():
    source = DRAINS + """
def again(sock, coro=None):
    yield sock.send_msg(b"again")
    return (yield sock.recv(1))
ending.join()
for sock, plain, peer in socks:
    peer.send(b"1")
    assert asyncoro.Coro(again, sock).value() == b"1"
    assert peer.recv(100) == b"\\0\\0\\0\\5again"
print(drains)
"""
    program = run_program(source)
    assert program.stdout == "True\n", program.stderr


# ---- forks, sub-interpreters, patched threads


FORKS = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with several threads, from 3.12 on
def child_ends(pid):
    status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
def other(coro=None):
    yield coro.sleep(0.001)
    return "other"
"""


@pytest.mark.parametrize("wait", [
    "yield", "yield coro.sleep(0)", "yield asyncoro.sleep(0)", "yield coro.receive()",
    "yield sock.recv(1)", "yield inner()", "yield done.finish()",
])
def test_a_coroutine_that_forks_gets_an_exception_in_the_child(wait):
    source = FORKS + f"""
done = asyncoro.Coro(other)
done.value()
sock, peer = map(asyncoro.AsyncSocket, socket.socketpair())
def inner():
    yield 1
def main(coro=None):
    yield peer.send_msg(b"x")
    pid = os.fork()
    if pid:
        return (yield coro.receive(timeout=0)), child_ends(pid)
    try:
        {wait}
    except RuntimeError as error:
        assert "has forked" in str(error), error
        assert asyncoro.Coro(other).value() == "other"
        sys.exit(7)
print(asyncoro.Coro(main).value())
"""
    program = run_program(source)
    assert program.stdout == "(None, 7)\n", program.stderr
    assert program.stderr == ""


@pytest.mark.parametrize("catches", ["Exception", "ValueError"])
def test_the_child_of_a_coroutine_ends_when_the_coroutine_does(catches):
    source = FORKS + f"""
def main(coro=None):
    pid = os.fork()
    if pid:
        return child_ends(pid)
    while True:
        try:
            yield
        except {catches}:
            pass
print(asyncoro.Coro(main).value())
"""
    program = run_program(source)
    assert program.stdout == "1\n", program.stderr
    assert catches == "Exception" or "RuntimeError: this coroutine has forked" in program.stderr


def test_a_fork_in_a_coroutine_lets_the_child_run_coroutines_of_its_own():
    source = FORKS + """
async def awaits():
    return await asyncoro.Coro(other)
def main(coro=None):
    pid = os.fork()
    if pid:
        return child_ends(pid)
    for _ in range(3):
        assert asyncoro.run(awaits()) == "other"
        assert asyncoro.Coro(other).value() == "other"
    os._exit(3)
    yield
print(asyncoro.Coro(main).value())
"""
    assert run_program(source).stdout == "3\n"


@pytest.mark.parametrize("main_first", [True, False])
def test_a_sub_interpreter_is_refused_with_a_sentence(main_first):
    source = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
code = '''
import sys
sys.path[:] = %r
try:
    import asyncoro
except ImportError as error:
    print(error, flush=True)
else:
    def one():
        yield
    print(asyncoro.Coro(one).value(), flush=True)
''' % sys.path
for made in ({"isolated": False}, {}):
    try:
        interpreter = interpreters.create(**made)
    except TypeError:
        interpreter = interpreters.create()
    interpreters.run_string(interpreter, code)
    interpreters.destroy(interpreter)
"""
    if main_first:
        program = run_program(source)
    else:
        command = [sys.executable, "-c", "import sys\n" + source]
        with Program(command=command) as program:
            program.end()
    assert "sub-interpreter" in program.stdout.replace("subinterp", "sub-interp"), program.stderr
    assert program.process.returncode == 0


def test_patched_threads_are_refused_with_a_sentence():
    source = """
import _thread
def start_new_thread(*arguments):
    raise AssertionError("no thread is wanted")
start_new_thread.__module__ = "gevent.thread"
_thread.start_new_thread = start_new_thread
async def main():
    pass
for start in (lambda: asyncoro.Coro(main), lambda: asyncoro.run(main())):
    try:
        start()
    except RuntimeError as error:
        print(error)
"""
    program = run_program(source)
    assert program.stdout.count("gevent has replaced them") == 2, program.stderr


def test_a_task_that_still_waits_for_a_call_at_the_end_is_no_error():
    source = """
import asyncio
queue = asyncoro.Queue()
async def wait():
    await queue.get()
async def begin():
    global task
    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
loop = asyncio.new_event_loop()
loop.run_until_complete(begin())
"""
    for _ in range(ROUNDS):
        program = run_program(source)
        assert program.process.returncode == 0
        assert "SystemError" not in program.stderr, program.stderr
