"""asyncoro.EventLoop over regular sockets: sock_recv and so on, and its transports."""

import asyncio
import os
import socket
import ssl

import pytest

import asyncoro
from harness import WAIT
from loops import iterations, loop, pair, run  # noqa: F401


def test_bytes_go_there_and_back(loop, pair):
    ours, theirs = pair

    async def main():
        await loop.sock_sendall(ours, b"hello")
        assert await loop.sock_recv(theirs, 2) == b"he"
        room = bytearray(10)
        assert await loop.sock_recv_into(theirs, room) == 3
        assert room[:3] == b"llo"
        waiting = asyncio.ensure_future(loop.sock_recv(theirs, 100))
        await asyncio.sleep(0)
        await loop.sock_sendall(ours, memoryview(b"later"))
        assert await waiting == b"later"
        ours.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(theirs, 100) == b""

    run(loop, main())


def test_much_is_sent_and_received(loop, pair):
    ours, theirs = pair
    data = bytes(range(256)) * 16_384

    async def receive():
        got = bytearray()
        while len(got) < len(data):
            got += await loop.sock_recv(theirs, 1 << 20)
        return got

    async def main():
        sending = asyncio.ensure_future(loop.sock_sendall(ours, bytearray(data)))
        assert await receive() == data
        assert await sending is None

    run(loop, main())


def test_a_buffer_that_is_being_sent_stays_as_it_is(loop, pair):
    ours, theirs = pair
    data = bytearray(4 << 20)

    async def main():
        sending = asyncio.ensure_future(loop.sock_sendall(ours, data))
        await asyncio.sleep(0)
        with pytest.raises(BufferError):
            data.clear()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        data.clear()

    run(loop, main())


def test_a_cancelled_receive_takes_nothing(loop, pair):
    ours, theirs = pair

    async def main():
        got = bytearray()
        for number in range(300):
            waiting = asyncio.ensure_future(loop.sock_recv(theirs, 1))
            await asyncio.sleep(0)
            ours.send(bytes([number % 256]))
            if number % 3:
                # Ready, perhaps, and not resumed.
                waiting.cancel()
            try:
                got += await waiting
            except asyncio.CancelledError:
                got += await loop.sock_recv(theirs, 1)
        assert got == bytes(number % 256 for number in range(300))
        with pytest.raises(BlockingIOError):
            theirs.recv(1)

    run(loop, main())


def test_a_timeout_bounds_each(loop, pair):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def main():
        for waits in (
            loop.sock_recv(pair[0], 1),
            loop.sock_recv_into(pair[0], bytearray(1)),
            loop.sock_recvfrom_into(pair[0], bytearray(1)),
            loop.sock_recvfrom(pair[0], 1),
            loop.sock_accept(listener),
        ):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(waits, 0.002)

    run(loop, main())
    listener.close()


def test_connections_are_made_and_accepted(loop):
    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await asyncio.sleep(0)
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))
        served, address = await accepting
        assert address == client.getsockname()
        assert served.gettimeout() == 0
        await loop.sock_sendall(client, b"x")
        assert await loop.sock_recv(served, 1) == b"x"
        port = listener.getsockname()[1]
        for sock in (listener, client, served):
            sock.close()
        refused = socket.socket()
        refused.setblocking(False)
        with pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(refused, ("127.0.0.1", port))
        refused.close()

    run(loop, main())


def test_datagrams_are_sent_and_received(loop):
    async def main():
        one, other = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        waiting = asyncio.ensure_future(loop.sock_recvfrom(other, 100))
        await asyncio.sleep(0)
        assert await loop.sock_sendto(one, b"hello", other.getsockname()) == 5
        assert await waiting == (b"hello", one.getsockname())
        await loop.sock_sendto(one, b"again", other.getsockname())
        room = bytearray(100)
        assert await loop.sock_recvfrom_into(other, room) == (5, one.getsockname())
        await loop.sock_sendto(one, b"again", other.getsockname())
        assert await loop.sock_recvfrom_into(other, room, 2) == (2, one.getsockname())
        one.close()
        other.close()

    if not hasattr(asyncio.SelectorEventLoop, "sock_recvfrom"):
        assert hasattr(loop, "sock_recvfrom")
    run(loop, main())


def test_two_tasks_may_wait_for_one_socket(loop, pair):
    ours, theirs = pair

    async def main():
        tasks = [asyncio.ensure_future(loop.sock_recv(theirs, 1)) for _ in range(2)]
        await asyncio.sleep(0)
        ours.send(b"ab")
        assert sorted([await task for task in tasks]) == [b"a", b"b"]
        both = [
            asyncio.ensure_future(loop.sock_recv(theirs, 1)),
            asyncio.ensure_future(loop.sock_sendall(theirs, b"x")),
        ]
        await asyncio.sleep(0)
        ours.send(b"c")
        assert await both[0] == b"c"
        await both[1]

    run(loop, main())


def test_a_number_that_another_socket_gets_is_watched_anew(loop):
    """In the iteration in which the first one was closed, too."""

    async def main():
        for _ in range(50):
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            number = theirs.fileno()
            waiting = asyncio.ensure_future(loop.sock_recv(theirs, 1))
            await asyncio.sleep(0)
            ours.send(b"x")
            assert await waiting == b"x"
            theirs.close()
            ours.close()
            again = socket.socketpair()
            assert number in [sock.fileno() for sock in again]
            for sock, other in (again, again[::-1]):
                sock.setblocking(False)
                waiting = asyncio.ensure_future(loop.sock_recv(sock, 1))
                await asyncio.sleep(0)
                other.send(b"y")
                assert await asyncio.wait_for(waiting, WAIT) == b"y"
            for sock in again:
                sock.close()

    run(loop, main())


