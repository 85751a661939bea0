"""asyncio: a Protocol, called with what has come; no coroutines."""

import asyncio

from listening import BACKLOG, HEADER, KIND, RECORD, listen


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Records(Echo):
    rest = b''

    def data_received(self, data):
        data = self.rest + data
        end = len(data) - len(data) % RECORD
        for at in range(0, end, RECORD):
            self.transport.write(data[at:at + RECORD])
        self.rest = data[end:]


class Messages(Echo):
    rest = b''

    def data_received(self, data):
        data = self.rest + data
        at, length = 0, len(data)
        while length - at >= HEADER.size:
            end = at + HEADER.size + HEADER.unpack_from(data, at)[0]
            if end > length:
                break
            self.transport.write(data[at:end])
            at = end
        self.rest = data[at:]


SERVE = {'echo': Echo, 'records': Records, 'messages': Messages}[KIND]


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(SERVE, sock=listen(), backlog=BACKLOG)
    await server.serve_forever()


if __name__ == '__main__':
    asyncio.run(main())
