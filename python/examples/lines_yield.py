"""A protocol of lines, as SMTP and Redis have them: a store of values, and a client.

Run it with `python python/examples/lines_yield.py [PORT]`; both ends are in it.
"""

import sys

import asyncoro

STORE = {}


def serve(server, coro=None):
    coro.set_daemon()
    while True:
        client, _ = yield server.accept()
        asyncoro.Coro(answer, client)


def answer(client):
    with client:
        try:
            # None where the client closes; a longer line is an error, and not received.
            while (line := (yield client.recv_line(max=1024))) is not None:
                verb, _, rest = line.partition(b" ")
                name, _, value = rest.partition(b" ")
                if verb == b"SET":
                    STORE[name] = value
                    yield client.sendall(b"OK\r\n")
                elif verb == b"GET":
                    yield client.sendall(STORE.get(name, b"(nothing)") + b"\r\n")
                elif verb == b"QUIT":
                    break
                else:
                    yield client.sendall(b"ERROR: SET, GET or QUIT\r\n")
        except (OSError, EOFError) as error:
            print("a client has failed:", error)


def main(port):
    server = asyncoro.create_server(("127.0.0.1", port))
    asyncoro.Coro(serve, server)
    sock = yield asyncoro.create_connection(server.getsockname())
    with sock:
        # Several requests at once: each answer is a line of its own.
        yield sock.sendall(b"SET colour blue\r\nGET colour\r\nGET size\r\nHELP\r\nQUIT\r\n")
        while (line := (yield sock.recv_line())) is not None:
            print(line.decode())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    asyncoro.Coro(main, port).value()
