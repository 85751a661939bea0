"""Tests the scenarios S01 to S14 of the reference: one coroutine and its socket.

S15 to S18 and S24 to S26 are in test_scenarios_between.py, S19 to S23 in test_scenarios_coro.py,
S27 to S31 in test_scenarios_tls.py, the process-level ones in test_process.py.
"""

import socket
import time

import pytest

from asyncoro import AsyncSocket, Coro
from harness import (
    also_await, async_pair, closed_port, done, go, parallel, read_exactly, udp_socket,
)


@also_await
def test_s01_send_msg_puts_four_bytes_of_length_before_the_payload():
    sock, peer = async_pair()

    def main(coro=None):
        values = []
        for payload in (b"", b"abc", bytes(258)):
            values.append((yield sock.send_msg(payload)))
        sock.close()
        return values

    assert go(main) == [None, None, None]
    assert read_exactly(peer, 4) == b"\0\0\0\0"
    assert read_exactly(peer, 7) == b"\0\0\0\x03abc"
    assert read_exactly(peer, 262) == b"\0\0\x01\x02" + bytes(258)
    assert peer.recv(1) == b""


@also_await
def test_s02_recv_msg_gives_each_frame():
    sock, peer = async_pair()
    peer.sendall(b"\0\0\0\x03abc" + b"\0\0\0\0" + b"\0\0\0\x02xy")

    def main(coro=None):
        messages = []
        for _ in range(3):
            messages.append((yield sock.recv_msg()))
        return messages

    messages = go(main)
    assert [bytes(message) for message in messages] == [b"abc", b"", b"xy"]
    assert all(isinstance(message, (bytes, bytearray)) for message in messages)


@also_await
def test_s03_recv_msg_of_a_frame_that_comes_byte_by_byte():
    sock, peer = async_pair()

    def main(coro=None):
        return (yield sock.recv_msg())

    coro = Coro(main)
    for byte in b"\0\0\0\x05hello":
        peer.sendall(bytes([byte]))
        time.sleep(0.02)
    assert done(coro) == b"hello"


@also_await
@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\x05", b"\0\0\0\x05he"])
def test_s04_recv_msg_at_the_end_of_the_stream_gives_nothing(sent):
    sock, peer = async_pair()
    peer.sendall(sent)
    peer.close()

    def main(coro=None):
        first = yield sock.recv_msg()
        return first, (yield sock.recv_msg())

    assert go(main) == (b"", b"")


@also_await
def test_s05_recvall_gives_exactly_so_many_or_nothing_at_the_end():
    sock, peer = async_pair()
    peer.sendall(b"0123456789")
    peer.close()

    def main(coro=None):
        first = yield sock.recvall(4)
        second = yield sock.recvall(10)
        return first, second, (yield sock.recvall(1))

    values = go(main)
    assert values == (b"0123", b"", b"")
    assert isinstance(values[0], bytearray)


@also_await
def test_s06_recv_gives_what_is_there_and_nothing_again_and_again_at_the_end():
    sock, peer = async_pair()
    peer.sendall(b"0123456789")
    peer.close()
    time.sleep(0.1)

    def main(coro=None):
        pieces = []
        for count in (4, 100, 1, 1):
            pieces.append((yield sock.recv(count)))
        return pieces

    assert go(main) == [b"0123", b"456789", b"", b""]


@also_await
def test_s07_timeouts_of_reads():
    sock, peer = async_pair()

    def timed_out(verb):
        started = time.monotonic()
        try:
            value = yield verb
        except socket.timeout:
            value = socket.timeout
        return value, time.monotonic() - started

    def main(coro=None):
        sock.settimeout(0.2)
        outcomes = []
        outcomes.append((yield from timed_out(sock.recv(10))))
        peer.sendall(b"ab")
        outcomes.append((yield from timed_out(sock.recvall(5))))
        outcomes.append((yield from timed_out(sock.recvall(5))))
        peer.sendall(b"\0\0\0\x05he")
        outcomes.append((yield from timed_out(sock.recv_msg())))
        peer.sendall(b"llo")
        outcomes.append((yield from timed_out(sock.recv_msg())))
        return outcomes

    # The verb is made in the caller and waited for in `timed_out`: stored calls work.
    outcomes = go(main)
    values = [value for value, _ in outcomes]
    assert values == [socket.timeout, b"ab", socket.timeout, socket.timeout, b"hello"]
    assert isinstance(values[1], bytes)
    assert all(0.15 < seconds < 1 for _, seconds in outcomes[:4])


