"""A bridge from WebSocket clients to a server of messages, which asyncoro or pycos may run.

Each WebSocket client gets a connection of its own to the server; what either sends goes to the
other. Without an address of a server it runs one that sends messages back.

    python websocket_to_messages.py [port [host:port]]

Needs `pip install websockets`.
"""

import asyncio
import sys

import asyncoro
import websockets


async def serve(server, coro=None):
    coro.set_daemon()
    while True:
        sock, _ = await server.accept()
        asyncoro.Coro(echo, sock)


async def echo(sock):
    async for message in sock.messages():
        await sock.send_msg(message)
    sock.close()


async def bridge(websocket, address):
    sock = await asyncoro.create_connection(address)

    async def back():
        async for message in sock.messages():
            await websocket.send(bytes(message))
        await websocket.close()

    returning = asyncio.ensure_future(back())
    try:
        async for message in websocket:
            await sock.send_msg(message if isinstance(message, bytes) else message.encode())
    finally:
        returning.cancel()
        sock.close()


async def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8011
    if len(sys.argv) > 2:
        address = sys.argv[2]
    else:
        server = asyncoro.create_server("127.0.0.1:0")
        address = server.getsockname()
        asyncoro.Coro(serve, server)

    async def handle(websocket):
        await bridge(websocket, address)

    async with websockets.serve(handle, "127.0.0.1", port) as listening:
        for sock in listening.sockets:
            print("listening on %s:%d" % sock.getsockname(), flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
