"""Shares with the tests pairs of sockets, programs in processes of their own, and both styles.

Every wait in here is bounded. A coroutine that fails fails the test that waits for it (`done`),
so assertions may stand inside coroutines. Nothing in here leaves loopback or takes a fixed port.
"""

import ast
import functools
import inspect
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import asyncoro
import pytest

#: Variables that let some tests search for longer.
THOROUGH = ("ASYNCORO_MEMORY_TIMES", "ASYNCORO_EXIT_ROUNDS", "ASYNCORO_INTERRUPT_ROUNDS")
#: Seconds a test may take before it is called hung.
LIMIT = 900 if any(name in os.environ for name in THOROUGH) else 20
#: Seconds any single wait inside a test may take.
WAIT = 10

#: Programs start like this: a Ctrl-C must reach Python even where a shell had it ignored.
PRELUDE = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import sys, os, socket, threading, time
import asyncoro
asyncoro.logger.setLevel(asyncoro.Logger.WARNING)
"""


#: How a coroutine is made to leave where it waits; nothing can be thrown into a task of asyncio's.
WAYS = ["terminate", "throw"]
if os.environ.get("ASYNCORO_LOOP", "").startswith("task"):
    WAYS.remove("throw")


# ---- coroutines


def let_run():
    """Returns when the coroutines that were started have come to where they wait."""

    def rounds(coro=None):
        for _ in range(3):
            yield asyncoro.sleep(0)

    done(asyncoro.Coro(rounds))


def done(coro, seconds=WAIT):
    """Returns the value of `coro`; fails if it failed or still runs after `seconds`."""
    value = coro.value(max(seconds, LIMIT / 2))
    deadline = time.monotonic() + 1
    while coro.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not coro.is_alive(), f"{coro} hangs"
    if isinstance(value, asyncoro.MonitorStatus) and value.info is coro:
        raise AssertionError(f"{coro} failed: {value.value}")
    return value


def go(function, *args):
    """Runs `function` as a coroutine to its end and gives its value."""
    return done(asyncoro.Coro(function, *args))


def sleeper(coro=None):
    """Sleeps, as the function of a coroutine."""
    yield coro.sleep()


def ended():
    """Returns a coroutine that has ended."""

    def main(coro=None):
        yield coro.sleep(0)

    coro = asyncoro.Coro(main)
    done(coro)
    return coro


def also_await(test):
    """Adds the twin of a test in which `yield` is `await`, as `NAME_await` beside it.

    The twin is made from the source: each generator function in the test becomes an `async def`.
    It gets the marks below this decorator, which must be the uppermost.
    """
    source = textwrap.dedent(inspect.getsource(test))
    tree = ast.parse(source)
    outer = tree.body[0]
    outer.decorator_list = []
    outer.name = test.__name__ + "_await"
    outer.body = [_Awaiting().visit(statement) for statement in outer.body]
    ast.increment_lineno(tree, test.__code__.co_firstlineno - 1)
    ast.fix_missing_locations(tree)
    code = compile(tree, test.__code__.co_filename, "exec")
    names = {}
    exec(code, test.__globals__, names)
    twin = names[outer.name]
    twin.pytestmark = getattr(test, "pytestmark", [])
    test.__globals__[outer.name] = twin
    return test


class _Awaiting(ast.NodeTransformer):
    """Turns `def` with `yield` into `async def` with `await`, inner functions too."""

    def visit_FunctionDef(self, node):
        is_generator = _yields(node)
        self.generic_visit(node)
        if not is_generator:
            return node
        fields = {name: getattr(node, name) for name in node._fields}
        return ast.copy_location(ast.AsyncFunctionDef(**fields), node)

    def visit_Yield(self, node):
        self.generic_visit(node)
        return ast.copy_location(ast.Await(value=node.value), node)

    visit_YieldFrom = visit_Yield


def _yields(function):
    """Returns whether this function itself, not one inside it, has a `yield`."""
    found = list(function.body)
    while found:
        node = found.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            found.extend(ast.iter_child_nodes(node))
    return False


def parallel(function, *args):
    """Starts a thread; its `result()` gives what `function` returned or raises what it raised."""
    return _Thread(function, args)


class _Thread(threading.Thread):
    def __init__(self, function, args):
        super().__init__(daemon=True)
        self._call = functools.partial(function, *args)
        self._outcome = None
        self.start()

    def run(self):
        try:
            self._outcome = (self._call(), None)
        except BaseException as error:  # handed on by result()
            self._outcome = (None, error)

    def result(self, seconds=WAIT):
        self.join(seconds)
        assert not self.is_alive(), f"{self._call} hangs"
        value, error = self._outcome
        if error is not None:
            raise error
        return value


# ---- both modes


def modes(test):
    """Runs a test with a socket for coroutines, and with one for threads."""
    return pytest.mark.parametrize("blocking", [False, True])(test)


def run(sock, blocking, use):
    """Runs a generator over a socket of either mode: what it yields is a call or its value."""
    if not blocking:
        return done(asyncoro.Coro(use, sock))
    generator, value = use(sock), None
    try:
        while True:
            value = generator.send(value)
    except StopIteration as stop:
        return stop.value


def socket_of(blocking, plain):
    """Returns an AsyncSocket of either mode over a plain socket, with a timeout."""
    sock = asyncoro.AsyncSocket(plain, blocking)
    sock.settimeout(WAIT)
    return sock


# ---- sockets


def tcp_pair():
    """Returns two connected TCP sockets of the standard library, both without a timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other


