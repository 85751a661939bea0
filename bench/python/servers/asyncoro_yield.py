"""asyncoro: generators and `yield`."""

import asyncoro

from listening import KIND, LENGTH, RECORD, listen


def echo(conn, coro=None):
    while True:
        data = yield conn.recv(LENGTH)
        if not data:
            break
        yield conn.sendall(data)
    conn.close()


def records(conn, coro=None):
    while True:
        record = yield conn.recvall(RECORD)
        if not record:
            break
        yield conn.sendall(record)
    conn.close()


def messages(conn, coro=None):
    while True:
        message = yield conn.recv_msg()
        if not message:
            break
        yield conn.send_msg(message)
    conn.close()


SERVE = {'echo': echo, 'records': records, 'messages': messages}[KIND]


def accept(listener, coro=None):
    listener = asyncoro.AsyncSocket(listener)
    while True:
        conn, _ = yield listener.accept()
        asyncoro.Coro(SERVE, conn)


if __name__ == '__main__':
    asyncoro.Coro(accept, listen()).value()
