"""A protocol of lines, as SMTP and Redis have them: a store of values, and a client.

Run it with `python python/examples/lines_await.py [PORT]`; both ends are in it.
"""

import sys

import asyncoro

STORE = {}


async def serve(server, coro=None):
    coro.set_daemon()
    while True:
        client, _ = await server.accept()
        asyncoro.Coro(answer, client)


async def answer(client):
    with client:
        try:
            # Ends where the client closes; a longer line is an error, and not received.
            async for line in client.lines(max=1024):
                verb, _, rest = line.partition(b" ")
                name, _, value = rest.partition(b" ")
                if verb == b"SET":
                    STORE[name] = value
                    await client.sendall(b"OK\r\n")
                elif verb == b"GET":
                    await client.sendall(STORE.get(name, b"(nothing)") + b"\r\n")
                elif verb == b"QUIT":
                    break
                else:
                    await client.sendall(b"ERROR: SET, GET or QUIT\r\n")
        except (OSError, EOFError) as error:
            print("a client has failed:", error)


async def main(port):
    server = asyncoro.create_server(("127.0.0.1", port))
    asyncoro.Coro(serve, server)
    sock = await asyncoro.create_connection(server.getsockname())
    with sock:
        # Several requests at once: each answer is a line of its own.
        await sock.sendall(b"SET colour blue\r\nGET colour\r\nGET size\r\nHELP\r\nQUIT\r\n")
        async for line in sock.lines():
            print(line.decode())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    asyncoro.run(main(port))
