"""Timeouts of each operation and of a block; no received byte is lost by one.

Run it with `python python/examples/timeouts_yield.py`; it needs no port.
"""

import socket

import asyncoro


def main():
    here, there = map(asyncoro.AsyncSocket, socket.socketpair())

    # Of each operation: seconds without a byte.
    here.settimeout(0.2)
    try:
        yield here.recv(100)
    except TimeoutError:
        print("nothing came in 0.2 s")

    # A message that comes too slowly: the next recv_msg goes on where this one stood.
    yield there.sendall(b"\0\0\0\5he")
    try:
        yield here.recv_msg()
    except TimeoutError:
        print("half a message came in 0.2 s")
    yield there.sendall(b"llo")
    message = yield here.recv_msg()
    print("and then the rest:", message.decode())

    # Of a block, whatever waits in it.
    here.settimeout(None)
    try:
        with asyncoro.timeout(0.3):
            while True:
                yield asyncoro.sleep(0.1)
                yield there.send_msg(b"tick")
                message = yield here.recv_msg()
                print(message.decode())
    except TimeoutError:
        print("0.3 s are over")
    here.close()
    there.close()


if __name__ == "__main__":
    asyncoro.Coro(main).result()
