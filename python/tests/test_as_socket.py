"""Small things in which an AsyncSocket does as `socket.socket` does."""

import errno
import os
import socket
import ssl
import struct

import asyncoro
import pytest
from harness import WAIT, also_await, go

TINY = 0.1 + 0.2 - 0.3


# ---- timeouts


@also_await
def test_a_tiny_timeout_of_a_coroutine_is_over_at_once():
    here, _there = socket.socketpair()

    def receives():
        sock = asyncoro.AsyncSocket(here)
        sock.settimeout(TINY)
        assert sock.gettimeout() == TINY
        with pytest.raises(TimeoutError):
            yield sock.recv(1)
        with pytest.raises(TimeoutError):
            yield sock.recv_msg()

    go(receives)


def test_a_tiny_timeout_of_a_thread_is_over_at_once():
    here, _there = socket.socketpair()
    sock = asyncoro.AsyncSocket(here, blocking=True)
    sock.settimeout(TINY)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    with pytest.raises(TimeoutError):
        sock.recv_msg()


@also_await
def test_a_tiny_timeout_of_create_connection_and_of_new_sockets_is_one():
    listener = asyncoro.AsyncSocket(asyncoro.create_server(("127.0.0.1", 0)))

    def connects():
        sock = asyncoro.AsyncSocket(socket.socket())
        try:
            yield sock.create_connection(listener.getsockname(), timeout=TINY)
        except TimeoutError:
            sock.close()
            return
        with pytest.raises(TimeoutError):
            yield sock.recv(1)

    go(connects)
    asyncoro.AsyncSocket.setdefaulttimeout(TINY)
    try:
        made = [asyncoro.AsyncSocket(one) for one in socket.socketpair()]
        threads = [asyncoro.AsyncSocket(one, blocking=True) for one in socket.socketpair()]
    finally:
        asyncoro.AsyncSocket.setdefaulttimeout(None)

    def receives():
        with pytest.raises(TimeoutError):
            yield made[0].recv(1)

    go(receives)
    with pytest.raises(TimeoutError):
        threads[0].recv(1)


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("refused", [float("inf"), float("nan"), 1e10, 10**400, -1, "1"])
def test_a_timeout_that_is_refused_is_not_set(blocking, refused):
    sock = asyncoro.AsyncSocket(socket.socket(), blocking=blocking)
    plain = socket.socket()
    sock.settimeout(5)
    with pytest.raises((OverflowError, ValueError, TypeError)) as expected:
        plain.settimeout(refused)
    with pytest.raises(expected.type):
        sock.settimeout(refused)
    assert sock.gettimeout() == 5
    usual = asyncoro.AsyncSocket.getdefaulttimeout()
    with pytest.raises(expected.type):
        asyncoro.AsyncSocket.setdefaulttimeout(refused)
    assert asyncoro.AsyncSocket.getdefaulttimeout() == usual
    if blocking:
        assert sock._regular().gettimeout() == 5
    sock.close()
    plain.close()


# ---- connecting


@also_await
def test_a_connected_socket_connects_no_more():
    one, two = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))

    def connects():
        sock = asyncoro.AsyncSocket(socket.socket())
        yield sock.connect(one.getsockname())
        for again in (two, one, two):
            with pytest.raises(OSError) as refused:
                yield sock.connect(again.getsockname())
            assert refused.value.errno == errno.EISCONN
        assert sock.getpeername() == one.getsockname()
        yield sock.sendall(b"still connected")
        yield sock.flush()

    go(connects)
    assert one.accept()[0].recv(100) == b"still connected"


def test_a_connected_socket_of_a_thread_connects_no_more():
    one, two = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    sock = asyncoro.AsyncSocket(socket.socket(), blocking=True)
    sock.connect(one.getsockname())
    with pytest.raises(OSError) as refused:
        sock.connect(two.getsockname())
    assert refused.value.errno == errno.EISCONN


# ---- receiving


@also_await
def test_an_empty_buffer_is_filled_at_once():
    here, _there = socket.socketpair()

    def receives():
        return (yield asyncoro.AsyncSocket(here).recv_into(bytearray(0)))

    assert go(receives) == 0


def test_an_empty_buffer_of_a_thread_is_filled_at_once():
    here, _there = socket.socketpair()
    assert asyncoro.AsyncSocket(here, blocking=True).recv_into(bytearray(0)) == 0


# ---- TLS


