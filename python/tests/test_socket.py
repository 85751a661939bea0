"""Tests AsyncSocket as an object: what it takes, conversions both ways, passed-on methods."""

import errno
import socket
import time

import pytest

import asyncoro
from asyncoro import AsyncSocket, Coro
from harness import (
    also_await, async_pair, blocking_pair, done, go, read_exactly, tcp_pair,
)

# ---- the constructor


@pytest.mark.parametrize("wrong", [5, None, "text"])
def test_only_a_socket_is_taken(wrong):
    with pytest.raises((TypeError, AttributeError)):
        AsyncSocket(wrong)


@also_await
def test_it_takes_any_kind_of_socket(tmp_path):
    path = str(tmp_path / "socket")
    servers = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
    servers[1].bind(path)
    servers[1].listen()
    if socket.has_ipv6:
        try:
            servers.append(socket.create_server(("::1", 0), family=socket.AF_INET6))
        except OSError:
            pass  # no IPv6 on this machine

    def serve(listener, coro=None):
        conn, _ = yield listener.accept()
        yield conn.send_msg((yield conn.recv_msg()))
        conn.close()

    def client(family, address, coro=None):
        sock = AsyncSocket(socket.socket(family))
        assert (yield sock.connect(address)) == 0
        yield sock.send_msg(b"hello")
        reply = yield sock.recv_msg()
        sock.close()
        return reply

    for plain in servers:
        listener = AsyncSocket(plain)
        server = Coro(serve, listener)
        assert go(client, plain.family, plain.getsockname()) == b"hello"
        done(server)
        listener.close()


@also_await
def test_a_socketpair():
    ends = [AsyncSocket(sock) for sock in socket.socketpair()]

    def main(coro=None):
        yield ends[0].sendall(b"there")
        there = yield ends[1].recv(10)
        yield ends[1].send_msg(b"and back")
        return there, (yield ends[0].recv_msg())

    assert go(main) == (b"there", b"and back")


def test_it_takes_no_new_attributes_and_sorts_by_descriptor():
    (one, _), (two, _) = async_pair(), async_pair()
    with pytest.raises(AttributeError):
        one.something = 1
    assert (one < two) == (one.fileno() < two.fileno())
    assert len({one, two, one}) == 2 and one != two


# ---- conversions


@also_await
def test_setblocking_converts_to_and_fro():
    sock, peer = async_pair()
    peer.sendall(b"\0\0\0\1a" + b"\0\0\0\1b" + b"\0\0\0\1c")

    def main(coro=None):
        sock.settimeout(7)
        first = yield sock.recv_msg()
        sock.setblocking(True)
        timeout, second = sock.gettimeout(), sock.recv_msg()
        sock.setblocking(False)
        return first, timeout, second, sock.gettimeout(), (yield sock.recv_msg())

    assert go(main) == (b"a", None, b"b", 7, b"c")


def test_a_conversion_by_another_thread_works_or_says_what_to_do():
    sock, peer = async_pair()
    peer.sendall(b"abcdef")

    def main(coro=None):
        return (yield sock.recv(3))

    assert go(main) == b"abc"
    try:
        sock.setblocking(True)
    except RuntimeError as error:
        assert "coroutine" in str(error)
        assert go(main) == b"def"
    else:
        assert sock.recv(3) == b"def"


def test_a_blocking_timeout_of_0_makes_it_asynchronous():
    sock, peer = blocking_pair()
    peer.sendall(b"data")
    sock.settimeout(0)
    assert sock.gettimeout() == 0

    def main(coro=None):
        return (yield sock.recv(10))

    assert go(main) == b"data"


def test_a_blocking_timeout_of_none_is_obeyed():
    sock, _peer = blocking_pair()
    sock.settimeout(3)
    sock.settimeout(None)
    assert sock.gettimeout() is None


@also_await
def test_a_socket_made_from_an_async_socket_obeys_its_arguments():
    sock, peer = async_pair()
    peer.sendall(b"abcdefghi")

    def main(coro=None):
        first = yield sock.recv(3)
        blocking = AsyncSocket(sock, blocking=True)
        timeout, second = blocking.gettimeout(), blocking.recv(3)
        again = AsyncSocket(blocking)
        return first, timeout, second, again.gettimeout(), (yield again.recv(3))

    assert go(main) == (b"abc", None, b"def", 0, b"ghi")


@also_await
def test_two_async_sockets_over_one_plain_socket():
    plain, peer = tcp_pair()
    one, two = AsyncSocket(plain), AsyncSocket(plain)

    def read(sock, coro=None):
        return (yield sock.recv(3))

    peer.sendall(b"abc")
    assert go(read, one) == b"abc"
    peer.sendall(b"def")
    assert go(read, two) == b"def"


@also_await
def test_one_asynchronous_reader_and_one_blocking_writer_over_one_plain_socket():
    plain, peer = tcp_pair()

    def read(coro=None):
        return (yield AsyncSocket(plain).recv_msg())

    reader = Coro(read)
    time.sleep(0.1)
    writer = AsyncSocket(plain, blocking=True)
    assert writer.send_msg(b"out") is None
    assert read_exactly(peer, 7) == b"\0\0\0\3out"
    peer.sendall(b"\0\0\0\2in")
    assert done(reader) == b"in"


