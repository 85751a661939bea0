"""Tests the verbs beyond the scenarios: sizes, buffers, timeouts, errors, the limit."""

import array
import errno
import socket
import struct
import time

import pytest

from asyncoro import AsyncSocket, Coro
from harness import (
    also_await, async_pair, blocking_pair, closed_port, done, go, parallel, read_exactly, reset,
    run_program, udp_socket,
)


@also_await
def test_recv_with_flags_and_sizes():
    sock, peer = async_pair()
    peer.sendall(b"abc")

    def main(coro=None):
        peeked = yield sock.recv(10, socket.MSG_PEEK)
        nothing = yield sock.recv(0)
        empty = yield sock.recvall(0)
        return peeked, nothing, empty, (yield sock.recv(10))

    assert go(main) == (b"abc", b"", b"", b"abc")


@also_await
def test_arguments_by_name_and_by_place():
    sock, peer = async_pair()

    def main(coro=None):
        yield sock.sendall(data=b"ab")
        yield sock.sendall(b"cd", 0)
        yield sock.send_msg(data=b"e")
        peer.sendall(b"0123456789")
        return [
            (yield sock.recv(2)),
            (yield sock.recv(bufsize=2)),
            (yield sock.recv(True)),
            (yield sock.recvall(2, flags=0)),
            (yield sock.recvall(bufsize=2)),
        ]

    assert go(main) == [b"01", b"23", b"4", b"56", b"78"]
    assert peer.recv(100) == b"abcd\0\0\0\1e"
    with pytest.raises(TypeError, match="integer"):
        sock.recv("2")
    with pytest.raises(OverflowError):
        sock.recv(1 << 80)


@also_await
def test_what_is_long_comes_whole_and_what_follows_it_too():
    sock, peer = async_pair()
    pieces = [bytes([number]) * length for number, length in enumerate(
        (20_000, 20_000, 1, 30_000, 9_000, 300_000, 5, 20_000))]

    def send():
        for piece in pieces:
            peer.sendall(piece)
        peer.shutdown(socket.SHUT_WR)

    def main(coro=None):
        got = []
        while True:
            # In turn below and above the size that is allocated before bytes come.
            for size in (1 << 20, 32_768, 1_000, 65_536):
                data = yield sock.recv(size)
                assert type(data) is bytes and len(data) <= size
                got.append(data)
                if not data:
                    return b"".join(got)

    sending = parallel(send)
    assert go(main) == b"".join(pieces)
    sending.result()


@also_await
def test_a_reset_is_told_behind_what_was_read_ahead():
    sock, peer = async_pair()

    def send():
        peer.sendall(b"\0\0\0\1aRest")

    def main(coro=None):
        sending = parallel(send)
        message = yield sock.recv_msg()
        sending.result()
        reset(peer)
        yield coro.sleep(0.2)
        try:
            rest = yield sock.recvall(10)
        except ConnectionResetError:
            rest = "reset"
        return message, rest

    assert go(main) == (b"a", "reset")


def test_a_size_beyond_all_memory_is_no_reason_to_end():
    plain = udp_socket()
    sender = udp_socket()
    sock = AsyncSocket(plain)

    def main(coro=None):
        sender.sendto(b"datagram", plain.getsockname())
        return (yield sock.recvfrom(1 << 62))[0]

    assert go(main) == b"datagram"
    sender.sendto(b"again", plain.getsockname())
    assert AsyncSocket(sock, blocking=True).recvfrom(1 << 62)[0] == b"again"


@also_await
@pytest.mark.parametrize("verb", ["recv", "recvall"])
def test_a_negative_size_is_a_value_error(verb):
    sock, _peer = async_pair()

    def main(coro=None):
        with pytest.raises(ValueError):
            yield getattr(sock, verb)(-1)
        return (yield coro.sleep(0.01, "goes on"))

    assert go(main) == "goes on"