def test_data_that_nobody_waits_for_does_not_keep_the_loop_busy(loop, pair):
    ours, theirs = pair

    async def receive(count):
        waiting = asyncio.ensure_future(loop.sock_recv(theirs, count))
        await asyncio.sleep(0)
        ours.send(b"abc")
        return await waiting

    assert run(loop, receive(1)) == b"a"
    assert iterations(loop, 0.05) < 10
    assert run(loop, loop.sock_recv(theirs, 2)) == b"bc"
    assert run(loop, receive(3)) == b"abc"


def test_a_socket_that_lives_on_elsewhere_does_not_keep_the_loop_busy(loop, pair):
    """Under another number, after the one that was waited for is closed: as in a child process."""
    ours, theirs = pair

    async def receive():
        waiting = asyncio.ensure_future(loop.sock_recv(theirs, 1))
        await asyncio.sleep(0)
        ours.send(b"a")
        return await waiting

    assert run(loop, receive()) == b"a"
    number = theirs.fileno()
    with theirs.dup():
        theirs.close()
        ours.send(b"bc")
        assert iterations(loop, 0.05) < 10
        # Whoever has the number now hears nothing of that.
        again = socket.socketpair()
        assert number in [sock.fileno() for sock in again]
        for sock in again:
            sock.setblocking(False)
            loop.add_reader(sock, pytest.fail, "told of another's data")
        assert iterations(loop, 0.05) < 10
        for sock in again:
            loop.remove_reader(sock)
            sock.close()


def test_a_number_that_is_made_another_files_is_watched_anew(loop, pair):
    ours, theirs = pair
    others = socket.socketpair()

    async def receive(sender):
        waiting = asyncio.ensure_future(loop.sock_recv(theirs, 1))
        await asyncio.sleep(0)
        sender.send(b"x")
        return await waiting

    assert run(loop, receive(ours)) == b"x"
    os.dup2(others[0].fileno(), theirs.fileno())
    theirs.setblocking(False)
    assert run(loop, receive(others[1])) == b"x"
    for sock in others:
        sock.close()


def test_a_transport_reads_nothing_of_a_socket_that_got_its_number(loop, pair):
    ours, theirs = pair
    told = []

    class Protocol(asyncio.Protocol):
        def data_received(self, data):
            told.append(data)

        def connection_lost(self, error):
            told.append(error)

    async def main():
        await loop.create_connection(Protocol, sock=theirs)
        number = theirs.fileno()
        again = []

        def steal():
            theirs.close()
            again.extend(socket.socketpair())
            assert number in [sock.fileno() for sock in again]
            for sock in again:
                sock.send(b"secret")

        ours.send(b"x")
        loop.call_soon(steal)
        while not told:
            await asyncio.sleep(0)
        assert b"secret" not in told
        for sock in again:
            sock.close()

    run(loop, main())


def test_what_a_socket_cannot_do_is_told(loop, pair):
    async def main():
        with pytest.raises(ValueError):
            await loop.sock_recv(pair[0], -1)
        with pytest.raises(TypeError):
            await loop.sock_sendall(pair[0], "text")
        with pytest.raises(TypeError):
            await loop.sock_recv_into(pair[0], b"constant")
        pair[1].close()
        with pytest.raises(BrokenPipeError):
            await loop.sock_sendall(pair[0], b"x")
        with pytest.raises(OSError):
            await loop.sock_recv(pair[1], 1)
        loop.set_debug(True)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with pytest.raises(ValueError, match="non-blocking"):
                await loop.sock_recv(ours, 1)
        loop.set_debug(False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with context.wrap_socket(socket.socket(), do_handshake_on_connect=False) as secured:
            with pytest.raises(TypeError, match="SSLSocket"):
                await loop.sock_recv(secured, 1)

    run(loop, main())


def test_a_socket_of_a_transport_is_refused(loop):
    async def main():
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        sock = writer.get_extra_info("socket")
        with pytest.raises(RuntimeError, match="is used by transport"):
            await loop.sock_recv(sock._sock, 1)
        writer.close()
        server.close()

    run(loop, main())


def test_they_are_awaited_in_our_coroutines_too(loop, pair):
    ours, theirs = pair

    async def receive(coro=None):
        return await loop.sock_recv(theirs, 10)

    async def main():
        coro = asyncoro.Coro(receive)
        await asyncio.sleep(0)
        await loop.sock_sendall(ours, b"x")
        return await coro

    assert run(loop, main()) == b"x"


def test_a_million_bytes_with_cancelled_receives_lose_nothing(loop, pair):
    ours, theirs = pair
    count = 20_000

    async def send():
        for number in range(count):
            await loop.sock_sendall(ours, number.to_bytes(4, "big"))

    async def main():
        sending = asyncio.ensure_future(send())
        got = bytearray()
        cancelled = 0
        while len(got) < 4 * count:
            waiting = asyncio.ensure_future(loop.sock_recv(theirs, 64))
            if cancelled % 2 == 0:
                await asyncio.sleep(0)
                waiting.cancel()
            try:
                got += await waiting
            except asyncio.CancelledError:
                pass
            cancelled += 1
        await sending
        assert got == b"".join(number.to_bytes(4, "big") for number in range(count))

    run(loop, main())
