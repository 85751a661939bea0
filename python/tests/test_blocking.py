"""Tests AsyncSocket with blocking=True: the GIL, two threads at once, Ctrl-C, fork, timeouts."""

import os
import signal
import socket
import struct
import threading
import time

import pytest

from asyncoro import AsyncSocket
from harness import (
    Program, blocking_pair, closed_port, parallel, read_exactly, reset, run_program, udp_socket,
)

# ---- the verbs


def test_the_verbs_give_what_the_plain_socket_gives():
    sock, peer = blocking_pair()
    peer.sendall(b"abc" + b"defgh" + b"\0\0\0\2hi" + b"\0\0\0\0")
    assert sock.recv(3) == b"abc"
    assert sock.recvall(5) == b"defgh"
    assert sock.recv_msg() == b"hi"
    assert sock.recv_msg() == b""
    assert sock.send(b"one") == 3
    assert sock.sendall(b"two") is None
    assert sock.sendall(b"") is None
    assert sock.send_msg(b"three") is None
    assert read_exactly(peer, 15) == b"onetwo" + b"\0\0\0\5three"
    peer.sendall(b"into")
    buffer = bytearray(10)
    assert sock.recv_into(buffer) == 4 and buffer[:4] == b"into"
    peer.close()
    assert sock.recv(1) == sock.recvall(1) == sock.recv_msg() == b""


def test_connect_and_its_errors():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = AsyncSocket(socket.socket(), blocking=True)
        sock.connect(listener.getsockname())
        assert sock.getpeername() == listener.getsockname()
        sock.close()
    with pytest.raises(ConnectionRefusedError) as refused:
        AsyncSocket(socket.socket(), blocking=True).connect(closed_port())
    assert refused.value.errno == 111


def test_errors_are_those_of_the_system():
    sock, peer = blocking_pair()
    reset(peer)
    time.sleep(0.05)
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    sock.close()
    with pytest.raises(OSError) as closed:
        sock.recv(1)
    assert closed.value.errno == 9


def test_datagrams():
    one, two = (AsyncSocket(udp_socket(), blocking=True) for _ in range(2))
    assert one.sendto(b"hello", two.getsockname()) == 5
    assert two.recvfrom(100) == (b"hello", one.getsockname())
    assert [one.recvall, one.sendall, one.recv_msg, one.send_msg] == [None] * 4


def test_a_message_is_written_at_once():
    sock, peer = blocking_pair()
    peer.setblocking(False)
    for number in range(3):
        sock.send_msg(b"%d" % number)
        assert peer.recv(100) == b"\0\0\0\1%d" % number


# ---- timeouts


@pytest.mark.parametrize("verb, arguments", [
    ("recv", (1,)), ("recvall", (1,)), ("recv_msg", ()), ("recv_into", (bytearray(1),)),
    ("accept", ()), ("sendall", (bytes(40_000_000),)), ("recvfrom", (1,)),
])
def test_each_wait_times_out(verb, arguments):
    sock, _peer = blocking_pair()
    if verb == "accept":
        sock = AsyncSocket(socket.create_server(("127.0.0.1", 0)), blocking=True)
    elif verb == "recvfrom":
        sock = AsyncSocket(udp_socket(), blocking=True)
    sock.settimeout(0.2)
    started = time.monotonic()
    with pytest.raises(socket.timeout):
        getattr(sock, verb)(*arguments)
    assert 0.15 < time.monotonic() - started < 2


def test_a_message_cut_by_a_timeout_is_not_lost():
    sock, peer = blocking_pair()
    sock.settimeout(0.2)
    peer.sendall(b"\0\0\0\5he")
    with pytest.raises(socket.timeout):
        sock.recv_msg()
    peer.sendall(b"llo")
    assert sock.recv_msg() == b"hello"


# ---- threads


@pytest.mark.parametrize("verb", ["recv", "recvall", "recv_msg", "accept", "sendall", "recvfrom"])
def test_other_threads_go_on_during_a_wait(verb):
    sock, peer = blocking_pair()
    arguments = (1,)
    if verb == "accept":
        sock = AsyncSocket(socket.create_server(("127.0.0.1", 0)), blocking=True)
        arguments = ()
    elif verb == "recvfrom":
        sock = AsyncSocket(udp_socket(), blocking=True)
    elif verb == "recv_msg":
        arguments = ()
    elif verb == "sendall":
        arguments = (bytes(40_000_000),)
    waiter = parallel(lambda: getattr(sock, verb)(*arguments))
    time.sleep(0.1)
    count = 0
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        count += 1
    assert waiter.is_alive()
    assert count > 1000
    if verb == "accept":
        socket.create_connection(sock.getsockname()).close()
    elif verb == "recvfrom":
        udp_socket().sendto(b"x", sock.getsockname())
    elif verb == "sendall":
        read_exactly(peer, 40_000_000)
    else:
        peer.sendall(b"\0\0\0\1x")
    waiter.result()


