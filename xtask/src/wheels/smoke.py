"""Shows that an installed package works: a message there and back, and what TLS stands on."""

import platform
import socket
import sys

import asyncoro


async def serve(server):
    client, _ = await server.accept()
    message = await client.recv_msg()
    await client.send_msg(message[::-1])
    client.close()


async def ask(address):
    sock = asyncoro.AsyncSocket(socket.socket())
    sock.settimeout(30)
    await sock.connect(address)
    await sock.send_msg(b"hello" * 20_000)
    answer = await sock.recv_msg()
    sock.close()
    return answer


async def main():
    server = asyncoro.AsyncSocket(socket.create_server(("127.0.0.1", 0)))
    serving = asyncoro.Coro(serve, server)
    answer = await ask(server.getsockname())
    await serving
    await asyncoro.sleep(0.01)
    return answer


assert asyncoro.run(main()) == b"olleh" * 20_000
assert asyncoro.__version__ == sys.argv[1], asyncoro.__version__
print("CPython", platform.python_version(), platform.machine(), platform.libc_ver()[0] or "musl")
