"""A chat server: sends what one client sends to all others. Disconnects those that do not read.

Run it with `python python/examples/chat_server_await.py [PORT]`; chat_client_yield.py,
chat_client_await.py and pycos's chat_sock_client.py are its clients. Ends at Ctrl-C.
"""

import socket
import sys

import asyncoro

LONGEST = 16 << 10  # bytes of a line
MOST_QUEUED = 4 << 20  # bytes that may wait for a client, beside those that the system takes

clients = {}  # by name


class Client:
    def __init__(self, sock):
        self.sock = sock
        self.queued = 0
        self.writer = asyncoro.Coro(write, self)

    def tell(self, text):
        """Queues a line; a client that is too slow is disconnected."""
        self.queued += len(text)
        if self.queued > MOST_QUEUED:
            self.sock.close()  # wakes its reader, which tells the others
        else:
            self.writer.send(text)


async def serve(port):
    server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", port)))
    print("listening on %s:%s" % server.getsockname(), flush=True)
    while True:
        sock, (_, name) = await server.accept()  # its port is its name
        sock.message_limit = LONGEST
        asyncoro.Coro(read, sock, name)


async def read(sock, name):
    tell(name, "joined")
    clients[name] = Client(sock)
    try:
        while True:
            line = await sock.recv_msg()
            if not line:
                break
            tell(name, "says: " + line.decode(errors="replace"))
    except OSError as error:
        print(name, error)
    finally:
        clients.pop(name).writer.terminate()
        sock.close()
        tell(name, "left")


async def write(client, coro=None):
    while True:
        text = await coro.receive()
        try:
            with asyncoro.timeout(5):
                await client.sock.send_msg(text)
        except OSError:
            client.sock.close()
            break
        client.queued -= len(text)


def tell(name, words):
    text = ("%s %s" % (name, words)).encode()
    for other, client in clients.items():
        if other != name:
            client.tell(text)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7009
    try:
        asyncoro.run(serve(port))
    except KeyboardInterrupt:
        pass
