"""The regular socket is closed behind its AsyncSocket: that ends with it."""

import errno
import gc
import os
import socket
import socketserver
import threading
import weakref

import asyncoro
import pytest
from harness import WAIT, also_await, done, go, parallel


def is_closed(error):
    return error.value.errno == errno.EBADF


def with_block(plain):
    with plain:
        pass


def by_makefile(plain):
    file = plain.makefile("rb")
    plain.close()
    file.close()


def by_server(plain):
    server = socketserver.TCPServer(("127.0.0.1", 0), None, bind_and_activate=False)
    server.shutdown_request(plain)
    server.server_close()


def detach(plain):
    os.close(plain.detach())


CLOSERS = [socket.socket.close, with_block, by_makefile, by_server, detach]


class Derived(socket.socket):
    """As libraries have them, with attributes of their own."""


def derived_pair():
    return [Derived(fileno=one.detach()) for one in socket.socketpair()]


PAIRS = [socket.socketpair, derived_pair]


def strangers(number):
    """Returns a connection that has got the number of a descriptor, and its peer."""
    made = socket.socketpair()
    # What other tests have left may free lower numbers at any time.
    others = []
    while len(others) < 100 and number not in (made[0].fileno(), made[1].fileno()):
        others.append(made)
        made = socket.socketpair()
    assert number in (made[0].fileno(), made[1].fileno())
    for other in others:
        other[0].close()
        other[1].close()
    return made if made[0].fileno() == number else made[::-1]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("close", CLOSERS)
@pytest.mark.parametrize("blocking", [False, True])
def test_no_byte_reaches_a_stranger(blocking, close, pair):
    plain, peer = pair()
    sock = asyncoro.AsyncSocket(plain, blocking)
    number = plain.fileno()
    close(plain)
    stranger, its_peer = strangers(number)
    its_peer.sendall(b"for the stranger")

    def use():
        for verb in (sock.send, sock.sendall, sock.send_msg):
            with pytest.raises(OSError) as error:
                yield verb(b"intruder")
            assert is_closed(error)
        with pytest.raises(OSError) as error:
            yield sock.recv(100)
        assert is_closed(error)

    if blocking:
        for _ in use():
            pass
    else:
        go(use)
    assert sock.fileno() == -1
    its_peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        its_peer.recv(100)
    stranger.settimeout(WAIT)
    assert stranger.recv(100) == b"for the stranger"
    peer.settimeout(WAIT)
    assert peer.recv(100) == b""


@also_await
def test_coroutines_that_wait_on_it_wake():
    plain, _peer = socket.socketpair()
    sock = asyncoro.AsyncSocket(plain)

    def reads():
        with pytest.raises(OSError) as error:
            yield sock.recv(1)
        return is_closed(error)

    def main():
        reader = asyncoro.Coro(reads)
        yield asyncoro.sleep(0.01)
        plain.close()
        return (yield reader.finish())

    assert go(main) is True


def test_coroutines_wake_when_a_thread_closes_it():
    plain, _peer = socket.socketpair()
    sock, waits = asyncoro.AsyncSocket(plain), threading.Event()

    def reads():
        waits.set()
        with pytest.raises(OSError) as error:
            yield sock.recv(1)
        return is_closed(error)

    reader = asyncoro.Coro(reads)
    assert waits.wait(WAIT)
    plain.close()
    assert done(reader) is True


def test_a_thread_that_waits_on_it_wakes():
    plain, _peer = socket.socketpair()
    sock, waits = asyncoro.AsyncSocket(plain, blocking=True), threading.Event()

    def reads():
        waits.set()
        with pytest.raises(OSError) as error:
            sock.recv(1)
        return is_closed(error)

    reader = parallel(reads)
    assert waits.wait(WAIT)
    plain.close()
    assert reader.result(WAIT) is True


@also_await
def test_what_is_queued_leaves_before_it_is_closed():
    plain, peer = socket.socketpair()
    peer.settimeout(WAIT)

    def sends():
        with plain:
            yield asyncoro.AsyncSocket(plain).sendall(b"queued")

    go(sends)
    assert peer.recv(100) == b"queued"
    assert peer.recv(100) == b""


@pytest.mark.parametrize("pair", PAIRS)
def test_it_is_a_socket_as_before(pair):
    plain, _peer = pair()
    cls = type(plain)
    shown = repr(plain)
    one, two = asyncoro.AsyncSocket(plain), asyncoro.AsyncSocket(plain)
    assert isinstance(plain, cls) and repr(plain) == shown
    copy = plain.dup()
    copy.close()
    del one
    gc.collect()
    assert two.unwrap() is plain
    assert type(plain) is cls
    plain.close()


def test_it_lives_as_long_as_its_socket():
    plain, _peer = socket.socketpair()
    sock, known = asyncoro.AsyncSocket(plain), weakref.ref(plain)
    number = plain.fileno()
    del plain
    gc.collect()
    assert known() is not None and sock.fileno() == number
    with pytest.warns(ResourceWarning):
        del sock
        gc.collect()
    with pytest.raises(OSError):
        os.fstat(number)


def test_the_number_stays_with_whoever_has_detached_it():
    plain, peer = socket.socketpair()
    sock = asyncoro.AsyncSocket(plain)
    number = plain.detach()
    assert sock.fileno() == -1
    os.write(number, b"mine")
    assert peer.recv(10) == b"mine"
    os.close(number)


# ---- two over one regular socket


@pytest.mark.parametrize("modes", [(False, False), (False, True), (True, False), (True, True)])
def test_two_over_one_are_both_served_and_end_with_it(modes):
    plain, peer = socket.socketpair()
    pair = [asyncoro.AsyncSocket(plain, mode) for mode in modes]
    peer.settimeout(WAIT)

    def talks(sock):
        yield sock.sendall(b"x")
        assert (yield sock.recv(1)) == b"y"

    for sock, blocking in zip(pair, modes):
        if blocking:
            sock.sendall(b"x")
            peer.recv(1), peer.sendall(b"y")
            assert sock.recv(1) == b"y"
        else:
            talk = asyncoro.Coro(talks, sock)
            peer.recv(1), peer.sendall(b"y")
            done(talk)
    plain.close()
    assert [sock.fileno() for sock in pair] == [-1, -1]


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_a_second_is_refused_where_either_speaks_tls(blocking, first, second, certificates):
    options = {"cafile": certificates.chain}
    plain, _peer = socket.socketpair()
    one = asyncoro.AsyncSocket(plain, blocking, **(options if first else {}))
    if first or second:
        with pytest.raises(ValueError, match="only one can read"):
            asyncoro.AsyncSocket(plain, **(options if second else {}))
    else:
        asyncoro.AsyncSocket(plain, blocking)
    assert one.fileno() == plain.fileno()
    # Each connection of a listener has records of its own.
    listening = asyncoro.create_server(("127.0.0.1", 0))
    server = {"certfile": certificates.chain, "keyfile": certificates.key}
    pair = [asyncoro.AsyncSocket(listening, blocking, **server) for _ in range(2)]
    listening.close()
    assert [sock.fileno() for sock in pair] == [-1, -1]
