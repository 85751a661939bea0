"""recv_until and recv_line: in either mode, with TLS, cut, too long, dropped and read ahead."""

import errno
import gc
import socket
import threading
import warnings

import pytest

import asyncoro
from asyncoro import AsyncSocket, Coro
from harness import (
    WAIT, also_await, async_pair, done, go, let_run, modes, parallel, run, socket_of, tcp_pair,
    udp_socket,
)


def pair_of(blocking):
    """Returns a socket of either mode and its peer, a plain socket."""
    here, there = tcp_pair()
    return socket_of(blocking, here), there


@modes
def test_a_line_comes_without_its_end_and_the_end_of_the_stream_is_none(blocking):
    sock, peer = pair_of(blocking)
    peer.sendall(b"HELO\r\n\nto \r or not\n\r\r\n")
    peer.close()

    def use(sock):
        got = []
        while True:
            line = yield sock.recv_line()
            if line is None:
                return got, (yield sock.recv_line()), (yield sock.recv(10))
            got.append(line)

    got, again, data = run(sock, blocking, use)
    assert got == [b"HELO", b"", b"to \r or not", b"\r"]
    assert all(type(line) is bytes for line in got)
    assert again is None and data == b""


@modes
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_recv_until_gives_the_delimiter_too(blocking, kind):
    sock, peer = pair_of(blocking)
    delimiter = kind(b"\r\n\r\n")

    def send():
        # The delimiter in pieces, and what looks like its beginning.
        for piece in (b"GET /\r\n", b"A: b\r", b"\n", b"\r", b"\nbody\r\n\r", b"\nrest"):
            peer.sendall(piece)

    def use(sock):
        sending = parallel(send)
        head = yield sock.recv_until(delimiter)
        body = yield sock.recv_until(delimiter, 8)
        sending.result()
        return head, body, (yield sock.recv(100))

    head, body, rest = run(sock, blocking, use)
    assert type(head) is bytes and head == b"GET /\r\nA: b\r\n\r\n"
    assert (body, rest) == (b"body\r\n\r\n", b"rest")


@modes
@pytest.mark.parametrize("receive", [
    lambda sock: sock.recv_line(), lambda sock: sock.recv_until(b"\n"),
])
def test_a_stream_that_ends_within_a_line_is_an_eof_error_and_nothing_is_lost(blocking, receive):
    sock, peer = pair_of(blocking)
    peer.sendall(b"whole\ncut")
    peer.close()

    def use(sock):
        whole = yield receive(sock)
        for _ in range(2):
            with pytest.raises(EOFError, match="after 3 of 65536 bytes"):
                yield receive(sock)
        return whole, sock.has_received(), (yield sock.recv(10)), (yield sock.recv_line())

    whole, had, cut, end = run(sock, blocking, use)
    assert whole.rstrip() == b"whole" and had and cut == b"cut" and end is None


@modes
def test_recv_until_has_no_none_for_the_end(blocking):
    sock, peer = pair_of(blocking)
    peer.close()

    def use(sock):
        with pytest.raises(EOFError):
            yield sock.recv_until(b"\n")
        return (yield sock.recv_line())

    assert run(sock, blocking, use) is None


@modes
def test_what_is_too_long_is_an_error_and_stays(blocking):
    sock, peer = pair_of(blocking)
    peer.sendall(b"123456789\n" + b"x" * 65_536 + b"\n" + b"y" * 65_535 + b"\n")

    def use(sock):
        for receive in (
            lambda: sock.recv_line(9), lambda: sock.recv_line(0),
            lambda: sock.recv_until(b"\n", 9), lambda: sock.recv_until(b"\n", max=0),
        ):
            with pytest.raises(OSError, match="delimiter is not among the first") as raised:
                yield receive()
            assert raised.value.errno == errno.EMSGSIZE
        first = yield sock.recv_line(max=10)
        with pytest.raises(OSError, match="first 65536 bytes"):
            yield sock.recv_line()
        second = yield sock.recv_line(65_537)
        return first, second, (yield sock.recv_line())

    assert run(sock, blocking, use) == (b"123456789", b"x" * 65_536, b"y" * 65_535)


