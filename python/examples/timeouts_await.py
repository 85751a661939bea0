"""Timeouts of each operation and of a block; no received byte is lost by one.

Run it with `python python/examples/timeouts_await.py`; it needs no port.
"""

import socket

import asyncoro


async def main():
    here, there = map(asyncoro.AsyncSocket, socket.socketpair())

    # Of each operation: seconds without a byte.
    here.settimeout(0.2)
    try:
        await here.recv(100)
    except TimeoutError:
        print("nothing came in 0.2 s")

    # A message that comes too slowly: the next recv_msg goes on where this one stood.
    await there.sendall(b"\0\0\0\5he")
    try:
        await here.recv_msg()
    except TimeoutError:
        print("half a message came in 0.2 s")
    await there.sendall(b"llo")
    message = await here.recv_msg()
    print("and then the rest:", message.decode())

    # Of a block, whatever waits in it.
    here.settimeout(None)
    try:
        with asyncoro.timeout(0.3):
            while True:
                await asyncoro.sleep(0.1)
                await there.send_msg(b"tick")
                message = await here.recv_msg()
                print(message.decode())
    except TimeoutError:
        print("0.3 s are over")
    here.close()
    there.close()


if __name__ == "__main__":
    asyncoro.run(main())
