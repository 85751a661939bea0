"""pycos's end of a conversation: peer.py server|client ask|answer tasks|threads [host port].

One end asks, the other answers each message with `re:` before it; first whole messages, then one
byte by byte. A server prints where it listens; both print `ok` at the end, or what went wrong.
"""

import os
import signal
import socket
import struct
import sys

import pycos

SIZES = (5, 3000000, 3, 0, 1, 65536, 3 << 20)


def payload(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def send_byte_by_byte(conn, message):
    for byte in struct.pack('>L', len(message)) + message:
        sent = yield conn.send(bytes([byte]))
        assert sent == 1, sent


def ask(conn):
    for size in SIZES:
        yield conn.send_msg(payload(size))
        reply = yield conn.recv_msg()
        assert reply == b're:' + payload(size), (size, len(reply))
    yield from send_byte_by_byte(conn, b'slowly')
    reply = yield conn.recv_msg()
    assert reply == b're:slowly', reply
    # An empty message, and right behind it the end of the stream.
    yield conn.send_msg(b'')
    conn.close()
    return 'ok'


def answer(conn):
    for size in SIZES:
        message = yield conn.recv_msg()
        assert len(message) == size, (size, len(message))
        yield conn.send_msg(b're:' + bytes(message))
    message = yield conn.recv_msg()
    yield from send_byte_by_byte(conn, b're:' + bytes(message))
    # An empty message and the end of the stream look the same here.
    for _ in range(2):
        message = yield conn.recv_msg()
        assert message == b'', message
    conn.close()
    return 'ok'


def session(sock, side, role, mode, address):
    sock = pycos.AsyncSocket(sock, blocking=(mode == 'threads'))
    if side == 'server':
        conn, _ = yield sock.accept()
    else:
        yield sock.connect(address)
        conn = sock
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    result = yield from role(conn)
    return result


def in_thread(generator):
    """Runs it without a scheduler: what a blocking socket gives is the value already."""
    value = None
    try:
        while True:
            value = generator.send(value)
    except StopIteration as end:
        return end.value


def main():
    # Should whoever started it not end it: it ends by itself.
    signal.alarm(120)
    side, role, mode = sys.argv[1:4]
    sock = socket.socket()
    address = None
    if side == 'server':
        sock.bind(('127.0.0.1', 0))
        sock.listen(1)
        print('listening on 127.0.0.1:%d' % sock.getsockname()[1], flush=True)
    else:
        address = (sys.argv[4], int(sys.argv[5]))
    role = {'ask': ask, 'answer': answer}[role]
    if mode == 'threads':
        result = in_thread(session(sock, side, role, mode, address))
    else:
        result = pycos.Task(session, sock, side, role, mode, address).value()
    print(result, flush=True)
    # The scheduler of pycos spins on sockets whose peer has left; nothing of it is wanted any more.
    os._exit(0 if result == 'ok' else 1)


main()