def async_pair():
    """Returns an asynchronous socket and its peer, a plain socket with a timeout."""
    one, peer = tcp_pair()
    peer.settimeout(WAIT)
    return asyncoro.AsyncSocket(one), peer


def async_both():
    """Returns two connected asynchronous sockets."""
    one, other = tcp_pair()
    return asyncoro.AsyncSocket(one), asyncoro.AsyncSocket(other)


def blocking_pair():
    """Returns an AsyncSocket with blocking=True and its peer, a plain socket with a timeout."""
    one, peer = tcp_pair()
    peer.settimeout(WAIT)
    return asyncoro.AsyncSocket(one, blocking=True), peer


def udp_socket():
    """Returns a plain UDP socket bound to a free port of loopback."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def closed_port():
    """Returns an address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()


def read_exactly(sock, count):
    """Reads `count` bytes from a plain socket, fewer at the end of the stream."""
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(min(count - len(data), 1 << 16))
        if not piece:
            break
        data += piece
    return bytes(data)


def reset(sock):
    """Closes a plain socket with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


# ---- programs


class Program:
    """Runs a Python program in a process of its own, killed at the end of the `with`."""

    def __init__(self, source=None, *arguments, command=None, cwd=None):
        if command is None:
            command = [sys.executable, "-c", PRELUDE + textwrap.dedent(source), *arguments]
        environment = dict(os.environ, PYTHONUNBUFFERED="1")
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid
        self._lines = {"stdout": [], "stderr": []}
        self._open = set(self._lines)
        self._news = threading.Condition()
        self._readers = [
            parallel(self._read, self.process.stdout, "stdout"),
            parallel(self._read, self.process.stderr, "stderr"),
        ]

    def _read(self, stream, name):
        for line in stream:
            with self._news:
                self._lines[name].append(line)
                self._news.notify_all()
        with self._news:
            self._open.discard(name)
            self._news.notify_all()

    @property
    def stdout(self):
        return "".join(self._lines["stdout"])

    @property
    def stderr(self):
        return "".join(self._lines["stderr"])

    def write(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def expect(self, text, times=1, seconds=WAIT):
        """Waits until the program has printed `text`, `times` times."""

        def has_said():
            return self.stdout.count(text) >= times

        with self._news:
            self._news.wait_for(lambda: has_said() or not self._open, seconds)
            assert has_said(), f"no {text!r} x {times}\n{self._said()}"

    def interrupt(self, signal_number=signal.SIGINT):
        os.kill(self.pid, signal_number)

    def end(self, seconds=WAIT):
        """Waits for the end and gives the exit code; standard input is closed."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the program hangs\n{self._said()}") from None
        for reader in self._readers:
            reader.result()
        return self.process.returncode

    def _said(self):
        return f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except (BrokenPipeError, ValueError):
                pass


def run_program(source, *arguments):
    """Runs a program to its end; returns the `Program`, its exit code in `process.returncode`."""
    with Program(source, *arguments) as program:
        program.end()
        # Shown by pytest where the test fails.
        print(program.stdout, program.stderr, sep="\n")
        return program
