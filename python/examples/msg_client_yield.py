"""A client of the message servers: asks ahead, then reads the answers in order.

Run it with `python python/examples/msg_client_yield.py [PORT]` beside a message server.
"""

import socket
import sys

import asyncoro

WORDS = [b"messages", b"that", b"are", b"sent", b"together", b"leave", b"together"]


def main(port):
    with asyncoro.AsyncSocket(socket.socket()) as sock:
        yield sock.connect(("127.0.0.1", port))
        for word in WORDS:
            yield sock.send_msg(word)
        for word in WORDS:
            answer = yield sock.recv_msg()
            print(answer.decode())
            assert answer == word.upper(), answer


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7008
    asyncoro.Coro(main, port).result()
