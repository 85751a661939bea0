"""FastAPI that asks a server of messages, which asyncoro or pycos may run: both on one thread.

Answers GET /ask/WORD with what the server of messages sends back for WORD. Without an address of
such a server it runs one of its own, whose coroutines are generators, as in pycos.

    python fastapi_to_messages.py [port [host:port]]

Needs `pip install fastapi uvicorn`.
"""

import asyncio
import contextlib
import sys

import asyncoro
import fastapi
import uvicorn


def serve(server, coro=None):
    coro.set_daemon()
    while True:
        sock, _ = yield server.accept()
        asyncoro.Coro(answer, sock)


def answer(sock):
    while True:
        message = yield sock.recv_msg()
        if not message:
            break
        yield sock.send_msg(message[::-1])
    sock.close()


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.server = sys.argv[2] if len(sys.argv) > 2 else None
    if app.state.server is None:
        server = asyncoro.create_server("127.0.0.1:0")
        app.state.server = server.getsockname()
        asyncoro.Coro(serve, server)
    yield


app = fastapi.FastAPI(lifespan=lifespan)


@app.get("/ask/{word}")
async def ask(word: str):
    try:
        with asyncoro.timeout(2):
            sock = await asyncoro.create_connection(app.state.server)
            with sock:
                await sock.send_msg(word.encode())
                reply = await sock.recv_msg()
    except TimeoutError:
        raise fastapi.HTTPException(504) from None
    return {"answer": reply.decode()}


async def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    serving = asyncio.ensure_future(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    for listening in server.servers:
        for sock in listening.sockets:
            print("listening on %s:%d" % sock.getsockname(), flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(main())