@modes
def test_wrong_arguments_are_refused_before_anything_is_received(blocking):
    sock, peer = pair_of(blocking)
    peer.sendall(b"line\n")

    for wrong, error, text in (
        (lambda: sock.recv_line(-1), ValueError, "negative buffersize in recv_line"),
        (lambda: sock.recv_until(b"\n", -1), ValueError, "negative buffersize in recv_until"),
        (lambda: sock.lines(-1), ValueError, "negative buffersize in lines"),
        (lambda: sock.recv_until(b""), ValueError, "delimiter"),
        (lambda: sock.recv_until("\n"), TypeError, "bytes-like"),
        (lambda: sock.recv_until(10), TypeError, "bytes-like"),
        (lambda: sock.recv_until(), TypeError, "delimiter"),
        (lambda: sock.recv_line("10"), TypeError, "int"),
        (lambda: sock.recv_line(None), TypeError, "int"),
        (lambda: sock.recv_line(1 << 80), OverflowError, "too large"),
    ):
        with pytest.raises(error, match=text):
            wrong()

    def use(sock):
        return (yield sock.recv_until(delimiter=b"\n", max=(1 << 62)))

    assert run(sock, blocking, use) == b"line\n"


@modes
def test_other_sockets_than_streams_are_refused(blocking):
    plain, sender = udp_socket(), udp_socket()
    sock = socket_of(blocking, plain)
    sender.sendto(b"line\n", plain.getsockname())

    def use(sock):
        for verb in (sock.recv_line, lambda: sock.recv_until(b"\n")):
            with pytest.raises(ValueError, match="does not work on a UDP socket"):
                yield verb()
        return (yield sock.recv(10))

    assert run(sock, blocking, use) == b"line\n"


@modes
def test_a_timeout_loses_nothing(blocking):
    sock, peer = pair_of(blocking)
    sock.settimeout(0.03)
    peer.sendall(b"be")

    def use(sock):
        for receive in (sock.recv_line, lambda: sock.recv_until(b"\r\n")):
            with pytest.raises(TimeoutError):
                yield receive()
        sock.settimeout(WAIT)
        peer.sendall(b"gun\r\n")
        return (yield sock.recv_line())

    assert run(sock, blocking, use) == b"begun"


@also_await
@pytest.mark.no_task("a task can only be cancelled")
def test_a_line_that_is_no_longer_waited_for_is_the_next_readers():
    sock, peer = async_pair()

    def read(coro=None):
        return (yield sock.recv_line())

    def main(coro=None):
        peer.sendall(b"one ")
        with pytest.raises(TimeoutError):
            yield asyncoro.timeout(0.02, sock.recv_line())
        for end in (Coro.terminate, lambda coro: coro.throw(KeyError("enough"))):
            reader = Coro(read)
            yield coro.sleep(0.01)
            peer.sendall(b"and ")
            yield coro.sleep(0.01)
            end(reader)
            yield reader.finish()
        peer.sendall(b"more\nrest\n")
        place, _ = yield asyncoro.first(sock.recv_line(), sock.recv_line())
        return place, (yield sock.recv_until(b"\n"))

    level = asyncoro.logger.level
    asyncoro.logger.setLevel("critical")
    try:
        assert go(main) == (0, b"rest\n")
    finally:
        asyncoro.logger.setLevel(level)


@also_await
def test_lines_messages_and_bytes_alternate():
    sock, peer = async_pair()
    peer.sendall(b"\0\0\0\2hiline\r\n\0\0\0\5there12345until;bytes")

    def main(coro=None):
        got = [(yield sock.recv_msg()), (yield sock.recv_line())]
        assert sock.has_received()
        got += [(yield sock.recv_msg()), (yield sock.recvall(5)), (yield sock.recv_until(b";"))]
        sock.setblocking(True)
        return got, sock.recv(10)

    assert go(main) == ([b"hi", b"line", b"there", b"12345", b"until;"], b"bytes")


@also_await
def test_readers_are_served_in_turn_and_lines_go_whole():
    sock, peer = async_pair()

    def read(coro=None):
        return (yield sock.recv_line())

    def main(coro=None):
        readers = [Coro(read) for _ in range(10)]
        yield coro.sleep(0.01)
        for piece in (b"0\n1", b"\n", b"2\n3\n4\n5", b"\r\n6\n7\n8\n9\n"):
            peer.sendall(piece)
            yield coro.sleep(0)
        got = []
        for reader in readers:
            got.append((yield reader.finish()))
        return got

    assert go(main) == [b"%d" % number for number in range(10)]