@also_await
def test_any_contiguous_buffer_is_sent():
    sock, peer = async_pair()
    payloads = [b"a", bytearray(b"b"), memoryview(b"xcx")[1:2], array.array("B", [100])]

    def main(coro=None):
        for payload in payloads:
            yield sock.sendall(payload)
            yield sock.send_msg(payload)
        sent = (yield sock.send(b"e")), (yield sock.send(b""))
        with pytest.raises(TypeError):
            yield sock.sendall("text")
        with pytest.raises(TypeError):
            yield sock.send_msg("text")
        sock.close()
        return sent

    coro = Coro(main)
    data = read_exactly(peer, 25)
    assert done(coro) == (1, 0)
    assert data[:-1] == b"".join(b"%c\0\0\0\1%c" % (letter, letter) for letter in b"abcd")
    assert data[-1:] == b"e"


@also_await
def test_what_was_sent_is_what_it_was_at_the_call():
    sock, peer = async_pair()

    def main(coro=None):
        buffer = bytearray(b"before")
        yield sock.send_msg(buffer)
        yield sock.sendall(buffer)
        buffer[:] = b"after!"
        buffer.append(1)
        sock.close()

    go(main)
    assert read_exactly(peer, 100) == b"\0\0\0\6before" + b"before"


@also_await
def test_datagrams_between_connected_sockets():
    one, two = AsyncSocket(udp_socket()), AsyncSocket(udp_socket())

    def main(coro=None):
        assert (yield one.connect(two.getsockname())) == 0
        sent = yield one.send(b"to two")
        data, address = yield two.recvfrom(100)
        back = yield two.sendto(b"", 0, address)
        empty = yield one.recv(100)
        with pytest.raises(OSError) as error:
            yield two.sendto(bytes(70_000), address)
        return sent, data, address, back, empty, error.value.errno

    address = one.getsockname()
    assert go(main) == (6, b"to two", address, 0, b"", errno.EMSGSIZE)


# ---- timeouts


def test_gettimeout_gives_what_was_set():
    sock, _peer = async_pair()
    assert sock.gettimeout() == 0
    for seconds in (2, 0.5, None, 0):
        sock.settimeout(seconds)
        assert sock.gettimeout() == seconds
    blocking, _peer = blocking_pair()
    assert blocking.gettimeout() is None
    blocking.settimeout(1.5)
    assert blocking.gettimeout() == 1.5


def test_default_timeouts():
    sock, _peer = async_pair()
    try:
        sock.setdefaulttimeout(0.2)
        assert sock.getdefaulttimeout() == 0.2
        assert async_pair()[0].gettimeout() == 0.2
        blocking = blocking_pair()[0]
        assert blocking.getdefaulttimeout() == blocking.gettimeout() == 0.2
        assert sock.gettimeout() == 0
    finally:
        sock.setdefaulttimeout(None)
    assert sock.getdefaulttimeout() is None
    assert async_pair()[0].gettimeout() == 0


@also_await
@pytest.mark.parametrize("verb, arguments", [
    ("recv", (1,)), ("recvall", (1,)), ("recv_msg", ()), ("recv_into", (bytearray(1),)),
    ("recvfrom", (1,)), ("accept", ()), ("send_msg", (bytes(40_000_000),)),
])
def test_each_verb_times_out(verb, arguments):
    sock, _peer = async_pair()
    if verb == "accept":
        sock = AsyncSocket(socket.create_server(("127.0.0.1", 0)))
    elif verb == "recvfrom":
        sock = AsyncSocket(udp_socket())
    sock.settimeout(0.2)

    def main(coro=None):
        started = time.monotonic()
        try:
            value = yield getattr(sock, verb)(*arguments)
        except socket.timeout as error:
            value = error
        return value, time.monotonic() - started

    value, seconds = go(main)
    # As with sendall, a message that went in part gives the number of bytes.
    assert isinstance(value, int if verb == "send_msg" else socket.timeout), value
    assert 0.15 < seconds < 2


# ---- errors


