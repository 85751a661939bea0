"""curio: sockets for echo, its buffered streams where so many bytes are wanted."""

import curio
import curio.io

from listening import HEADER, KIND, LENGTH, RECORD, listen


async def echo(conn, _):
    while True:
        data = await conn.recv(LENGTH)
        if not data:
            break
        await conn.sendall(data)


async def records(conn, _):
    stream = conn.as_stream()
    while True:
        await stream.write(await stream.read_exactly(RECORD))


async def messages(conn, _):
    stream = conn.as_stream()
    while True:
        header = await stream.read_exactly(HEADER.size)
        message = await stream.read_exactly(HEADER.unpack(header)[0])
        await stream.write(header + message)


SERVE = {'echo': echo, 'records': records, 'messages': messages}[KIND]


async def main():
    await curio.network.run_server(curio.io.Socket(listen()), SERVE)


if __name__ == '__main__':
    curio.run(main)
