"""A chat server with rooms, each of them a channel. Disconnects those that do not read.

Run it with `python python/examples/chat_rooms_yield.py [PORT]`; the chat clients are its clients.
A line `/join NAME` takes a client to another room. Ends at Ctrl-C.
"""

import socket
import sys

import asyncoro

LONGEST = 16 << 10  # bytes of a line
MOST_QUEUED = 1000  # lines that may wait for a client

rooms = {}  # by name: a channel, and how many are in it


def serve(port):
    server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", port)))
    print("listening on %s:%s" % server.getsockname(), flush=True)
    while True:
        sock, (_, name) = yield server.accept()  # its port is its name
        sock.message_limit = LONGEST
        asyncoro.Coro(talk, sock, name)


def talk(sock, name):
    room, writer = enter("lobby", sock, name)
    try:
        while True:
            line = yield sock.recv_msg()
            if not line:
                break
            line = line.decode(errors="replace")
            if line.startswith("/join "):
                leave(room, writer, name)
                room, writer = enter(line[6:].strip(), sock, name)
            else:
                room.send("%s says: %s" % (name, line))
    except OSError as error:
        print(name, error)
    finally:
        leave(room, writer, name)
        sock.close()


def enter(which, sock, name):
    room, count = rooms.get(which) or (asyncoro.Channel(which), 0)
    rooms[which] = room, count + 1
    room.send("%s has come to %s" % (name, which))
    return room, asyncoro.Coro(write, sock, room.subscription(MOST_QUEUED))


def leave(room, writer, name):
    writer.terminate()
    room.send("%s left" % name)
    count = rooms[room.name][1] - 1
    rooms[room.name] = room, count
    if count == 0:
        del rooms[room.name]


def write(sock, lines):
    try:
        while True:
            line = yield lines.get()
            with asyncoro.timeout(5):
                yield sock.send_msg(line.encode())
    except (asyncoro.QueueShutDown, OSError):  # too many lines waited for it
        sock.close()  # wakes its reader


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7009
    asyncoro.Coro(serve, port)
    try:
        asyncoro.AsynCoro().join()
    except KeyboardInterrupt:
        asyncoro.AsynCoro().terminate()
