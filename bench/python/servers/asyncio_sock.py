"""asyncio: plain sockets and the loop's `sock_*` calls."""

import asyncio

from listening import HEADER, KIND, LENGTH, RECORD, listen


async def echo(loop, conn):
    while True:
        data = await loop.sock_recv(conn, LENGTH)
        if not data:
            break
        await loop.sock_sendall(conn, data)
    conn.close()


async def records(loop, conn):
    while True:
        await loop.sock_sendall(conn, await exactly(loop, conn, RECORD))


async def messages(loop, conn):
    while True:
        header = await exactly(loop, conn, HEADER.size)
        message = await exactly(loop, conn, HEADER.unpack(header)[0])
        await loop.sock_sendall(conn, header + message)


async def exactly(loop, conn, length):
    data = await loop.sock_recv(conn, length)
    while len(data) < length:
        more = await loop.sock_recv(conn, length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


SERVE = {'echo': echo, 'records': records, 'messages': messages}[KIND]


async def main():
    loop = asyncio.get_running_loop()
    listener = listen()
    # The loop itself refers to its tasks only weakly.
    tasks = set()
    while True:
        conn, _ = await loop.sock_accept(listener)
        task = loop.create_task(SERVE(loop, conn))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == '__main__':
    asyncio.run(main())