def test_the_usual_ssl_version_is_that_of_new_sockets(certificates):
    def listener():
        plain = asyncoro.create_server(("127.0.0.1", 0))
        return asyncoro.AsyncSocket(plain, certfile=certificates.chain, keyfile=certificates.key)

    def version_of(listener, **options):
        def serves():
            connection, _ = yield listener.accept()
            yield connection.recv(1)
            return connection.version()

        serving = asyncoro.Coro(serves)
        context = ssl.create_default_context(cafile=certificates.chain)
        raw = socket.create_connection(listener.getsockname(), WAIT)
        with context.wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(b"x")
            assert serving.value(WAIT) == client.version()
            return client.version()

    assert asyncoro.AsyncSocket.get_ssl_version() is None
    try:
        asyncoro.AsyncSocket.set_ssl_version(ssl.PROTOCOL_TLSv1_2)
        assert asyncoro.AsyncSocket.get_ssl_version() == ssl.PROTOCOL_TLSv1_2
        assert version_of(listener()) == "TLSv1.2"
        for refused, error in ((3, ValueError), ("TLSv1.2", TypeError)):
            with pytest.raises(error):
                asyncoro.AsyncSocket.set_ssl_version(refused)
            assert asyncoro.AsyncSocket.get_ssl_version() == ssl.PROTOCOL_TLSv1_2
    finally:
        asyncoro.AsyncSocket.set_ssl_version(None)
    assert asyncoro.AsyncSocket.get_ssl_version() is None
    assert version_of(listener()) == "TLSv1.3"


# ---- the descriptor


@also_await
def test_fileno_sends_first_what_is_queued():
    here, there = socket.socketpair()

    def writes():
        sock = asyncoro.AsyncSocket(here)
        yield sock.sendall(b"first ")
        os.write(sock.fileno(), b"second")

    go(writes)
    there.settimeout(WAIT)
    got = b""
    while len(got) < 12:
        got += there.recv(100)
    assert got == b"first second"


@pytest.mark.parametrize("number", [0, 5, True])
def test_a_number_is_no_socket(number):
    with pytest.raises(TypeError, match=r"socket\.socket\(fileno=number\)"):
        asyncoro.AsyncSocket(number)


# ---- families and types that the crate has no addresses of


def seqpacket_pair(path):
    listener, client = (socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
    listener.bind(path)
    listener.listen()
    client.connect(path)
    client.settimeout(WAIT)
    return listener, client


@also_await
def test_a_seqpacket_listener_accepts(tmp_path):
    listener, client = seqpacket_pair(str(tmp_path / "socket"))

    def serves():
        connection, _ = yield asyncoro.AsyncSocket(listener).accept()
        assert connection.recv_msg is None
        client.send(b"one"), client.send(b"two")
        assert (yield connection.recv(100)) == b"one"
        assert (yield connection.recv(100)) == b"two"
        yield connection.send(b"answer")
        connection.close()

    go(serves)
    assert client.recv(100) == b"answer"
    assert client.recv(100) == b""


def test_a_seqpacket_listener_of_a_thread_accepts(tmp_path):
    listener, client = seqpacket_pair(str(tmp_path / "socket"))
    connection, _ = asyncoro.AsyncSocket(listener, blocking=True).accept()
    assert connection.recv_msg is None
    client.send(b"one"), client.send(b"two")
    assert [connection.recv(100) for _ in range(2)] == [b"one", b"two"]
    connection.close()


def netlink():
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    except OSError as error:
        pytest.skip(f"no netlink socket: {error}")


#: RTM_GETLINK of all links: struct nlmsghdr, struct rtgenmsg.
LINKS = struct.pack("=IHHIIB", 17, 18, 0x301, 1, 0, 0)


@also_await
def test_netlink_addresses_are_those_of_socket():
    plain = netlink()

    def asks():
        sock = asyncoro.AsyncSocket(plain)
        sock.settimeout(WAIT)
        sock.bind((0, 0))
        assert sock.getsockname() == plain.getsockname()
        waiting = asyncoro.Coro(receives, sock)
        yield asyncoro.sleep(0.01)
        assert (yield sock.sendto(LINKS, (0, 0))) == len(LINKS)
        assert (yield waiting.finish()) is True
        assert (yield sock.sendto(LINKS, 0, (0, 0))) == len(LINKS)
        buffer = bytearray(1 << 16)
        count, sender = yield sock.recvfrom_into(buffer)
        assert count > 16 and sender == (0, 0)

    def receives(sock):
        answer, sender = yield sock.recvfrom(1 << 16)
        # The end of the list may come in a second answer.
        with asyncoro.timeout(0.05):
            try:
                yield sock.recvfrom(1 << 16)
            except TimeoutError:
                pass
        return len(answer) > 16 and sender == (0, 0)

    go(asks)


def test_netlink_addresses_in_a_thread():
    sock = asyncoro.AsyncSocket(netlink(), blocking=True)
    sock.settimeout(WAIT)
    assert sock.connect((0, 0)) == 0
    assert sock.sendto(LINKS, (0, 0)) == len(LINKS)
    answer, sender = sock.recvfrom(1 << 16)
    assert len(answer) > 16 and sender == (0, 0)


@also_await
def test_packet_addresses_are_those_of_socket():
    try:
        plain = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        plain.bind(("lo", 0))
    except OSError as error:
        pytest.skip(f"no packet socket: {error}")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))

    def receives():
        sock = asyncoro.AsyncSocket(plain)
        sock.settimeout(WAIT)
        udp.sendto(b"marked by this test", udp.getsockname())
        while True:
            packet, sender = yield sock.recvfrom(1 << 16)
            if packet.endswith(b"marked by this test"):
                return sender

    assert go(receives)[0] == "lo"
