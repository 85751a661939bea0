"""Tests that the originals' defects of sockets, by their number in the reference, are gone.

Those of TLS (4.13 to 4.17) are in test_defects_tls.py. 4.24 (what terminate unwinds first) is in
test_nesting.py; 4.25 (errors on standard error, results that raise) in test_process.py and
test_today.py.
"""

import errno
import os
import socket
import time

import pytest

from asyncoro import AsyncSocket, Coro
from harness import (
    also_await, async_both, async_pair, closed_port, done, go, read_exactly, run_program,
    udp_socket,
)

LARGE = 20_000_000


@also_await
def test_4_1_a_read_begun_during_a_write_stops_neither():
    sock, peer = async_pair()

    def write(coro=None):
        yield sock.sendall(bytes(LARGE))

    def read(coro=None):
        return (yield sock.recv(10))

    writer = Coro(write)
    time.sleep(0.2)
    reader = Coro(read)
    time.sleep(0.1)
    assert len(read_exactly(peer, LARGE)) == LARGE
    peer.sendall(b"answer")
    assert done(reader) == b"answer"
    done(writer)


@also_await
def test_4_2_two_readers_are_served_in_turn():
    sock, peer = async_pair()

    def read(coro=None):
        return (yield sock.recvall(3))

    readers = []
    for _ in range(3):
        readers.append(Coro(read))
        time.sleep(0.05)
    for piece in (b"on", b"etw", b"oth", b"r"):
        peer.sendall(piece)
        time.sleep(0.02)
    assert [bytes(done(reader)) for reader in readers] == [b"one", b"two", b"thr"]


@also_await
def test_4_2_two_acceptors_are_served_in_turn():
    listener = AsyncSocket(socket.create_server(("127.0.0.1", 0)))

    def accept(coro=None):
        conn, address = yield listener.accept()
        conn.close()
        return address

    acceptors = []
    for _ in range(2):
        acceptors.append(Coro(accept))
        time.sleep(0.05)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(2)]
    assert [done(coro) for coro in acceptors] == [client.getsockname() for client in clients]
    listener.close()


@also_await
@pytest.mark.parametrize("verb", ["sendall", "send_msg", "accept", "recv_msg"])
def test_4_3_close_wakes_what_waits(verb):
    sock, _peer = async_pair()
    if verb == "accept":
        sock = AsyncSocket(socket.create_server(("127.0.0.1", 0)))
    arguments = (bytes(LARGE),) if verb.startswith("send") else ()

    def wait(coro=None):
        try:
            value = yield getattr(sock, verb)(*arguments)
        except OSError as error:
            value = error.errno
        return value, (yield coro.sleep(0.01, "goes on"))

    waiter = Coro(wait)
    time.sleep(0.1)

    def close(coro=None):
        sock.close()
        yield coro.sleep(0)

    go(close)
    value, after = done(waiter)
    assert value in (b"", errno.EBADF) and after == "goes on"


@also_await
def test_4_3_close_from_another_thread_wakes_what_waits():
    sock, _peer = async_pair()

    def wait(coro=None):
        try:
            return (yield sock.recv(1))
        except OSError as error:
            return error.errno

    waiter = Coro(wait)
    time.sleep(0.1)
    sock.close()
    assert done(waiter) in (b"", errno.EBADF)


def test_4_3_a_failed_verb_does_not_wedge_the_coroutine():
    sock, _peer = async_pair()
    sock.close()

    def inner():
        yield 1
        return 2

    def main(coro=None):
        with pytest.raises(OSError):
            yield sock.recv(1)
        return (yield "plain"), (yield inner())

    assert go(main) == ("plain", 2)


@also_await
@pytest.mark.parametrize("address", [("no-such-host.invalid", 80), "wrong", ("127.0.0.1", "http!")])
def test_4_4_a_connect_that_fails_at_once_leaves_nothing_behind(address):
    sock, peer = async_pair()

    def main(coro=None):
        with pytest.raises((OSError, TypeError, ValueError)):
            yield AsyncSocket(socket.socket()).connect(address)
        return (yield sock.recv(10))

    coro = Coro(main)
    time.sleep(0.1)
    peer.sendall(b"data")
    assert done(coro) == b"data"


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_4_5_a_reader_that_was_thrown_into_eats_nothing():
    sock, peer = async_pair()

    def main(coro=None):
        with pytest.raises(KeyError):
            yield sock.recv(10)
        yield coro.sleep(0.2)
        return (yield sock.recv(10))

    coro = Coro(main)
    time.sleep(0.1)
    coro.throw(KeyError("enough"))
    time.sleep(0.05)
    peer.sendall(b"kept")
    assert done(coro) == b"kept"


@also_await
def test_4_6_sending_nothing_is_done_at_once():
    sock, peer = async_pair()

    def main(coro=None):
        values = [(yield sock.sendall(b"")), (yield sock.send(b""))]
        yield sock.sendall(b"x")
        sock.close()
        return values

    assert go(main) == [None, 0]
    assert read_exactly(peer, 10) == b"x"


@also_await
def test_4_7_writes_do_not_move_the_deadline_of_a_read():
    sock, _peer = async_pair()

    def read(coro=None):
        started = time.monotonic()
        with pytest.raises(socket.timeout):
            yield sock.recv(1)
        return time.monotonic() - started

    def write(coro=None):
        for _ in range(100):
            yield sock.send_msg(b"x")
            yield coro.sleep(0.005)

    sock.settimeout(0.5)
    reader, writer = Coro(read), Coro(write)
    assert 0.45 < done(reader) < 0.9
    done(writer)


