"""Iteration: `async for` over messages and lines in coroutines, `for` in threads, `yield`."""

import errno
import socket
import sys

import pytest

import asyncoro
from asyncoro import AsyncSocket, Coro
from harness import WAIT, async_both, async_pair, blocking_pair, done, go, parallel, udp_socket

#: Three messages, of which one is empty.
MESSAGES = b"\0\0\0\3one" + b"\0\0\0\0" + b"\0\0\0\5three"
LINES = b"one\r\n\nthree\n"


def of(blocking, data, end=True):
    """Returns a socket of either mode, whose peer has sent `data`, and its peer."""
    sock, peer = blocking_pair() if blocking else async_pair()
    sock.settimeout(WAIT)
    peer.sendall(data)
    if end:
        peer.shutdown(socket.SHUT_WR)
    return sock, peer


def test_async_for_goes_through_messages_up_to_the_end():
    sock, _peer = of(False, MESSAGES)

    async def main(coro=None):
        got = []
        async for message in sock.messages():
            got.append(message)
        return got, [message async for message in sock.messages()]

    got, again = go(main)
    assert got == [b"one", b"", b"three"] and again == []
    assert all(type(message) is bytearray for message in got)


def test_async_for_goes_through_lines_up_to_the_end():
    sock, _peer = of(False, LINES)

    async def main(coro=None):
        got = [line async for line in sock.lines()]
        return got, [line async for line in sock.lines(max=5)]

    got, again = go(main)
    assert got == [b"one", b"", b"three"] and again == []
    assert all(type(line) is bytes for line in got)


def test_for_goes_through_both_in_a_thread():
    sock, _peer = of(True, MESSAGES)
    assert list(sock.messages()) == [b"one", b"", b"three"]
    assert list(sock.messages()) == []
    sock, _peer = of(True, LINES)
    lines = sock.lines()
    assert iter(lines) is lines
    assert next(lines) == b"one" and list(lines) == [b"", b"three"]
    with pytest.raises(StopIteration):
        next(lines)


def test_a_generator_yields_what_comes_next():
    sock, _peer = of(False, MESSAGES)

    def main(coro=None):
        got = []
        messages = sock.messages()
        try:
            while True:
                got.append((yield messages.__anext__()))
        except StopAsyncIteration:
            return got

    assert go(main) == [b"one", b"", b"three"]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 has no anext")
def test_anext_gives_the_next_one_or_what_it_is_told():
    sock, _peer = of(False, b"one\ntwo\n")

    def yielding(coro=None):
        return (yield anext(sock.lines()))

    async def main(coro=None):
        one = await Coro(yielding)
        lines = sock.lines()
        return one, await anext(lines), await anext(lines, "end"), await anext(lines, None)

    assert go(main) == (b"one", b"two", "end", None)


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("data, way", [
    (b"\0\0\0\5who", lambda sock: sock.messages()), (b"\0\0", lambda sock: sock.messages()),
    (b"who", lambda sock: sock.lines()),
])
def test_an_end_within_a_piece_is_an_eof_error(blocking, data, way):
    sock, _peer = of(blocking, data)

    async def main(coro=None):
        with pytest.raises(EOFError, match="end of stream after"):
            async for _ in way(sock):
                raise AssertionError("nothing came whole")
        return await sock.recv(10)

    if blocking:
        with pytest.raises(EOFError, match="end of stream after"):
            next(way(sock))
        assert sock.recv(10) == data
    else:
        assert go(main) == data


@pytest.mark.parametrize("blocking", [False, True])
def test_the_other_kind_of_for_is_refused_and_takes_nothing(blocking):
    sock, _peer = of(blocking, LINES + MESSAGES)

    async def wrong(coro=None):
        for pieces in (sock.lines(), sock.messages()):
            with pytest.raises(TypeError, match="blocking one: `for`"):
                async for _ in pieces:
                    raise AssertionError("it must not be received")

    async def right(coro=None):
        return [await sock.recv_line() for _ in range(3)], [m async for m in sock.messages()]

    if blocking:
        go(wrong)
        got = [sock.recv_line() for _ in range(3)], list(sock.messages())
    else:
        for pieces in (sock.lines(), sock.messages()):
            with pytest.raises(TypeError, match="for coroutines: `async for`"):
                next(pieces)
        got = go(right)
    assert got == ([b"one", b"", b"three"], [b"one", b"", b"three"])


def test_an_iterator_follows_the_mode_of_its_socket():
    sock, _peer = of(False, b"1\n2\n3\n4\n")
    lines = sock.lines()

    async def main(coro=None):
        first = await lines.__anext__()
        sock.setblocking(True)
        second = next(lines)
        sock.setblocking(False)
        async for line in lines:
            return first, second, line

    assert go(main) == (b"1", b"2", b"3")
    sock.close()
    for wrong in (lambda: next(lines), lines.__anext__):
        with pytest.raises(OSError) as raised:
            wrong()
        assert raised.value.errno == errno.EBADF


def test_what_a_loop_leaves_is_there_for_others():
    sock, _peer = of(False, b"head\n" + MESSAGES + LINES)

    async def main(coro=None):
        async for head in sock.lines():
            break
        got = [head]
        async for message in sock.messages():
            got.append(message)
            if message == b"three":
                break
        return got + [line async for line in sock.lines()]

    assert go(main) == [b"head", b"one", b"", b"three", b"one", b"", b"three"]