def test_one_reader_and_one_writer_at_once():
    one, two = (AsyncSocket(end, blocking=True) for end in socket.socketpair())
    count, size = 100, 100_000

    def write(sock):
        for number in range(count):
            sock.send_msg(bytes([number]) * size)

    def read(sock):
        for number in range(count):
            assert sock.recv_msg() == bytes([number]) * size

    threads = [parallel(call, sock) for sock in (one, two) for call in (write, read)]
    for thread in threads:
        thread.result()


def test_messages_of_two_writers_stay_whole():
    sock, peer = blocking_pair()

    def write(name):
        for number in range(50):
            sock.send_msg(name * (1000 + number))

    writers = [parallel(write, name) for name in (b"a", b"b")]
    for _ in range(100):
        (length,) = struct.unpack(">L", read_exactly(peer, 4))
        message = read_exactly(peer, length)
        assert len(message) == length >= 1000 and len(set(message)) == 1
    for writer in writers:
        writer.result()


def test_close_wakes_a_waiting_thread():
    sock, _peer = blocking_pair()
    reader = parallel(sock.recv, 1)
    time.sleep(0.1)
    sock.close()
    try:
        assert reader.result() == b""
    except OSError as error:
        assert error.errno == 9


def test_a_blocking_server_of_threads():
    listener = AsyncSocket(socket.create_server(("127.0.0.1", 0)), blocking=True)

    def serve(conn):
        with conn:
            while True:
                message = conn.recv_msg()
                if not message:
                    return
                conn.send_msg(message * 2)

    def accept():
        for _ in range(5):
            conn, _address = listener.accept()
            threading.Thread(target=serve, args=(conn,), daemon=True).start()

    def client(number):
        sock = AsyncSocket(socket.socket(), blocking=True)
        sock.connect(listener.getsockname())
        with sock:
            sock.send_msg(b"%d" % number)
            return sock.recv_msg()

    acceptor = parallel(accept)
    clients = [parallel(client, number) for number in range(5)]
    assert [thread.result() for thread in clients] == [b"%d" % n * 2 for n in range(5)]
    acceptor.result()


# ---- Ctrl-C

WAITS = {
    "recv": "sock.recv(1)",
    "recvall": "sock.recvall(2)",
    "recv_msg": "sock.recv_msg()",
    "recv_into": "sock.recv_into(bytearray(1))",
    "recvfrom": "udp.recvfrom(1)",
    "accept": "listener.accept()",
    "sendall": "sock.sendall(bytes(40_000_000))",
    "send_msg": "sock.send_msg(bytes(40_000_000))",
    "recv with a timeout": "timed.recv(1)",
}

INTERRUPTED = """
a, b = socket.socketpair()
sock = asyncoro.AsyncSocket(a, blocking=True)
c, d = socket.socketpair()
timed = asyncoro.AsyncSocket(c, blocking=True)
timed.settimeout(60)
listener = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", 0)), blocking=True)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
udp = asyncoro.AsyncSocket(udp, blocking=True)
print("waiting")
try:
    WAIT
except KeyboardInterrupt:
    print("interrupted")
b.sendall(b"\\0\\0\\0\\1x")
print("after:", sock.recv_msg())
"""


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_raises_during_a_wait(wait):
    with Program(INTERRUPTED.replace("WAIT", WAITS[wait])) as program:
        program.expect("waiting")
        time.sleep(0.3)
        program.interrupt()
        program.expect("interrupted")
        assert program.end() == 0
        assert "after:" in program.stdout and "'x'" in program.stdout


def test_another_signal_is_handled_and_the_wait_goes_on():
    source = """
    a, b = socket.socketpair()
    sock = asyncoro.AsyncSocket(a, blocking=True)
    signal.signal(signal.SIGUSR1, lambda *_: b.sendall(b"from the handler"))
    print("waiting")
    print(sock.recv(100))
    """
    with Program(source) as program:
        program.expect("waiting")
        time.sleep(0.3)
        program.interrupt(signal.SIGUSR1)
        program.expect("from the handler")
        assert program.end() == 0


# ---- fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_leaves_a_usable_child():
    source = """
    import warnings
    warnings.simplefilter("ignore")
    def ticker(coro=None):
        coro.set_daemon()
        while True:
            yield coro.sleep(0.01)
    def main(coro=None):
        return (yield coro.sleep(0.01, "coroutine"))
    asyncoro.Coro(ticker)
    assert asyncoro.Coro(main).value(5) == "coroutine"
    a, b = socket.socketpair()
    sock, peer = (asyncoro.AsyncSocket(end, blocking=True) for end in (a, b))
    child = os.fork()
    if child == 0:
        sock.send_msg(b"from the child")
        print("child has", sock.recv_msg().decode(), asyncoro.Coro(main).value(5))
        sys.stdout.flush()
        os._exit(7)
    print("parent has", peer.recv_msg().decode())
    peer.send_msg(b"an answer and a")
    _, status = os.waitpid(child, 0)
    print("child ended with", os.WEXITSTATUS(status))
    print("parent has its", asyncoro.Coro(main).value(5))
    """
    program = run_program(source)
    said = program.stdout
    assert "parent has from the child" in said
    assert "child has an answer and a coroutine" in said
    assert "child ended with 7" in said
    assert "parent has its coroutine" in said
    assert program.process.returncode == 0
