"""Tests Ctrl-C and SIGTERM: what ends, what it raises, and what a program that waits for them sees.

Each program runs in a process of its own, several times: a signal comes at any moment.
"""

import functools
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness import WAIT, Program, run_program

#: How often each program is interrupted; more for a thorough search.
ROUNDS = int(os.environ.get("ASYNCORO_INTERRUPT_ROUNDS", "8"))

#: Programs of asyncoro, and what asyncio does instead.
PROGRAMS = {
    "server": """
async def echo(sock):
    while True:
        await sock.send_msg(await sock.recv_msg())
async def client(address):
    sock = await lib.create_connection(address)
    while True:
        await sock.send_msg(b"x" * 100)
        await sock.recv_msg()
async def main():
    server = lib.create_server(("127.0.0.1", 0))
    for _ in range(5):
        lib.Coro(client, server.getsockname())
    print("ready", flush=True)
    while True:
        sock, _ = await server.accept()
        lib.Coro(echo, sock)
""",
    "computing": """
async def main():
    print("ready", flush=True)
    while True:
        pass
""",
    "finally": """
async def other():
    try:
        await lib.sleep(1000)
    finally:
        for _ in range(100000):
            pass
async def main():
    lib.Coro(other)
    try:
        print("ready", flush=True)
        await lib.sleep(1000)
    finally:
        for _ in range(100000):
            pass
""",
    "sleeping": """
async def main():
    print("ready", flush=True)
    while True:
        await lib.sleep(0.001)
""",
    "gather": """
async def work(number):
    while True:
        await lib.sleep(0.0001 * number)
        sum(range(1000))
async def main():
    print("ready", flush=True)
    await lib.gather(*(work(number) for number in range(10)))
""",
}
START = """
import signal, sys, time, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
import asyncoro as lib
"""
#: In the main thread, or with a scheduler that runs in a thread of its own already.
RUNS = {
    "main": "\nlib.run(main())\n",
    "until": "\nlib.run_until(main())\n",
    "thread": """
async def nothing(coro=None):
    pass
lib.Coro(nothing).value()
lib.run(main())
""",
}
CRASHES = ["Fatal Python error", "panicked", "not rethrown", "PanicException"]


@functools.cache
def asyncios_code():
    """Returns the exit code of a program of asyncio's that Ctrl-C ends: one, or several, since it
    may miss one that comes just before it waits.
    """
    source = """
import asyncio, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
async def main():
    print("ready", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""
    with Program(command=[sys.executable, "-c", source]) as program:
        program.expect("ready")
        for _ in range(WAIT):
            program.interrupt()
            try:
                program.process.wait(1)
                break
            except subprocess.TimeoutExpired:
                pass
        return program.end()


def interrupted(source, times, pause):
    """Interrupts a program some time after it is ready, up to `times` times."""
    with Program(command=[sys.executable, "-c", source]) as program:
        program.expect("ready")
        for _ in range(times):
            time.sleep(random.random() * pause)
            if program.process.poll() is None:
                program.interrupt()
        code = program.end(10)
        assert not any(word in program.stderr for word in CRASHES), program.stderr
        return code, program.stderr


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("way", ["main", "until", "thread"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c_ends_run_and_the_process_at_any_moment(name, way, times):
    source = START + PROGRAMS[name] + RUNS[way]
    expected = asyncios_code()
    for _ in range(ROUNDS // 2):
        code, text = interrupted(source, times, 0.05)
        # A second one may come when Python itself ends, whose code then is 0 or 1.
        assert code == expected or times > 1 and code in (0, 1), (code, text)
        assert times > 1 or text.rstrip().endswith("KeyboardInterrupt"), text


def test_ctrl_c_is_raised_in_the_coroutine_that_computes():
    source = START + """
async def computes():
    try:
        print("ready", flush=True)
        while True:
            pass
    except KeyboardInterrupt:
        print("raised here", flush=True)
        raise
    finally:
        print("finally", flush=True)
async def other(coro=None):
    try:
        await coro.receive()
    finally:
        print("other", flush=True)
async def main():
    lib.Coro(other)
    await lib.sleep(0)
    await lib.Coro(computes)
try:
    lib.run(main())
