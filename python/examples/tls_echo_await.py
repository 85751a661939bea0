"""An echo over TLS: a server with a certificate and a key, and a client that trusts it alone.

Run it with `python python/examples/tls_echo_await.py CERTIFICATE KEY [PORT]`; both ends are in it.
README.md has the line that makes a certificate for localhost.
"""

import socket
import sys

import asyncoro


async def serve(server, coro=None):
    coro.set_daemon()
    while True:
        client, _ = await server.accept()  # a failed handshake does not raise here
        asyncoro.Coro(echo, client)


async def echo(client):
    with client:
        while True:
            message = await client.recv_msg()
            if not message:
                break
            await client.send_msg(message)


async def main(certificate, key, port):
    # On a server: its own chain and key.
    server = socket.create_server(("127.0.0.1", port))
    server = asyncoro.AsyncSocket(server, keyfile=key, certfile=certificate)
    asyncoro.Coro(serve, server)

    # On a client: the authority that it trusts. The name to verify is the host of `connect`.
    with asyncoro.AsyncSocket(socket.socket(), certfile=certificate) as sock:
        await sock.connect(("localhost", server.getsockname()[1]))
        await sock.send_msg(b"nobody else reads this")
        answer = await sock.recv_msg()
        print(answer.decode())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    asyncoro.run(main(sys.argv[1], sys.argv[2], port))
