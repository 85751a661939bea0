"""A chat server: sends what one client sends to all others. Disconnects those that do not read.

Run it with `python python/examples/chat_server_yield.py [PORT]`; chat_client_yield.py,
chat_client_await.py and pycos's chat_sock_client.py are its clients. Ends at Ctrl-C.
"""

import socket
import sys

import asyncoro

writers = {}  # the coroutine that sends to a client, by the client's name


def serve(port):
    server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", port)))
    print("listening on %s:%s" % server.getsockname(), flush=True)
    while True:
        client, (_, name) = yield server.accept()  # its port is its name
        asyncoro.Coro(read, client, name)


def read(client, name):
    tell(name, "joined")
    writers[name] = asyncoro.Coro(write, client)
    try:
        while True:
            line = yield client.recv_msg()
            if not line:
                break
            tell(name, "says: " + line.decode(errors="replace"))
    except OSError as error:
        print(name, error)
    finally:
        writers.pop(name).terminate()
        client.close()
        tell(name, "left")


def write(client, coro=None):
    while True:
        text = yield coro.receive()
        try:
            with asyncoro.timeout(5):
                yield client.send_msg(text)
        except OSError:
            client.close()  # wakes its reader, which tells the others
            break


def tell(name, words):
    text = ("%s %s" % (name, words)).encode()
    for other, writer in writers.items():
        if other != name:
            writer.send(text)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7009
    asyncoro.Coro(serve, port)
    try:
        asyncoro.AsynCoro().join()
    except KeyboardInterrupt:
        asyncoro.AsynCoro().terminate()