except KeyboardInterrupt:
    print("caught")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
async def again():
    return "again"
print(lib.run(again()), lib.Coro(again).value())
"""
    for start in ["", "lib.Coro(lambda: (yield)).value()\n"]:
        command = [sys.executable, "-c", source.replace("try:\n    lib", start + "try:\n    lib")]
        with Program(command=command) as program:
            program.expect("ready")
            program.interrupt()
            assert program.end() == 0, program.stderr
            words = program.stdout.split("\n")
            assert words[:3] == ["ready", "raised here", "finally"]
            # Two threads may print at once.
            assert all(word in program.stdout for word in ("other", "caught", "again again"))
            assert "Traceback" not in program.stderr or start


def test_ctrl_c_while_everything_waits_runs_each_finally_once():
    source = START + """
async def waits(number, coro=None):
    try:
        await coro.receive()
    finally:
        print("finally", number, flush=True)
async def main():
    coros = [lib.Coro(waits, number) for number in range(3)]
    await lib.sleep(0.01)
    try:
        print("ready", flush=True)
        await coros[0]
    finally:
        print("finally main", flush=True)
lib.run(main())
"""
    with Program(command=[sys.executable, "-c", source]) as program:
        program.expect("ready")
        program.interrupt()
        assert program.end() == -2
        assert program.stdout.count("finally") == 4


def test_ctrl_c_in_a_finally_is_raised_there():
    source = START + """
async def main():
    try:
        print("ready", flush=True)
        await lib.sleep(1000)
    finally:
        print("computes", flush=True)
        while True:
            pass
lib.run(main())
"""
    with Program(command=[sys.executable, "-c", source]) as program:
        program.expect("ready")
        program.interrupt()
        program.expect("computes")
        program.interrupt()
        assert program.end() == -2, program.stderr


def test_a_coroutine_that_swallows_ctrl_c_is_ended_all_the_same():
    source = START + """
async def main():
    while True:
        try:
            print("ready", flush=True)
            while True:
                pass
        except KeyboardInterrupt:
            print("swallowed", flush=True)
        await lib.sleep(0)
lib.run(main())
"""
    with Program(command=[sys.executable, "-c", source]) as program:
        program.expect("ready")
        program.interrupt()
        assert program.end() == -2, program.stderr
        assert "swallowed" in program.stdout


def test_handlers_of_the_program_run_while_the_scheduler_waits():
    source = START + """
import os
async def main():
    coro = lib.current()
    def handle(number, frame):
        coro.send(number)
    for number in (signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, handle)
        for _ in range(200):
            os.kill(os.getpid(), number)
            assert await coro.receive(10) == number
    return "done"
print(lib.run(main()))
"""
    program = run_program(source)
    assert program.stdout == "done\n", program.stderr


def test_what_a_handler_of_the_program_raises_ends_the_coroutine_that_runs():
    source = START + """
import os
class Stop(Exception):
    pass
def handle(number, frame):
    raise Stop
signal.signal(signal.SIGINT, handle)
async def main():
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        pass
try:
    lib.run(main())
except Stop:
    print("stopped")
"""
    assert run_program(source).stdout == "stopped\n"


def test_a_wakeup_descriptor_of_the_program_still_gets_its_bytes():
    source = START + """
import os, socket
one, other = socket.socketpair()
other.setblocking(False)
signal.set_wakeup_fd(other.fileno())
signal.signal(signal.SIGUSR1, lambda *_: None)
one.settimeout(10)
async def main():
    os.kill(os.getpid(), signal.SIGUSR1)
    await lib.sleep(0.01)
    print(one.recv(1) == bytes([signal.SIGUSR1]))
lib.run(main())
os.kill(os.getpid(), signal.SIGUSR1)
print(one.recv(1) == bytes([signal.SIGUSR1]))
"""
    assert run_program(source).stdout == "True\nTrue\n"


# ---- run and run_until


def test_run_in_the_main_thread_is_the_scheduler_and_waits_for_all_but_daemons():
    source = """
def daemon(coro=None):
    coro.set_daemon()
    try:
        yield coro.receive()
    finally:
        print("daemon ends")
