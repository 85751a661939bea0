"""A client of the echo servers: sends lines on several connections at once, and checks them.

Run it with `python python/examples/echo_client_await.py [PORT [CLIENTS]]` beside an echo server.
"""

import socket
import sys

import asyncoro


async def client(number, port):
    with asyncoro.AsyncSocket(socket.socket()) as sock:
        await sock.connect(("127.0.0.1", port))
        for line in range(3):
            text = b"client %d, line %d" % (number, line)
            await sock.sendall(text)
            echo = await sock.recvall(len(text))
            assert echo == text, echo
    return "client %d is served" % number


async def main(port, clients):
    coros = [asyncoro.Coro(client, number, port) for number in range(clients)]
    for coro in coros:
        print(await coro)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7007
    clients = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    asyncoro.run(main(port, clients))