@also_await
def test_4_7_settimeout_leaves_a_pending_deadline_alone():
    sock, _peer = async_pair()

    def read(coro=None):
        sock.settimeout(0.3)
        with pytest.raises(socket.timeout):
            yield sock.recv(1)

    reader = Coro(read)
    time.sleep(0.1)
    sock.settimeout(30)
    done(reader, 2)


@also_await
def test_4_7_a_read_that_times_out_leaves_a_write_alone():
    sock, peer = async_pair()

    def read(coro=None):
        sock.settimeout(0.2)
        with pytest.raises(socket.timeout):
            yield sock.recv(1)

    def write(coro=None):
        yield coro.sleep(0.05)
        sock.settimeout(5)
        return (yield sock.sendall(bytes(LARGE)))

    reader, writer = Coro(read), Coro(write)
    done(reader)
    assert len(read_exactly(peer, LARGE)) == LARGE
    assert done(writer) is None


def test_4_8_memory_grows_with_what_came_not_with_what_was_announced():
    source = """
    a, b = socket.socketpair()
    sock = asyncoro.AsyncSocket(a)
    b.sendall(b"\\x20\\0\\0\\0" + bytes(1000))
    def main(coro=None):
        sock.settimeout(0.3)
        try:
            yield sock.recv_msg()
        except socket.timeout:
            with open("/proc/self/status") as status:
                return next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(asyncoro.Coro(main).value(5))
    """
    assert int(run_program(source).stdout) < 200_000  # KiB


@also_await
def test_4_9_a_burst_of_20000_coroutines():
    def short(coro=None):
        yield coro.sleep(0)
        return 1

    def main(coro=None):
        total = 0
        for other in [Coro(short) for _ in range(20_000)]:
            total += yield other.finish()
        return total

    assert go(main) == 20_000


@pytest.mark.parametrize("is_waiting", [True, False])
def test_4_11_an_error_alone_wakes_a_datagram_socket(is_waiting):
    nobody = closed_port()
    sock = AsyncSocket(udp_socket())

    def main(coro=None):
        yield sock.connect(nobody)
        sock.settimeout(2)
        yield sock.send(b"x")
        if not is_waiting:
            yield coro.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            yield sock.recv(10)
        return "told"

    assert go(main) == "told"


@also_await
def test_4_12_an_urgent_byte_raises_nothing():
    sock, peer = async_pair()

    def main(coro=None):
        first = yield sock.recv(3)
        return first, (yield sock.recvall(3))

    coro = Coro(main)
    time.sleep(0.05)
    peer.send(b"!", socket.MSG_OOB)
    time.sleep(0.05)
    peer.sendall(b"abc")
    peer.send(b"!", socket.MSG_OOB)
    peer.sendall(b"def")
    assert done(coro) == (b"abc", b"def")


@also_await
def test_4_12_two_listeners_on_one_port():
    plain = socket.create_server(("127.0.0.1", 0))
    listeners = [AsyncSocket(plain), AsyncSocket(plain.dup())]
    accepted = []

    def accept(listener, coro=None):
        while True:
            conn, address = yield listener.accept()
            accepted.append(address)
            conn.close()

    acceptors = [Coro(accept, listener) for listener in listeners]
    time.sleep(0.05)
    addresses = []
    for _ in range(20):
        with socket.create_connection(listeners[0].getsockname(), timeout=5) as client:
            addresses.append(client.getsockname())
            assert client.recv(1) == b""
    assert sorted(accepted) == sorted(addresses)
    for coro in acceptors:
        assert coro.is_alive()
        coro.terminate()
        done(coro)


@also_await
def test_4_19_a_refused_connection_says_so_and_the_socket_can_try_again():
    nobody = closed_port()

    def main(coro=None):
        sock = AsyncSocket(socket.socket())
        codes = []
        for _ in range(2):
            with pytest.raises(OSError) as error:
                yield sock.connect(nobody)
            codes.append((error.value.errno, error.value.args[0]))
        return codes

    first, second = go(main)
    assert first == (errno.ECONNREFUSED, errno.ECONNREFUSED)
    assert second[0] in (errno.ECONNREFUSED, errno.ECONNABORTED)


@also_await
@pytest.mark.own("there it ends the loop, as that of a task does")
def test_4_21_system_exit_ends_one_coroutine_only():
    def bad(coro=None):
        yield coro.sleep(0.01)
        raise SystemExit(5)

    def good(coro=None):
        yield coro.sleep(0.1)
        return "goes on"

    failing, going = Coro(bad), Coro(good)
    assert done(going) == "goes on"
    assert failing.value(5).type is SystemExit


@also_await
def test_4_22_names_resolve_beside_the_others():
    gaps = [time.monotonic()]

    def ticker(coro=None):
        coro.set_daemon()
        while True:
            yield coro.sleep(0.01)
            gaps.append(time.monotonic())

    def main(coro=None):
        ticking = Coro(ticker)
        for _ in range(3):
            with pytest.raises(OSError):
                yield AsyncSocket(socket.socket()).connect(("no-such-host.invalid", 80))
        ticking.terminate()

    go(main)
    assert max((b - a for a, b in zip(gaps, gaps[1:])), default=0) < 1


def test_many_connections_leave_no_descriptor_behind():
    def count():
        return len(os.listdir("/proc/self/fd"))

    def main(coro=None):
        for _ in range(100):
            one, two = async_both()
            yield one.send_msg(b"x")
            assert (yield two.recv_msg()) == b"x"
            one.close()
            two.close()
        yield coro.sleep(0.1)

    go(main)
    before = count()
    go(main)
    assert count() <= before + 2