@also_await
def test_s08_the_timeout_of_recvall_starts_anew_with_each_piece():
    sock, peer = async_pair()

    def main(coro=None):
        sock.settimeout(0.4)
        return (yield sock.recvall(5))

    coro = Coro(main)
    for byte in b"abcde":
        time.sleep(0.25)
        peer.sendall(bytes([byte]))
    assert done(coro) == b"abcde"


@also_await
def test_s09_a_sendall_that_times_out_says_how_much_went():
    sock, _peer = async_pair()
    size = 40_000_000

    def main(coro=None):
        sock.settimeout(0.3)
        sent = yield sock.sendall(bytes(size))
        started = time.monotonic()
        try:
            yield sock.sendall(b"y")
        except socket.timeout:
            return sent, time.monotonic() - started

    sent, seconds = go(main)
    assert isinstance(sent, int) and 0 < sent < size
    assert 0.25 < seconds < 1.5


@also_await
@pytest.mark.parametrize("forever", [0, None])
def test_s10_timeouts_0_and_none_wait_for_ever(forever):
    sock, peer = async_pair()

    def main(coro=None):
        sock.settimeout(forever)
        return (yield sock.recv(10))

    coro = Coro(main)
    time.sleep(0.3)
    peer.sendall(b"late")
    assert done(coro) == b"late"


@also_await
def test_s11_accept_gives_an_asynchronous_socket_without_a_timeout():
    listener = AsyncSocket(socket.create_server(("127.0.0.1", 0)))
    listener.settimeout(5)

    def main(coro=None):
        conn, address = yield listener.accept()
        return type(conn), conn.gettimeout(), address, (yield conn.recv(10))

    coro = Coro(main)
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"hi")
        kind, timeout, address, data = done(coro)
        assert address == client.getsockname()
    assert (kind, timeout, data) == (AsyncSocket, 0, b"hi")
    listener.close()


def test_s12_a_blocking_accept_gives_a_blocking_socket():
    listener = AsyncSocket(socket.create_server(("127.0.0.1", 0)), blocking=True)

    def serve():
        conn, _ = listener.accept()
        values = (type(conn), conn.gettimeout(), conn.recv_msg(), conn.recvall(3))
        return (*values, conn.send_msg(b"ok"))

    server = parallel(serve)
    client = socket.create_connection(listener.getsockname())
    client.sendall(b"\0\0\0\x02hiXYZ")
    assert read_exactly(client, 6) == b"\0\0\0\x02ok"
    assert server.result() == (AsyncSocket, None, b"hi", b"XYZ", None)


@also_await
def test_s13_connect():
    listener = socket.create_server(("127.0.0.1", 0))
    nobody = closed_port()

    def main(coro=None):
        connected = AsyncSocket(socket.socket())
        values = [(yield connected.connect(listener.getsockname()))]
        refused = AsyncSocket(socket.socket())
        try:
            yield refused.connect(nobody)
        except OSError as error:
            values += [type(error), error.args[0], error.errno]
        created = AsyncSocket(socket.socket())
        values.append((yield created.create_connection(listener.getsockname(), 5)))
        return values

    assert go(main) == [0, ConnectionRefusedError, 111, 111, None]


@also_await
def test_s14_datagrams():
    sock, peer = AsyncSocket(udp_socket()), udp_socket()
    peer.sendto(b"0123456789", sock.getsockname())

    def main(coro=None):
        data, address = yield sock.recvfrom(4)
        sent = yield sock.sendto(b"back", address)
        sock.settimeout(0.2)
        try:
            yield sock.recvfrom(4)
        except socket.timeout:
            return data, address, sent

    assert go(main) == (b"0123", peer.getsockname(), 4)
    peer.settimeout(5)
    assert peer.recv(10) == b"back"


def test_s14_verbs_of_streams_are_none_on_datagram_sockets():
    sock = AsyncSocket(udp_socket())
    assert [sock.recvall, sock.sendall, sock.recv_msg, sock.send_msg] == [None] * 4
