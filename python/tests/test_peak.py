"""Tests that receiving much takes little more memory than what is received, and loses none of it.

The highest resident size is measured in a process of its own, which starts small.
"""

import socket
import struct

import pytest

import asyncoro

from harness import Program, blocking_pair, go, parallel

SIZE = 64 << 20
#: A piece of what is sent, in which no two places look alike.
PATTERN = b"".join(struct.pack(">I", number) for number in range(1 << 18))

RECEIVER = """
    import socket, sys
    verb, mode, port, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

    def highest():
        # That of getrusage counts what was there before exec, too.
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10

    plain = socket.create_connection(("127.0.0.1", port))
    sock = asyncoro.AsyncSocket(plain, blocking=mode == "threads")
    sock.message_limit = size

    async def receive():
        return await (sock.recvall(size) if verb == "recvall" else sock.recv_msg())

    def call():
        if mode == "coroutines":
            return asyncoro.Coro(receive).result()
        return sock.recvall(size) if verb == "recvall" else sock.recv_msg()

    asyncoro.Coro(asyncoro.sleep(0)).value()
    before = highest()
    got = call()
    assert type(got) is bytearray and len(got) == size
    view = memoryview(got)
    first = bytes(view[:1 << 20])
    assert all(view[at:at + (1 << 20)] == first for at in range(0, size, 1 << 20))
    assert all(first[at * 4:at * 4 + 4] == at.to_bytes(4, "big") for at in range(1 << 18))
    print("highest", highest() - before)
"""


@pytest.mark.parametrize("mode", ["threads", "coroutines"])
@pytest.mark.parametrize("verb", ["recvall", "recv_msg"])
@pytest.mark.limit(60)
def test_receiving_takes_the_memory_once(verb, mode):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with Program(RECEIVER, verb, mode, str(port), str(SIZE)) as program:
            peer, _ = server.accept()
            with peer:
                if verb == "recv_msg":
                    peer.sendall(struct.pack(">I", SIZE))
                for _ in range(SIZE // len(PATTERN)):
                    peer.sendall(PATTERN)
                assert program.end(50) == 0, program.stderr
            highest = int(program.stdout.split()[1])
    # Twice as much if a copy stands beside it.
    assert highest < 1.2 * SIZE


#: More than a piece, and no multiple of one.
ODD = PATTERN * 4 + b"rest"


def wait_in_vain(sock, count, sending):
    """Receives what is sent, which is less than `count` bytes."""
    sock.settimeout(0.1)
    was_sent = False
    while not was_sent:
        was_sent = not sending.is_alive()
        with pytest.raises(TimeoutError):
            sock.recvall(count)
    sending.result()


def test_what_has_come_of_much_stays_at_a_timeout():
    sock, peer = blocking_pair()
    half = len(ODD) // 2
    sending = parallel(peer.sendall, ODD[:half])
    wait_in_vain(sock, len(ODD), sending)
    sending = parallel(peer.sendall, ODD[half:])
    sock.settimeout(None)
    assert sock.recvall(len(ODD)) == ODD
    sending.result()
    sock.close()
    peer.close()


def test_a_part_of_what_is_there_is_received_and_the_rest_stays():
    sock, peer = blocking_pair()
    sending = parallel(peer.sendall, ODD)
    wait_in_vain(sock, len(ODD) + 1, sending)
    sock.settimeout(None)
    part = len(ODD) * 2 // 3
    got = sock.recvall(part)
    assert got == ODD[:part]
    got += b"it can be changed"
    assert sock.recvall(len(ODD) - part) == ODD[part:]
    sock.close()
    peer.close()


def test_coroutines_receive_messages_of_any_length():
    sizes = [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 1, len(ODD)]

    async def main():
        here, there = map(asyncoro.AsyncSocket, socket.socketpair())

        async def send():
            for size in sizes:
                await here.send_msg(ODD[:size])

        sending = asyncoro.Coro(send)
        for size in sizes:
            got = await there.recv_msg()
            assert type(got) is bytearray and got == ODD[:size]
        await sending
        here.close()
        there.close()

    go(main)


def test_threads_receive_messages_of_any_length():
    sizes = [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 1, len(ODD)]
    sock, peer = blocking_pair()
    for size in sizes:
        sending = parallel(peer.sendall, struct.pack(">I", size) + ODD[:size])
        got = sock.recv_msg()
        assert type(got) is bytearray and got == ODD[:size]
        sending.result()
    sock.close()
    peer.close()
