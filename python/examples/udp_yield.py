"""Datagrams: a server that sends each back, and clients that ask again if none comes in time.

Run it with `python python/examples/udp_yield.py [PORT]`; both ends are in it.
"""

import socket
import sys

import asyncoro


def serve(server, coro=None):
    coro.set_daemon()
    while True:
        data, address = yield server.recvfrom(2048)
        yield server.sendto(data, address)


def client(number, address):
    with asyncoro.AsyncSocket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.settimeout(0.5)
        text = b"datagram %d" % number
        for attempt in range(5):
            yield sock.sendto(text, address)
            try:
                data, _ = yield sock.recvfrom(2048)
            except TimeoutError:
                continue
            return data.decode()
    raise TimeoutError("no answer in 5 attempts")


def main(port):
    server = asyncoro.AsyncSocket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind(("127.0.0.1", port))
    asyncoro.Coro(serve, server)
    coros = [asyncoro.Coro(client, number, server.getsockname()) for number in range(5)]
    for coro in coros:
        print((yield coro.finish()))


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    asyncoro.Coro(main, port).result()
