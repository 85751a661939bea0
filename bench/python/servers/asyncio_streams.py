"""asyncio: StreamReader and StreamWriter, each answer drained."""

import asyncio

from listening import BACKLOG, HEADER, KIND, LENGTH, RECORD, listen


async def echo(reader, writer):
    while True:
        data = await reader.read(LENGTH)
        if not data:
            break
        writer.write(data)
        await writer.drain()
    writer.close()


async def records(reader, writer):
    while True:
        record = await reader.readexactly(RECORD)
        writer.write(record)
        await writer.drain()


async def messages(reader, writer):
    while True:
        header = await reader.readexactly(HEADER.size)
        message = await reader.readexactly(HEADER.unpack(header)[0])
        writer.write(header + message)
        await writer.drain()


SERVE = {'echo': echo, 'records': records, 'messages': messages}[KIND]


async def main():
    server = await asyncio.start_server(SERVE, sock=listen(), backlog=BACKLOG)
    await server.serve_forever()


if __name__ == '__main__':
    asyncio.run(main())
