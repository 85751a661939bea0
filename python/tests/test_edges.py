"""Tests where two features meet: times that are over, two sockets of one descriptor, resets,
dropped connects, TLS closes with a peer that sends late, forks, lines on standard error.
"""

import _thread
import errno
import socket
import ssl
import threading
import time

import pytest

import asyncoro
from asyncoro import AsyncSocket, Coro
from harness import (
    WAIT, also_await, async_pair, blocking_pair, closed_port, done, go, parallel, read_exactly,
    reset, run_program, tcp_pair,
)


def rounds():
    """Gives rounds to a loop with no time to wait, until it has certainly seen what has come."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        yield


# ---- times that are over


@also_await
def test_receive_with_no_time_lets_the_others_run():
    def other(seen, coro=None):
        for _ in range(3):
            seen.append("other")
            yield asyncoro.sleep(0)

    def main(coro=None):
        seen = []
        Coro(other, seen)
        for _ in range(6):
            assert (yield coro.receive(timeout=0)) is None
        return len(seen)

    assert go(main) == 3


@also_await
def test_receive_with_no_time_gives_what_another_sends_meanwhile():
    def other(receiver, coro=None):
        yield asyncoro.sleep(0)
        receiver.send("message")

    def main(coro=None):
        Coro(other, coro)
        rounds = 0
        while (yield coro.receive(timeout=0)) is None:
            rounds += 1
        return rounds

    assert go(main) <= 5


@also_await
def test_finish_with_no_time_lets_the_others_run():
    def other(coro=None):
        for _ in range(3):
            yield asyncoro.sleep(0)
        return "done"

    def main(coro=None):
        coro = Coro(other)
        rounds = 0
        while (yield coro.finish(timeout=0)) is None:
            rounds += 1
        return rounds

    assert go(main) <= 8


#: A coroutine that does not end, made by the tests that wait for it.
FOREVER = None

ZERO_WAITS = {
    "sleep": lambda coro: asyncoro.sleep(0),
    "sleep of the coroutine": lambda coro: coro.sleep(0),
    "receive": lambda coro: coro.receive(timeout=0),
    "finish": lambda coro: FOREVER.finish(timeout=0),
}


@pytest.mark.parametrize("wait", ZERO_WAITS)
@pytest.mark.parametrize("style", ["yield", "await"])
def test_a_loop_with_no_time_has_the_system_asked(wait, style):
    """A reader beside such a loop gets what comes from outside, and so does a timer."""
    global FOREVER
    sock, peer = async_pair()

    def forever(coro=None):
        yield coro.receive()

    FOREVER = Coro(forever)

    def read(seen, coro=None):
        seen.append((yield sock.recv(10)))

    def tick(seen, coro=None):
        yield coro.sleep(0.01)
        seen.append(b"tick")

    def loop_yield(seen, coro=None):
        for _ in rounds():
            if len(seen) == 2:
                return True
            yield ZERO_WAITS[wait](coro)

    async def loop_await(seen, coro=None):
        for _ in rounds():
            if len(seen) == 2:
                return True
            await ZERO_WAITS[wait](coro)

    seen = []
    Coro(read, seen)
    Coro(tick, seen)
    looping = Coro(loop_yield if style == "yield" else loop_await, seen)
    time.sleep(0.05)
    peer.sendall(b"data")
    assert done(looping) is True
    assert sorted(seen) == [b"data", b"tick"]
    FOREVER.terminate()


@also_await
def test_timeout_of_no_time_in_a_loop_sees_data_that_comes():
    sock, peer = async_pair()

    def main(coro=None):
        for _ in rounds():
            try:
                return (yield asyncoro.timeout(0, sock.recv(10)))
            except TimeoutError:
                pass

    looping = Coro(main)
    time.sleep(0.05)
    peer.sendall(b"data")
    assert done(looping) == b"data"


@also_await
def test_a_timeout_block_of_no_time_in_a_loop_sees_a_message_in_pieces():
    sock, peer = async_pair()

    def main(coro=None):
        for _ in rounds():
            try:
                with asyncoro.timeout(0):
                    return (yield sock.recv_msg())
            except TimeoutError:
                pass

    looping = Coro(main)
    for piece in (b"\0\0", b"\0\5he", b"llo"):
        time.sleep(0.03)
        peer.sendall(piece)
    assert done(looping) == b"hello"


@also_await
def test_timeout_of_no_time_gives_what_is_there():
    sock, peer = async_pair()
    peer.sendall(b"data")

    def main(coro=None):
        coro.send("message")
        message = yield asyncoro.timeout(0, coro.receive())
        yield coro.sleep(0.05)
        return message, (yield asyncoro.timeout(0, sock.recv(10)))

    assert go(main) == ("message", b"data")


@also_await
@pytest.mark.parametrize("seconds", [1e-12, 1e-9, 1e-6])
def test_a_timeout_of_a_socket_that_is_over_at_once_lets_the_others_run(seconds):
    sock, peer = async_pair()
    sock.settimeout(seconds)

    def tick(ticks, coro=None):
        coro.set_daemon()
        while True:
            ticks.append(0)
            yield coro.sleep(0)

    def main(coro=None):
        ticks = []
        ticking = Coro(tick, ticks)
        for _ in rounds():
            try:
                data = yield sock.recv(10)
                break
            except TimeoutError:
                pass
        ticking.terminate()
        return data, len(ticks) > 10

    looping = Coro(main)
    time.sleep(0.05)
    peer.sendall(b"data")
    assert done(looping) == (b"data", True)


def test_a_timeout_that_is_over_at_once_of_a_blocking_socket_sees_data():
    sock, peer = blocking_pair()
    sock.settimeout(1e-9)
    with pytest.raises(TimeoutError):
        sock.recv(10)
    peer.sendall(b"data")
    deadline = time.monotonic() + WAIT
    while True:
        try:
            assert sock.recv(10) == b"data"
            return
        except TimeoutError:
            assert time.monotonic() < deadline


# ---- two sockets of one descriptor


@also_await
def test_two_sockets_over_one_plain_socket_are_both_served():
    plain, peer = tcp_pair()
    socks = [AsyncSocket(plain), AsyncSocket(plain)]
    assert socks[0] is not socks[1] and socks[0].fileno() == socks[1].fileno()

    def read(sock, coro=None):
        return (yield sock.recv(1))

    for _ in range(20):
        readers = [Coro(read, sock) for sock in socks]
        time.sleep(0.005)
        peer.sendall(b"ab")
        assert sorted(done(reader) for reader in readers) == [b"a", b"b"]
    peer.close()
    assert [done(Coro(read, sock)) for sock in socks] == [b"", b""]


@also_await
def test_a_reader_on_one_and_a_writer_on_the_other_socket_of_a_descriptor():
    plain, peer = tcp_pair()
    peer.settimeout(WAIT)
    reading, writing = AsyncSocket(plain), AsyncSocket(plain)
    length = 8_000_000

    def read(coro=None):
        return (yield reading.recv(10))

    def write(coro=None):
        yield writing.sendall(bytes(length))

    reader, writer = Coro(read), Coro(write)
    time.sleep(0.05)
    assert len(read_exactly(peer, length)) == length
    done(writer)
    peer.sendall(b"answer")
    assert done(reader) == b"answer"


@also_await
def test_a_close_of_one_of_two_sockets_of_a_descriptor_closes_both():
    plain, peer = tcp_pair()
    one, other = AsyncSocket(plain), AsyncSocket(plain)

    def read(sock, coro=None):
        try:
            return (yield sock.recv(10))
        except OSError as error:
            return error.errno

    readers = [Coro(read, sock) for sock in (one, other)]
    time.sleep(0.05)
    one.close()
    assert [done(reader) for reader in readers] == [errno.EBADF, errno.EBADF]
    # Another descriptor may have its number by now.
    assert (one.fileno(), other.fileno()) == (-1, -1)
    assert plain.fileno() == -1
    peer.settimeout(WAIT)
    assert peer.recv(10) == b""
    other.close()


# ---- resets


@also_await
def test_a_reset_is_told_to_every_reader():
    sock, peer = async_pair()

    def read(verb, coro=None):
        try:
            return bytes((yield verb()))
        except OSError as error:
            return type(error), error.errno

    verbs = [sock.recv_msg, lambda: sock.recvall(10), lambda: sock.recv(10), sock.recv_msg]
    readers = []
    for verb in verbs:
        readers.append(Coro(read, verb))
        time.sleep(0.02)
    reset(peer)
    expected = (ConnectionResetError, errno.ECONNRESET)
    assert [done(reader) for reader in readers] == [expected] * 4
    # Later verbs get the error as well.
    assert [done(Coro(read, verb)) for verb in verbs] == [expected] * 4


@also_await
def test_a_reset_behind_part_of_what_was_asked_for_is_an_exception():
    for verb, part in ((AsyncSocket.recv_msg, b"\0\0\0\5he"), (lambda it: it.recvall(5), b"he")):
        sock, peer = async_pair()

        def read(coro=None):
            with pytest.raises(ConnectionResetError):
                yield verb(sock)

        reader = Coro(read)
        peer.sendall(part)
        time.sleep(0.05)
        reset(peer)
        done(reader)


def test_a_reset_is_an_exception_of_a_blocking_socket():
    for verb, part in (
        (lambda sock: sock.recv_msg(), b"\0\0\0\5he"),
        (lambda sock: sock.recv_msg(), b""),
        (lambda sock: sock.recvall(5), b"he"),
        (lambda sock: sock.recv(5), b""),
    ):
        sock, peer = blocking_pair()
        reading = parallel(verb, sock)
        peer.sendall(part)
        time.sleep(0.05)
        reset(peer)
        with pytest.raises(ConnectionResetError) as raised:
            reading.result()
        assert raised.value.errno == errno.ECONNRESET


# ---- connect


def _full_listener():
    """Returns a listener whose queue is full, with what fills it: a connect to it waits."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    filling = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        filling.append(sock)
    time.sleep(0.1)
    return listener, filling


