"""pycos: generators and `yield`, its own scheduler."""

import pycos

from listening import KIND, LENGTH, RECORD, listen


def echo(conn, task=None):
    while True:
        data = yield conn.recv(LENGTH)
        if not data:
            break
        yield conn.sendall(data)
    conn.close()


def records(conn, task=None):
    while True:
        record = yield conn.recvall(RECORD)
        if not record:
            break
        yield conn.sendall(record)
    conn.close()


def messages(conn, task=None):
    while True:
        message = yield conn.recv_msg()
        if not message:
            break
        yield conn.send_msg(message)
    conn.close()


SERVE = {'echo': echo, 'records': records, 'messages': messages}[KIND]


def accept(listener, task=None):
    listener = pycos.AsyncSocket(listener)
    while True:
        conn, _ = yield listener.accept()
        pycos.Task(SERVE, conn)


if __name__ == '__main__':
    pycos.logger.setLevel(pycos.Logger.ERROR)
    pycos.Task(accept, listen()).value()
