"""A message server: sends each message back in capital letters. Ends at Ctrl-C.

Run it with `python python/examples/msg_server_yield.py [PORT]`; msg_client_yield.py and
msg_client_await.py are its clients, and so is any asyncoro or pycos program with send_msg.
"""

import socket
import sys

import asyncoro


def serve(port):
    server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", port)))
    print("listening on %s:%s" % server.getsockname(), flush=True)
    while True:
        client, _ = yield server.accept()
        client.message_limit = 1 << 20  # bytes; a longer message is an error, and not received
        asyncoro.Coro(answer, client)


def answer(client):
    with client:
        while True:
            message = yield client.recv_msg()
            if not message:
                break  # the client has closed
            yield client.send_msg(message.upper())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7008
    asyncoro.Coro(serve, port)
    try:
        asyncoro.AsynCoro().join()
    except KeyboardInterrupt:
        asyncoro.AsynCoro().terminate()
