"""uvicorn: a greeting, by its parser in C."""

import uvicorn

from listening import listen, new_event_loop, tell

HEADERS = [(b'content-type', b'text/plain'), (b'content-length', b'13')]


async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    await send({'type': 'http.response.start', 'status': 200, 'headers': HEADERS})
    await send({'type': 'http.response.body', 'body': b'Hello, World!'})


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        tell(sockets[0])


if __name__ == '__main__':
    config = uvicorn.Config(
        app, http='httptools', lifespan='off', log_config=None, access_log=False
    )
    loop = new_event_loop()
    loop.run_until_complete(Server(config).serve([listen()]))
