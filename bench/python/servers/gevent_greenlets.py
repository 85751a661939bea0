"""gevent: a greenlet per connection, calls that look blocking."""

import gevent.server
import gevent.socket

from listening import HEADER, KIND, LENGTH, RECORD, listen


def echo(conn, _):
    while True:
        data = conn.recv(LENGTH)
        if not data:
            break
        conn.sendall(data)


def records(conn, _):
    while True:
        conn.sendall(exactly(conn, RECORD))


def messages(conn, _):
    while True:
        header = exactly(conn, HEADER.size)
        message = exactly(conn, HEADER.unpack(header)[0])
        conn.sendall(header + message)


def exactly(conn, length):
    data = conn.recv(length)
    while len(data) < length:
        more = conn.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


SERVE = {'echo': echo, 'records': records, 'messages': messages}[KIND]

if __name__ == '__main__':
    listener = gevent.socket.socket(fileno=listen().detach())
    gevent.server.StreamServer(listener, SERVE).serve_forever()
