"""aiohttp: a greeting."""

import asyncio

from aiohttp import web

from listening import listen, new_event_loop, tell


async def hello(request):
    return web.Response(text='Hello, World!')


async def main():
    app = web.Application()
    app.router.add_get('/', hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = listen()
    await web.SockSite(runner, listener).start()
    tell(listener)
    await asyncio.get_running_loop().create_future()


if __name__ == '__main__':
    new_event_loop().run_until_complete(main())