@also_await
def test_errors_have_their_class_and_errno():
    nobody = closed_port()
    sock, peer = async_pair()

    def main(coro=None):
        with pytest.raises(ConnectionRefusedError) as refused:
            yield AsyncSocket(socket.socket()).connect(nobody)
        reset(peer)
        yield coro.sleep(0.1)
        with pytest.raises(ConnectionResetError) as was_reset:
            yield sock.recv(1)
        with pytest.raises((BrokenPipeError, ConnectionResetError)) as broken:
            while True:
                yield sock.sendall(b"x")
                yield coro.sleep(0.01)
        return refused.value.errno, was_reset.value.errno, broken.value.errno

    values = go(main)
    assert values[:2] == (errno.ECONNREFUSED, errno.ECONNRESET)
    assert values[2] in (errno.EPIPE, errno.ECONNRESET)


@also_await
def test_a_name_that_does_not_resolve():
    def main(coro=None):
        sock = AsyncSocket(socket.socket())
        with pytest.raises(socket.gaierror) as error:
            yield sock.connect(("no-such-host.invalid", 80))
        return error.value.errno

    assert go(main) in (socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_NODATA)


@also_await
def test_connect_to_a_name():
    listener = socket.create_server(("127.0.0.1", 0))

    def main(coro=None):
        sock = AsyncSocket(socket.socket())
        return (yield sock.connect(("localhost", listener.getsockname()[1])))

    assert go(main) == 0


@also_await
def test_verbs_on_a_closed_socket_are_ebadf():
    sock, _peer = async_pair()
    sock.close()
    sock.close()

    def main(coro=None):
        codes = []
        for verb, arguments in (("recv", (1,)), ("send_msg", (b"x",)), ("sendall", (b"x",))):
            with pytest.raises(OSError) as error:
                yield getattr(sock, verb)(*arguments)
            codes.append(error.value.errno)
        return codes, (yield coro.sleep(0.01, "goes on"))

    assert go(main) == ([errno.EBADF] * 3, "goes on")


def test_with_closes():
    sock, peer = async_pair()
    with pytest.raises(KeyError):
        with sock as inner:
            assert inner is sock
            raise KeyError("passed on")
    assert peer.recv(1) == b""


# ---- the limit of messages


@also_await
def test_a_message_over_the_limit_is_refused_before_it_is_held():
    sock, peer = async_pair()
    sock.message_limit = 1000
    peer.sendall(struct.pack(">L", 1000) + bytes(1000) + struct.pack(">L", 1001))

    def main(coro=None):
        whole = yield sock.recv_msg()
        with pytest.raises(Exception) as error:
            yield sock.recv_msg()
        return len(whole), str(error.value)

    length, text = go(main)
    assert length == 1000
    assert "1001" in text and "1000" in text


def test_the_limit_is_that_of_old_programs_by_default():
    code = """
a, b = socket.socketpair()
sock = asyncoro.AsyncSocket(a)
sock.settimeout(0.3)
b.sendall(b"\\xff\\xff\\xff\\xff")
def main(coro=None):
    try:
        yield sock.recv_msg()
    except socket.timeout:
        return "waits"
print(asyncoro.Coro(main).value(5))
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line.split()[1])
"""
    program = run_program(code)
    said, peak_kib = program.stdout.split()
    assert said == "waits"
    assert int(peak_kib) < 200_000  # far below the 4 GiB that were announced


@also_await
def test_no_message_is_queued_while_the_system_takes_no_more():
    here, there = socket.socketpair()
    sock = AsyncSocket(here)
    sock.settimeout(0.05)

    def main(coro=None):
        try:
            while True:
                yield sock.send(bytes(1 << 16))
        except TimeoutError:
            pass
        with pytest.raises(TimeoutError):
            yield sock.send_msg(b"not queued")
        sock.settimeout(None)
        sending = Coro(sock.send_msg, b"sent later")
        while (yield coro.sleep(0.001)) or sending.is_alive():
            there.recv(1 << 20)
        return (yield sending.finish())

    assert go(main) is None