def other(coro=None):
    yield coro.sleep(0.05)
    print("other")
    asyncoro.Coro(last)
def last(coro=None):
    yield coro.sleep(0.05)
    print("last")
def main():
    asyncoro.Coro(daemon)
    asyncoro.Coro(other)
    yield
    print(threading.current_thread() is threading.main_thread(), threading.active_count())
    return "value"
for _ in range(2):
    print(asyncoro.run(main()))
"""
    once = "True 1\nother\nlast\ndaemon ends\nvalue\n"
    assert run_program(source).stdout == once * 2


def test_run_ends_the_others_when_main_has_failed_and_run_until_always():
    source = """
def other(coro=None):
    try:
        yield coro.receive()
    finally:
        print("other ends")
def main(fails):
    asyncoro.Coro(other)
    yield asyncoro.sleep(0)
    if fails:
        raise KeyError("main")
    return "value"
for run in (asyncoro.run, asyncoro.run_until):
    try:
        run(main(True))
    except KeyError:
        print("KeyError")
print(asyncoro.run_until(main(False)))
asyncoro.Coro(other)
print(asyncoro.run_until(main(False)))
"""
    ended = "other ends\n"
    expected = (ended + "KeyError\n") * 2 + ended + "value\n" + ended * 2 + "value\n"
    assert run_program(source).stdout == expected


def test_threads_use_the_scheduler_that_runs_in_the_main_thread():
    source = """
def double(number, coro=None):
    yield coro.sleep(0.001)
    return 2 * number
def ask(numbers):
    for number in numbers:
        assert asyncoro.Coro(double, number).value() == 2 * number
    main_coro.send("done")