@also_await
def test_unwrap_gives_the_plain_socket_back():
    plain, peer = tcp_pair()
    sock = AsyncSocket(plain)
    peer.sendall(b"abcdef")

    def main(coro=None):
        yield sock.send_msg(b"queued")
        return (yield sock.recv(3))

    assert go(main) == b"abc"
    assert sock.unwrap() is plain
    assert read_exactly(peer, 10) == b"\0\0\0\6queued"
    plain.setblocking(True)
    assert plain.recv(3) == b"def"
    sock.close()
    assert plain.fileno() >= 0


# ---- passed-through methods


def test_a_class_of_ones_own_is_refused():
    with pytest.raises(TypeError, match="no base for classes"):
        class Own(asyncoro.AsyncSocket):
            pass


@pytest.mark.parametrize("make", [async_pair, blocking_pair])
def test_everything_a_socket_offers_is_offered(make):
    sock, _peer = make()
    names = [name for name in dir(socket.socket) if not name.startswith("_")]
    missing = [name for name in names if not hasattr(sock, name)]
    assert not missing
    plain = socket.socket()
    wrong = [name for name in names if callable(getattr(plain, name)) != callable(
        getattr(sock, name))]
    assert not wrong


@pytest.mark.parametrize("make", [async_pair, blocking_pair])
def test_passed_through_methods_do_what_they_do(make):
    sock, peer = make()
    assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)
    assert sock.proto in (0, socket.IPPROTO_TCP)
    assert sock.getsockname() == peer.getpeername()
    assert sock.getpeername() == peer.getsockname()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    with sock.dup() as copy:
        assert copy.fileno() not in (-1, sock.fileno())
    assert sock.get_inheritable() is False
    assert sock.connect_ex(peer.getsockname()) == errno.EISCONN
    sock.shutdown(socket.SHUT_WR)
    assert peer.recv(10) == b""


def test_bind_and_listen_may_be_yielded():
    sock = AsyncSocket(socket.socket())

    def main(coro=None):
        return (yield sock.bind(("127.0.0.1", 0))), (yield sock.listen(5))

    assert go(main) == (None, None)
    assert sock.getsockname()[1] > 0


@also_await
def test_recv_into():
    sock, peer = async_pair()
    buffer = bytearray(8)

    def main(coro=None):
        first = yield sock.recv_into(buffer)
        return first, (yield sock.recv_into(memoryview(buffer)[4:], 2))

    coro = Coro(main)
    time.sleep(0.1)
    peer.sendall(b"abc")
    time.sleep(0.1)
    peer.sendall(b"def")
    assert done(coro) == (3, 2)
    assert buffer[:6] == b"abc\0de"


@also_await
def test_a_passed_through_call_comes_behind_what_was_sent():
    sock, peer = async_pair()

    def main(coro=None):
        for number in range(3):
            yield sock.send_msg(b"%d" % number)
        yield sock.sendall(b"raw")
        sock.shutdown(socket.SHUT_WR)
        yield coro.sleep(0)

    go(main)
    expected = b"".join(b"\0\0\0\1%d" % number for number in range(3)) + b"raw"
    assert read_exactly(peer, 100) == expected


@also_await
def test_flush_and_close_come_behind_what_was_sent():
    sock, peer = async_pair()

    def main(coro=None):
        yield sock.send_msg(b"one")
        yield sock.flush()
        peer.setblocking(False)
        first = peer.recv(100)
        peer.settimeout(5)
        yield sock.send_msg(b"two")
        sock.close()
        return first

    assert go(main) == b"\0\0\0\3one"
    assert read_exactly(peer, 100) == b"\0\0\0\3two"


@also_await
@pytest.mark.parametrize("how", ["unwrap", "detach"])
def test_what_was_received_and_not_taken_is_not_lost_to_the_plain_socket(how):
    sock, peer = async_pair()
    peer.sendall(b"\0\0\0\1a\0\0\0\1b")

    def main(coro=None):
        first = yield sock.recv_msg()
        with pytest.raises(RuntimeError, match="received"):
            getattr(sock, how)()
        return first, (yield sock.recv_msg())

    assert go(main) == (b"a", b"b")
    given = getattr(sock, how)()
    plain = given if how == "unwrap" else socket.socket(fileno=given)
    plain.settimeout(5)
    peer.sendall(b"c")
    assert plain.recv(9) == b"c"
    plain.close()


def test_a_message_of_another_coroutine_is_not_received():
    def waits(coro=None):
        return (yield coro.receive())

    def main(other, coro=None):
        yield
        with pytest.raises(RuntimeError):
            other.receive()

    other = asyncoro.Coro(waits)
    go(main, other)
    other.send("its own")
    assert other.value(5) == "its own"


@also_await
def test_a_conversion_that_would_have_to_wait_leaves_the_socket_as_it_is():
    sock, peer = async_pair()

    # Otherwise the system's buffers may grow and take all of it.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)

    def main(coro=None):
        sock.settimeout(0.2)
        yield sock.send_msg(bytes(4_000_000))  # its rest stays queued
        with pytest.raises(BlockingIOError):
            sock.setblocking(True)
        assert not sock.getblocking()
        peer.sendall(b"still here")
        return (yield sock.recv(100))

    assert go(main) == b"still here"
    assert len(read_exactly(peer, 4_000_004)) == 4_000_004
    sock.close()
