"""aiohttp in coroutines of asyncoro: `asyncoro.run` brings the loop that it needs.

Fetches pages, several at once, with a limit for each; without addresses those of a server of its
own, which aiohttp runs as well.

    python aiohttp_from_coroutines.py [url...]

Needs `pip install aiohttp`.
"""

import sys

import aiohttp
import aiohttp.web
import asyncoro


async def fetch(session, url):
    try:
        with asyncoro.timeout(5):
            async with session.get(url) as response:
                return response.status, len(await response.read())
    except (TimeoutError, aiohttp.ClientError) as error:
        return error


async def page(request):
    # A verb of ours in aiohttp's task.
    await asyncoro.sleep(0.01)
    return aiohttp.web.Response(text="page " * int(request.match_info["number"]))


async def start_server():
    app = aiohttp.web.Application()
    app.router.add_get("/{number}", page)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, "http://%s:%d" % runner.addresses[0][:2]


async def main():
    urls, runner = sys.argv[1:], None
    if not urls:
        runner, base = await start_server()
        urls = ["%s/%d" % (base, number) for number in range(1, 6)]
    async with aiohttp.ClientSession() as session:
        pages = await asyncoro.gather(*[fetch(session, url) for url in urls])
    for url, fetched in zip(urls, pages):
        print(url.rpartition("/")[2] or url, fetched)
    if runner is not None:
        await runner.cleanup()


if __name__ == "__main__":
    asyncoro.run(main(), asyncio=True)
