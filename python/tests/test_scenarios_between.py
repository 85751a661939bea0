"""Tests the scenarios S15 to S18 and S24: several coroutines and one socket, dead connections;
and S25, S26 with real pycos as the other end.
"""

import socket
import struct
import time

import pytest

from asyncoro import AsyncSocket, Coro
from harness import also_await, async_both, async_pair, done, go, read_exactly, reset
from pycos_programs import CLIENT, SERVER, pycos_program


@also_await
def test_s15_both_directions_at_once():
    size = 20_000_000
    ends = async_both()

    def write(sock, coro=None):
        yield sock.sendall(bytes(size))

    def read(sock, coro=None):
        yield coro.sleep(0.2)
        count = 0
        while count < size:
            count += len((yield sock.recv(1 << 16)))
        return count

    writers = [Coro(write, sock) for sock in ends]
    readers = [Coro(read, sock) for sock in ends]
    assert [done(coro) for coro in readers] == [size, size]
    assert [done(coro) for coro in writers] == [None, None]


@also_await
def test_s16_two_coroutines_send_messages_on_one_socket():
    sock, peer = async_pair()

    def write(name, coro=None):
        for number in range(50):
            yield sock.send_msg(name * (number + 1))

    writers = [Coro(write, name) for name in (b"a", b"b")]
    messages = []
    for _ in range(100):
        (length,) = struct.unpack(">L", read_exactly(peer, 4))
        messages.append(read_exactly(peer, length))
    for writer in writers:
        done(writer)
    for name in (b"a", b"b"):
        mine = [message for message in messages if message[:1] == name]
        assert mine == [name * (number + 1) for number in range(50)]


@also_await
@pytest.mark.parametrize("verb", ["recv", "recvall", "recv_msg"])
def test_s17_close_wakes_a_pending_read(verb):
    sock, _peer = async_pair()

    def read(coro=None):
        arguments = () if verb == "recv_msg" else (10,)
        try:
            return (yield getattr(sock, verb)(*arguments))
        except OSError as error:
            return error.errno

    reader = Coro(read)
    time.sleep(0.1)

    def close(coro=None):
        sock.close()
        yield coro.sleep(0)

    go(close)
    assert done(reader) in (b"", 9)


@also_await
def test_s18_a_terminated_reader_eats_nothing():
    sock, peer = async_pair()
    data = bytearray()

    def read(coro=None):
        while len(data) < 6:
            data.extend((yield sock.recv(100)))

    first = Coro(read)
    time.sleep(0.1)
    assert first.terminate() == 0
    done(first)
    peer.sendall(b"AAA")
    time.sleep(0.1)
    second = Coro(read)
    time.sleep(0.1)
    peer.sendall(b"BBB")
    done(second)
    assert data == b"AAABBB"


@pytest.mark.parametrize("how", ["reset", "half closed"])
def test_s24_a_dead_connection_costs_nothing(how):
    sock, peer = async_pair()

    def touch(coro=None):
        peer.sendall(b"x")
        yield sock.recv(1)
        if how == "half closed":
            sock.shutdown(socket.SHUT_WR)

    go(touch)
    if how == "reset":
        reset(peer)
    else:
        peer.close()
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.7)
    assert time.process_time() - before < 0.3
    sock.close()


# ---- real pycos as the other end

@also_await
def test_s25_messages_to_a_server_of_pycos():
    with pycos_program(SERVER) as server:
        server.expect("port ")
        time.sleep(0.1)
        port = int(server.stdout.split("port ")[1].split()[0])

        def main(coro=None):
            sock = AsyncSocket(socket.socket())
            yield sock.connect(("127.0.0.1", port))
            replies = []
            for message in (b"12345", bytes(3_000_000), b"abc"):
                yield sock.send_msg(message)
                reply = yield sock.recv_msg()
                replies.append((len(reply), bytes(reply[:3])))
            sock.close()
            return replies

        assert go(main) == [(8, b"re:"), (3000003, b"re:"), (6, b"re:")]


@also_await
def test_s26_messages_from_a_client_of_pycos():
    listener = AsyncSocket(socket.create_server(("127.0.0.1", 0)))

    def main(coro=None):
        conn, _ = yield listener.accept()
        while True:
            message = yield conn.recv_msg()
            if not message:
                return message
            yield conn.send_msg(b"re:" + message)

    coro = Coro(main)
    with pycos_program(CLIENT, str(listener.getsockname()[1])) as client:
        assert done(coro) == b""
        assert client.end() == 0
        for length in (8, 3000003, 6):
            assert f"got {length} b're:'" in client.stdout
    listener.close()
