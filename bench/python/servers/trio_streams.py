"""trio: a SocketStream per connection."""

import trio

from listening import HEADER, KIND, LENGTH, RECORD, listen


async def echo(stream):
    while True:
        data = await stream.receive_some(LENGTH)
        if not data:
            break
        await stream.send_all(data)


async def records(stream):
    while True:
        await stream.send_all(await exactly(stream, RECORD))


async def messages(stream):
    while True:
        header = await exactly(stream, HEADER.size)
        message = await exactly(stream, HEADER.unpack(header)[0])
        await stream.send_all(header + message)


async def exactly(stream, length):
    data = await stream.receive_some(length)
    while len(data) < length:
        more = await stream.receive_some(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


SERVE = {'echo': echo, 'records': records, 'messages': messages}[KIND]


async def main():
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen()))
    await trio.serve_listeners(SERVE, [listener])


if __name__ == '__main__':
    trio.run(main)
