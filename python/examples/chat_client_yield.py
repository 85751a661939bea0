"""A client of the chat servers: a coroutine reads, the thread reads the keyboard.

Run it with `python python/examples/chat_client_yield.py [PORT]` beside a chat server. Ends with the
input, or with a line "quit".
"""

import socket
import sys

import asyncoro


def read(sock, coro=None):
    coro.set_daemon()
    while True:
        line = yield sock.recv_msg()
        if not line:
            print("the server has left", flush=True)
            break
        print(line.decode(errors="replace"), flush=True)


def write(sock, line):
    yield sock.send_msg(line)


def leave(sock, reader):
    yield sock.flush()
    reader.terminate()
    sock.close()


def main(port):
    sock = socket.create_connection(("127.0.0.1", port))
    sock = asyncoro.AsyncSocket(sock)
    reader = asyncoro.Coro(read, sock)
    for line in sys.stdin:
        line = line.strip()
        if line == "quit":
            break
        if line:
            # Waits: the keyboard, or a file, must not be faster than the server.
            asyncoro.Coro(write, sock, line.encode()).result()
    asyncoro.Coro(leave, sock, reader).result()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7009)
