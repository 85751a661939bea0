"""A message server: sends each message back in capital letters. Ends at Ctrl-C.

Run it with `python python/examples/msg_server_await.py [PORT]`; msg_client_yield.py and
msg_client_await.py are its clients, and so is any asyncoro or pycos program with send_msg.
"""

import socket
import sys

import asyncoro


async def serve(port):
    server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", port)))
    print("listening on %s:%s" % server.getsockname(), flush=True)
    while True:
        client, _ = await server.accept()
        client.message_limit = 1 << 20  # bytes; a longer message is an error, and not received
        asyncoro.Coro(answer, client)


async def answer(client):
    with client:
        while True:
            message = await client.recv_msg()
            if not message:
                break  # the client has closed
            await client.send_msg(message.upper())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7008
    try:
        asyncoro.run(serve(port))
    except KeyboardInterrupt:
        pass
