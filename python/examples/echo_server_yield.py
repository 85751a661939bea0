"""An echo server: sends back what it receives. Ends at Ctrl-C.

Run it with `python python/examples/echo_server_yield.py [PORT]`; echo_client_yield.py and
echo_client_await.py are its clients, and so is `nc 127.0.0.1 7007`.
"""

import socket
import sys

import asyncoro


def serve(port):
    server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", port)))
    print("listening on %s:%s" % server.getsockname(), flush=True)
    while True:
        client, _ = yield server.accept()
        asyncoro.Coro(echo, client)


def echo(client):
    with client:
        while True:
            data = yield client.recv(4096)
            if not data:
                break
            yield client.sendall(data)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7007
    asyncoro.Coro(serve, port)
    try:
        asyncoro.AsynCoro().join()
    except KeyboardInterrupt:
        asyncoro.AsynCoro().terminate()