main_coro = None
def main():
    global main_coro
    main_coro = coro = asyncoro.current()
    threads = [threading.Thread(target=ask, args=(range(50),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        yield coro.receive()
    return "all"
for _ in range(3):
    print(asyncoro.run(main()))
print(sum(thread.name == "asyncoro" for thread in threading.enumerate()))
"""
    assert run_program(source).stdout == "all\n" * 3 + "0\n"


def test_another_thread_may_end_the_scheduler_that_runs_in_the_main_thread():
    source = """
def main():
    coro = asyncoro.current()
    threading.Thread(target=asyncoro.AsynCoro().terminate).start()
    try:
        yield coro.receive()
    finally:
        print("finally")
for _ in range(3):
    try:
        asyncoro.run(main())
    except asyncoro.Terminated:
        print("terminated")
"""
    assert run_program(source).stdout == "finally\nterminated\n" * 3


def test_threads_that_start_coroutines_while_runs_come_and_go_lose_none():
    source = """
def one(coro=None):
    yield
    return 1
def many():
    for _ in range(200):
        value = asyncoro.Coro(one).value()
        if value == 1:
            count.append(1)
        else:
            assert value is None
count = []
threads = [threading.Thread(target=many) for _ in range(3)]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    assert asyncoro.run(one()) == 1
print(len(count) > 0)
"""
    program = run_program(source)
    assert program.stdout == "True\n", program.stderr
    assert program.process.returncode == 0


def test_the_readmes_server_ends_at_ctrl_c_with_a_client_connected():
    source = """
import socket
async def echo(client):
    while data := await client.recv(4096):
        await client.sendall(data)
async def serve():
    server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", 0)))
    print(server.getsockname()[1], flush=True)
    while True:
        client, address = await server.accept()
        asyncoro.Coro(echo, client)
asyncoro.run(serve())
"""
    with Program(source) as program:
        program.expect("\n")
        address = "127.0.0.1", int(program.stdout)
        with socket.create_connection(address) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
            program.interrupt()
            assert program.end() == -2
            assert client.recv(1) == b""


# ---- asyncoro.signals


@pytest.mark.parametrize("wait", ["yield", "await", "yield from", "async for"])
@pytest.mark.parametrize("kind, number", [
    ("ctrl_c", signal.SIGINT), ("terminate", signal.SIGTERM),
    ("shutdown", signal.SIGINT), ("shutdown", signal.SIGTERM),
])
@pytest.mark.parametrize("thread", [False, True])
def test_a_signal_is_something_to_wait_for(wait, kind, number, thread):
    body = {
        "yield": "    for _ in range(3):\n        print('ready')\n        yield waits",
        "yield from": """
    for _ in range(3):
        print('ready')
        yield from waits.wait()""",
        "await": "    for _ in range(3):\n        print('ready')\n        await waits",
        "async for": """
    rounds = 1
    print('ready')
    async for _ in waits:
        if rounds == 3:
            break
        rounds += 1
        print('ready')""",
    }[wait]
    define = "async def" if wait in ("await", "async for") else "def"
    source = f"""
{define} main():
    waits = asyncoro.signals.{kind}()
{body}
    print("done")
def nothing():
    yield
if {thread}:
    asyncoro.Coro(nothing).value()
asyncoro.run(main())
"""
    with Program(source) as program:
        for times in range(1, 4):
            program.expect("ready", times)
            program.interrupt(number)
        assert program.end() == 0, program.stderr
        assert program.stdout == "ready\n" * 3 + "done\n"


def test_a_signal_counts_from_when_it_was_made_and_one_wait_at_a_time():
    source = """
def other(waits, coro=None):
    try:
        yield waits
    except RuntimeError as error:
        return str(error)
def main():
    first = asyncoro.signals.terminate()
    os.kill(os.getpid(), signal.SIGTERM)
    yield first
    late = asyncoro.signals.terminate()
    try:
        yield asyncoro.timeout(0.05, late.wait())
    except TimeoutError:
        print("late")
    waiting = asyncoro.Coro(other, late)
    yield
    text = yield asyncoro.Coro(other, late).finish()
    print("one for each" in text)
    os.kill(os.getpid(), signal.SIGTERM)
    print((yield waiting.finish()))
    print(repr(late))
asyncoro.run(main())
"""
    program = run_program(source)
    shown = "<asyncoro.signals.terminate: yield or await it>"
    assert program.stdout == f"late\nTrue\nNone\n{shown}\n", program.stderr


def test_a_handler_that_the_program_has_set_before_still_runs():
    source = """
seen = []
signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
def main():
    waits = asyncoro.signals.ctrl_c()
    os.kill(os.getpid(), signal.SIGINT)
    yield waits
    return seen
print(asyncoro.run(main()))
"""
    assert run_program(source).stdout == "[2]\n"


@pytest.mark.parametrize("run", ["asyncio.run(main())", "asyncoro.run(main(), asyncio=True)"])
def test_ctrl_c_in_a_loop_of_asyncio_is_waited_for(run):
    # asyncio.run has a handler of its own, which would cancel the main task.
    source = """
import asyncio
async def main():
    waits = asyncoro.signals.ctrl_c()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        await waits
    return "seen"
print(RUN)
"""
    program = run_program(source.replace("RUN", run))
    assert program.stdout == "seen\n", program.stderr


def test_a_second_run_still_sees_signals():
    source = """
def main():
    waits = asyncoro.signals.ctrl_c()
    os.kill(os.getpid(), signal.SIGINT)
    yield waits
    return "seen"
for _ in range(3):
    print(asyncoro.run(main()))
print(asyncoro.Coro(main()).value())
"""
    assert run_program(source).stdout == "seen\n" * 4


@pytest.mark.parametrize("wait", ["coro.value()", "coro.result(9)", "lib.AsynCoro().join()"])
def test_ctrl_c_that_another_thread_has_got_ends_a_wait(wait):
    # The same as one that comes just before the main thread waits for its lock: the system's wait
    # goes on.
    source = START + """
def waits(coro=None):
    yield coro.receive()
coro = lib.Coro(waits)
def gets():
    in_a_row = 0
    while in_a_row < 5:
        time.sleep(0.001)
        with open("/proc/self/task/%d/stat" % main.native_id) as state:
            in_a_row = in_a_row + 1 if state.read().split()[2] == "S" else 0
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
main = threading.main_thread()
threading.Thread(target=gets, daemon=True).start()
try:
    WAIT
except KeyboardInterrupt:
    print("raised")
coro.terminate()
""".replace("WAIT", wait)
    with Program(command=[sys.executable, "-c", source]) as program:
        assert program.end() == 0, program.stderr
        assert program.stdout == "raised\n"
