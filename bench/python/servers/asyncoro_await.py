"""asyncoro: `async def` and `await`."""

import asyncoro

from listening import KIND, LENGTH, RECORD, listen


async def echo(conn):
    while True:
        data = await conn.recv(LENGTH)
        if not data:
            break
        await conn.sendall(data)
    conn.close()


async def records(conn):
    while True:
        record = await conn.recvall(RECORD)
        if not record:
            break
        await conn.sendall(record)
    conn.close()


async def messages(conn):
    while True:
        message = await conn.recv_msg()
        if not message:
            break
        await conn.send_msg(message)
    conn.close()


SERVE = {'echo': echo, 'records': records, 'messages': messages}[KIND]


async def main():
    listener = asyncoro.AsyncSocket(listen())
    while True:
        conn, _ = await listener.accept()
        asyncoro.Coro(SERVE, conn)


if __name__ == '__main__':
    asyncoro.run(main())