def test_a_timeout_in_a_loop_loses_nothing():
    sock, peer = of(False, b"1\n2", end=False)
    sock.settimeout(0.03)

    async def main(coro=None):
        got = []
        with pytest.raises(TimeoutError):
            async for line in sock.lines():
                got.append(line)
        peer.sendall(b"2\n3")
        with pytest.raises(TimeoutError):
            sock.settimeout(None)
            with asyncoro.timeout(0.03):
                async for line in sock.lines():
                    got.append(line)
        peer.sendall(b"\n")
        peer.close()
        return got + [line async for line in sock.lines()]

    assert go(main) == [b"1", b"22", b"3"]


@pytest.mark.parametrize("kind", ["messages", "lines"])
def test_readers_that_are_ended_again_and_again_lose_nothing(kind):
    sock, far = async_both()
    count, got = 500, []
    pieces = [b"%d:" % number + b"x" * (number % 50) for number in range(count)]
    wire = b"".join(
        piece + b"\n" if kind == "lines" else len(piece).to_bytes(4, "big") + piece
        for piece in pieces
    )

    async def read(coro=None):
        async for piece in getattr(sock, kind)():
            got.append(bytes(piece))

    async def send(coro=None):
        # Cut anywhere, and after any number of turns: a thread would wait for the GIL each time.
        for number, start in enumerate(range(0, len(wire), 37)):
            await far.sendall(wire[start:start + 37])
            for _ in range(number % 5):
                await coro.sleep(0)
        await far.close()

    async def main(coro=None):
        sending = Coro(send)
        while True:
            reader = Coro(read)
            for _ in range(3):
                await coro.sleep(0)
            if not reader.is_alive():
                break
            reader.terminate()
            await reader.finish()
        await sending.finish()

    go(main)
    assert got == pieces


def test_a_message_over_the_limit_ends_the_loop_with_an_error():
    sock, _peer = of(False, b"\0\0\0\3one" + b"\0\0\1\0" + bytes(256))
    sock.message_limit = 100

    async def main(coro=None):
        got = []
        with pytest.raises(OSError, match="over the limit") as raised:
            async for message in sock.messages():
                got.append(message)
        return got, raised.value.errno

    assert go(main) == ([b"one"], errno.EMSGSIZE)


@pytest.mark.parametrize("blocking", [False, True])
def test_datagrams_have_neither(blocking):
    sock = AsyncSocket(udp_socket(), blocking)

    async def main(coro=None):
        for pieces in (sock.lines(), sock.messages()):
            with pytest.raises(ValueError, match="does not work on a UDP socket"):
                await pieces.__anext__()

    if not blocking:
        return go(main)
    for pieces in (sock.lines(), sock.messages()):
        with pytest.raises(ValueError, match="does not work on a UDP socket"):
            next(pieces)


def test_an_iterator_keeps_its_socket_and_shows_it():
    sock, _peer = of(False, LINES)
    lines, messages = sock.lines(), sock.messages()
    assert repr(lines) == "<AsyncSocket.lines() of %r>" % sock
    assert repr(messages) == "<AsyncSocket.messages() of %r>" % sock
    del sock, messages

    async def main(coro=None):
        return [line async for line in lines]

    assert go(main) == [b"one", b"", b"three"]


def test_with_tls_and_to_a_listener_it_is_the_same(certificates):
    listener = socket.create_server(("127.0.0.1", 0))
    server = AsyncSocket(listener, keyfile=certificates.key, certfile=certificates.chain)

    async def serve(coro=None):
        peer, _ = await server.accept()
        got = [line async for line in peer.lines()]
        await peer.send_msg(b"thank you")
        await peer.send_msg(b"")
        peer.close()
        return got

    async def main(coro=None):
        serving = Coro(serve)
        client = AsyncSocket(socket.socket(), certfile=certificates.chain)
        await client.connect(("localhost", listener.getsockname()[1]))
        await client.sendall(LINES)
        client.shutdown(socket.SHUT_WR)
        return await serving, [message async for message in client.messages()]

    assert done(Coro(main)) == ([b"one", b"", b"three"], [b"thank you", b""])


def test_a_tls_stream_that_is_cut_does_not_look_like_its_end(certificates):
    listener = socket.create_server(("127.0.0.1", 0))
    server = AsyncSocket(listener, True, keyfile=certificates.key, certfile=certificates.chain)

    def pump(source, sink):
        while data := source.recv(65536):
            sink.sendall(data)

    def relay(listener_of_client):
        inner = socket.create_connection(listener.getsockname())
        outer, _ = listener_of_client.accept()
        parallel(pump, outer, inner)
        parallel(pump, inner, outer)
        return outer

    front = socket.create_server(("127.0.0.1", 0))
    relaying = parallel(relay, front)
    client = AsyncSocket(socket.socket(), certfile=certificates.chain)

    def serve():
        peer, _ = server.accept()
        peer.sendall(b"line\n")
        return peer

    async def main(coro=None):
        serving = parallel(serve)
        await client.connect(("localhost", front.getsockname()[1]))
        lines = client.lines()
        first = await lines.__anext__()
        # The connection ends without close_notify.
        relaying.result().shutdown(socket.SHUT_RDWR)
        with pytest.raises(EOFError):
            await lines.__anext__()
        serving.result()
        return first

    assert go(main) == b"line"