@also_await
def test_a_connect_after_one_that_was_given_up_goes_where_it_is_told():
    full, filling = _full_listener()
    target = socket.create_server(("127.0.0.1", 0))
    target.settimeout(WAIT)

    def main(coro=None):
        sock = AsyncSocket(socket.socket())
        with pytest.raises(TimeoutError):
            yield asyncoro.timeout(0.05, sock.connect(full.getsockname()))
        assert (yield sock.connect(target.getsockname())) == 0
        assert sock.getpeername() == target.getsockname()
        yield sock.sendall(b"hello")
        sock.close()

    go(main)
    accepted, _ = target.accept()
    assert read_exactly(accepted, 10) == b"hello"
    for sock in (full, target, accepted, *filling):
        sock.close()


@also_await
def test_a_refused_connect_says_so_each_time_with_its_number():
    refused = closed_port()

    def main(coro=None):
        sock = AsyncSocket(socket.socket())
        told = []
        for _ in range(3):
            try:
                yield sock.connect(refused)
            except OSError as error:
                told.append((type(error), error.errno, error.args[0]))
        with socket.create_server(("127.0.0.1", 0)) as target:
            assert (yield sock.connect(target.getsockname())) == 0
        sock.close()
        try:
            yield asyncoro.create_connection(refused)
        except OSError as error:
            told.append((type(error), error.errno, error.args[0]))
        return told

    assert go(main) == [(ConnectionRefusedError, errno.ECONNREFUSED, errno.ECONNREFUSED)] * 4