def test_threads_are_served_whole_lines():
    sock, peer = pair_of(True)
    count = 300

    def read():
        got = []
        while True:
            line = sock.recv_line()
            if line is None:
                return got
            got.append(line)

    threads = [parallel(read) for _ in range(3)]
    lines = [b"%d-" % number * 7 for number in range(count)]
    peer.sendall(b"\n".join(lines) + b"\n")
    peer.close()
    got = [thread.result() for thread in threads]
    assert sorted(line for row in got for line in row) == sorted(lines)
    # Each thread's own are in order.
    for row in got:
        numbers = [int(line.split(b"-")[0]) for line in row]
        assert numbers == sorted(numbers)


@modes
def test_with_tls_lines_are_the_same(certificates, blocking):
    listener = socket.create_server(("127.0.0.1", 0))
    server = AsyncSocket(listener, True, keyfile=certificates.key, certfile=certificates.chain)
    server.settimeout(WAIT)
    client = AsyncSocket(socket.socket(), blocking, certfile=certificates.chain)
    client.settimeout(WAIT)

    def serve():
        peer, _ = server.accept()
        peer.sendall(b"first\r\nsecond\nhead;and\nlast")
        peer.close()

    def use(client):
        serving = parallel(serve)
        yield client.connect(("localhost", listener.getsockname()[1]))
        got = [(yield client.recv_line()), (yield client.recv_line())]
        got += [(yield client.recv_until(b";")), (yield client.recv_line())]
        with pytest.raises(EOFError):
            yield client.recv_line()
        got += [(yield client.recv(10)), (yield client.recv_line())]
        serving.result()
        return got

    got = run(client, blocking, use)
    assert got == [b"first", b"second", b"head;", b"and", b"last", None]


@also_await
def test_a_closed_socket_tells_those_who_wait_for_a_line():
    sock, _peer = async_pair()

    def read(verb, coro=None):
        with pytest.raises(OSError) as raised:
            yield verb()
        return raised.value.errno

    def main(coro=None):
        readers = [Coro(read, sock.recv_line), Coro(read, lambda: sock.recv_until(b"\n"))]
        yield coro.sleep(0.01)
        sock.close()
        got = []
        for reader in readers:
            got.append((yield reader.finish()))
        for verb in (sock.recv_line, lambda: sock.recv_until(b"\n")):
            with pytest.raises(OSError, match="closed"):
                verb()
        return got

    assert go(main) == [errno.EBADF, errno.EBADF]


def test_a_close_by_another_thread_ends_a_threads_wait_for_a_line():
    sock, peer = pair_of(True)
    peer.sendall(b"be")
    reading = parallel(sock.recv_line)
    while not sock.has_received():
        threading.Event().wait(0.001)
    sock.close()
    with pytest.raises(OSError) as raised:
        reading.result()
    assert raised.value.errno == errno.EBADF


def test_outside_of_coroutines_they_are_refused():
    sock, _peer = async_pair()
    for call in (sock.recv_line(), sock.recv_until(b"\n")):
        with pytest.raises(RuntimeError, match="is for coroutines"):
            call.send(None)


def test_a_call_that_nobody_awaits_warns_and_takes_nothing():
    sock, peer = async_pair()
    peer.sendall(b"line\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sock.recv_line()
        sock.recv_until(b"\n")
        gc.collect()
    said = [str(warning.message) for warning in caught if warning.category is RuntimeWarning]
    assert said == [
        "AsyncSocket.recv_line was never awaited", "AsyncSocket.recv_until was never awaited",
    ]
    assert done(Coro(sock.recv_line)) == b"line"
    let_run()


@also_await
def test_a_long_line_comes_whole():
    sock, peer = async_pair()
    line = bytes(range(11, 256)) * 20_000
    sending = parallel(peer.sendall, line + b"\nnext\n")

    def main(coro=None):
        return (yield sock.recv_line(8 << 20)), (yield sock.recv_line())

    got, following = go(main)
    sending.result()
    assert got == line and following == b"next"
