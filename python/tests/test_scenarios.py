"""The scenarios S01 to S24 of the reference, and S25, S26 with real pycos as the other end.

S27 to S31 are in test_scenarios_tls.py, the process-level ones in test_process.py.
"""

import socket
import struct
import time

import pytest

import asyncoro
from asyncoro import AsyncSocket, Coro
from harness import (
    also_await, async_both, async_pair, closed_port, done, go, parallel, read_exactly, reset,
    udp_socket,
)
from pycos_programs import CLIENT, SERVER, pycos_program


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


@also_await
def test_s19_nested_coroutines_and_their_exceptions():
    def five():
        yield from inner()
        return 5

    def inner(coro=None):
        yield asyncoro.AsynCoro.cur_coro().sleep(0)

    def broken():
        yield from inner()
        raise KeyError("nested")

    def main(coro=None):
        first = yield five()
        second = yield from five()
        try:
            yield broken()
        except KeyError as error:
            return first, second, error.args

    assert go(main) == (5, 5, ("nested",))


def test_s19_a_plain_value_comes_back():
    values = ["plain", 5, (1, 2), [3], None]

    def main(coro=None):
        back = []
        for value in values:
            back.append((yield value))
        return back

    assert go(main) == values


def test_s20_what_was_yielded_last_is_not_the_value():
    def main(coro=None):
        yield 42

    assert go(main) is None


@also_await
def test_s21_an_exception_ends_one_coroutine_only():
    def bad(coro=None):
        yield coro.sleep(0)
        raise ValueError("on purpose")

    def good(coro=None):
        yield coro.sleep(0.1)
        return "good"

    failing, going = Coro(bad), Coro(good)
    status = failing.value(5)
    assert isinstance(status, asyncoro.MonitorStatus)
    assert status.info is failing and status.type is ValueError
    assert "on purpose" in str(status.value)
    assert not failing.is_alive()
    assert done(going) == "good"


@also_await
def test_s22_sleep_and_receive():
    def main(coro=None):
        alarm = yield coro.sleep(0.1, "al")
        none = yield coro.receive(0.1, "none")
        coro.send(1)
        coro.send(2)
        messages = []
        for _ in range(3):
            messages.append((yield coro.receive(0, "empty")))
        return alarm, none, messages, (yield coro.sleep(0, "zero"))

    assert go(main) == ("al", "none", [1, 2, "empty"], "zero")


@also_await
def test_s23_terminate_of_a_sleeper():
    seen = []

    def main(coro=None):
        try:
            yield coro.sleep(30)
        except GeneratorExit:
            seen.append("GeneratorExit")
            raise
        finally:
            seen.append("finally")

    coro = Coro(main)
    time.sleep(0.1)
    assert coro.terminate() == 0
    assert coro.value(5) is None
    assert seen == ["GeneratorExit", "finally"]
    assert not coro.is_alive()


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