def test_errors_of_a_blocking_connect_and_of_bind_keep_their_numbers():
    sock = AsyncSocket(socket.socket(), blocking=True)
    with pytest.raises(ConnectionRefusedError) as raised:
        sock.connect(closed_port())
    assert raised.value.errno == errno.ECONNREFUSED
    sock.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sock = AsyncSocket(socket.socket())
        with pytest.raises(OSError) as raised:
            sock.bind(taken.getsockname())
        assert raised.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError) as raised:
            AsyncSocket(socket.socket(), blocking=True).accept()
        assert raised.value.errno == errno.EINVAL


# ---- TLS closes, and the peer sends late


def _late_peer(listener, certificates, count, told):
    """Serves by Python's ssl, and reads nothing until it has sent `count` bytes, late."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.chain, certificates.key)
    context.num_tickets = 4
    plain, _ = listener.accept()
    plain.settimeout(WAIT)
    with context.wrap_socket(plain, server_side=True) as connection:
        told.wait(WAIT)
        connection.sendall(bytes(count))
        got = 0
        while True:
            data = connection.recv(1 << 16)
            if not data:
                return got
            got += len(data)


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("way", ["close", "drop"])
@pytest.mark.parametrize("late", [1, 100_000])
def test_a_tls_close_loses_nothing_though_the_peer_sends_late(certificates, blocking, way, late):
    length = 300_000
    listener = socket.create_server(("127.0.0.1", 0))
    told = threading.Event()
    serving = parallel(_late_peer, listener, certificates, late, told)
    address = ("localhost", listener.getsockname()[1])

    if blocking:
        sock = AsyncSocket(socket.socket(), blocking=True, certfile=certificates.chain)
        sock.connect(address)
        sock.sendall(bytes(length))
        told.set()
        if way == "close":
            sock.close()
        del sock
    else:

        def main(coro=None):
            sock = AsyncSocket(socket.socket(), certfile=certificates.chain)
            yield sock.connect(address)
            yield sock.sendall(bytes(length))
            told.set()
            if way == "close":
                sock.close()

        go(main)
    assert serving.result() == length
    listener.close()


# ---- forks


FORKING = """
import warnings
warnings.simplefilter("ignore")

def child_ends(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        time.sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hangs"

def fork(work):
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return pid
"""


def _run_forking(source):
    return run_program(FORKING + source)


def test_a_child_of_a_fork_under_wakes_has_its_own_scheduler():
    source = """
def noise(other, coro=None):
    coro.set_daemon()
    while True:
        message = yield coro.receive(timeout=0.001)
        yield coro.sleep(0)

def talk(sock, coro=None):
    coro.set_daemon()
    while True:
        yield sock.send_msg(b"x")
        yield sock.recv_msg()

def waking(coro):
    while True:
        coro.send(1)
        time.sleep(0)

noisy = asyncoro.Coro(noise, None)
for end in socket.socketpair():
    asyncoro.Coro(talk, asyncoro.AsyncSocket(end))
threading.Thread(target=waking, args=(noisy,), daemon=True).start()

def main(coro=None):
    a, b = map(asyncoro.AsyncSocket, socket.socketpair())
    yield a.send_msg(b"hello")
    message = yield b.recv_msg()
    yield coro.sleep(0.001)
    return bytes(message)

def work():
    noisy.send(2)      # the parent's: to nobody
    return 7 if asyncoro.Coro(main).value(10) == b"hello" else 8

for _ in range(100):
    code = child_ends(fork(work))
    assert code == 7, code
assert asyncoro.Coro(main).value(10) == b"hello"
print("all of them")
sys.stdout.flush()
"""
    program = _run_forking(source)
    assert "all of them" in program.stdout
    assert program.process.returncode == 0
    assert program.stderr == ""


def test_a_coroutine_may_fork():
    source = """
def child(coro=None):
    yield coro.sleep(0.001)
    return "child"

def work():
    return 7 if asyncoro.Coro(child).value(10) == "child" else 8

def main(coro=None):
    codes = []
    for _ in range(20):
        pid = fork(work)
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            yield coro.sleep(0.002)
        codes.append(os.WEXITSTATUS(status))
    return codes

codes = asyncoro.Coro(main).value(15)
assert codes == [7] * 20, codes
print("all of them")
sys.stdout.flush()
"""
    program = _run_forking(source)
    assert "all of them" in program.stdout
    assert program.process.returncode == 0
    assert program.stderr == ""


FIRST_USES = {
    "_thread": """
def use():
    def work(coro=None):
        yield coro.sleep(0.001)
        return "done"
    assert asyncoro.Coro(work).value(10) == "done"
""",
    "socket": """
def use():
    server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", 0)), blocking=True)
    with socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        assert accepted.getsockname() == server.getsockname()
""",
}


@pytest.mark.parametrize("module", FIRST_USES)
def test_a_child_needs_nothing_that_another_thread_was_making_for_the_first_time(module):
    source = f"""
import builtins
importing, asked, forked = builtins.__import__, threading.Event(), threading.Event()

def hooked(name, *rest, **more):
    if name == {module!r} and threading.current_thread() is first and not asked.is_set():
        asked.set()
        forked.wait(10)
    return importing(name, *rest, **more)

{FIRST_USES[module]}
def work():
    use()
    return 7

first = threading.Thread(target=use)
builtins.__import__ = hooked
first.start()
assert asked.wait(10)
pid = fork(work)
forked.set()
code = child_ends(pid)
assert code == 7, code
first.join()
print("both of them")
sys.stdout.flush()
"""
    program = _run_forking(source)
    assert "both of them" in program.stdout, program.stderr
    assert program.process.returncode == 0
    assert program.stderr == ""


def test_what_a_child_closes_and_drops_goes_on_in_the_parent():
    source = """
import gc
plain, peer = socket.socketpair()
sock = asyncoro.AsyncSocket(plain)
got = []

def read(coro=None):
    while True:
        data = yield sock.recv(1)
        if not data:
            return
        got.append(data)

reader = asyncoro.Coro(read)
peer.send(b"a")
while got != [b"a"]:
    time.sleep(0.001)

def closing():
    sock.close()
    return 7

def dropping():
    global sock, reader, plain
    sock = reader = plain = None
    gc.collect()
    return 7

def terminating():
    reader.terminate()
    asyncoro.AsynCoro().terminate()
    return 7

for work in (closing, dropping, terminating):
    code = child_ends(fork(work))
    assert code == 7, (work, code)
    before = len(got)
    peer.send(b"b")
    deadline = time.monotonic() + 10
    while len(got) == before:
        assert time.monotonic() < deadline, work
        time.sleep(0.001)
peer.close()
reader.value(10)
print("all of them")
sys.stdout.flush()
"""
    program = _run_forking(source)
    assert "all of them" in program.stdout
    assert program.process.returncode == 0
    assert program.stderr == ""


def test_a_child_that_ends_as_python_does_waits_for_its_own_coroutines_only():
    source = """
def forever(coro=None):
    coro.set_daemon()
    yield coro.sleep()

def main(coro=None):
    yield coro.sleep(0.05)
    print("the child's")

def held(coro=None):
    yield coro.sleep(0.5)

asyncoro.Coro(forever)
asyncoro.Coro(held)
pid = os.fork()
if pid == 0:
    asyncoro.Coro(main)
    sys.exit(7)
code = child_ends(pid)
assert code == 7, code
print("and the parent's")
"""
    program = _run_forking(source)
    assert program.stdout == "the child's\nand the parent's\n"
    assert program.process.returncode == 0
    assert program.stderr == ""


# ---- standard error


def test_what_peers_do_every_day_is_no_line_on_standard_error(certificates):
    """Resets, failed handshakes, sockets left behind: none of it is this program's fault."""
    source = """
import struct, gc
certificate, key = sys.argv[1:]
LINGER = struct.pack("ii", 1, 0)

def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    sock.close()

def serve(server, coro=None):
    coro.set_daemon()
    while True:
        client, _ = yield server.accept()
        asyncoro.Coro(echo, client)

def echo(client, coro=None):
    coro.set_daemon()
    try:
        while True:
            data = yield client.recv(100)
            if not data:
                break
            yield client.sendall(data)
    except ConnectionError:
        pass

plain = asyncoro.create_server(("127.0.0.1", 0))
secure = asyncoro.create_server(("127.0.0.1", 0), certfile=certificate, keyfile=key)
for server in (plain, secure):
    asyncoro.Coro(serve, server)
    for _ in range(30):
        sock = socket.create_connection(server.getsockname())
        sock.sendall(b"hello, this is no TLS")
        reset(sock)

def leave(coro=None):
    for _ in range(10):
        sock = asyncoro.AsyncSocket(socket.socket(), certfile=certificate)
        yield sock.connect(("localhost", secure.getsockname()[1]))
        yield sock.sendall(b"hello")
        yield sock.recvall(5)
        yield sock.sendall(b"unread")
        del sock
    gc.collect()

asyncoro.Coro(leave).value(10)
one = asyncoro.AsyncSocket(socket.socket(), blocking=True, certfile=certificate)
one.connect(("localhost", secure.getsockname()[1]))
one.sendall(b"left behind")
"""
    program = run_program(source, certificates.chain, certificates.key)
    assert program.process.returncode == 0
    assert program.stderr == ""


def test_a_close_in_the_background_whose_peer_has_gone_is_no_line_on_standard_error():
    source = """
import struct
with socket.create_server(("127.0.0.1", 0)) as listener:
    plain = socket.create_connection(listener.getsockname())
    peer, _ = listener.accept()
plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)

def main(coro=None):
    sock = asyncoro.AsyncSocket(plain)
    sock.settimeout(0.1)
    yield sock.send_msg(bytes(16_000_000))  # its rest stays queued
    sock.close()
    yield coro.sleep(0.05)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    yield coro.sleep(0.2)

asyncoro.Coro(main).value(10)
"""
    program = run_program(source)
    assert program.process.returncode == 0
    assert program.stderr == ""


def test_a_wait_in_a_thread_of_another_kind_leaves_no_thread_behind():
    def one(coro=None):
        yield asyncoro.sleep(0.001)

    def waits():
        asyncoro.Coro(one).value()
        ended.release()

    done(asyncoro.Coro(one))
    ended = threading.Semaphore(0)
    before = threading.enumerate()
    _thread.start_new_thread(waits, ())
    assert ended.acquire(timeout=WAIT)
    assert threading.enumerate() == before
