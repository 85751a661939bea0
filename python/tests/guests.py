"""What the tests of our verbs and coroutines in asyncio's loops have in common."""

import asyncio

import pytest

import asyncoro
from harness import WAIT

try:
    import uvloop
except ImportError:
    uvloop = None

LOOPS = [asyncio.new_event_loop, asyncoro.new_event_loop]
LOOPS += [uvloop.new_event_loop] if uvloop else []


@pytest.fixture(params=LOOPS, ids=lambda factory: factory.__module__.split(".")[0])
def run(request):
    """Runs a coroutine object in a new loop, as `asyncio.run` does, and bounds it."""

    def runs(main):
        async def bounded():
            return await asyncio.wait_for(main, WAIT)

        return in_loop(request.param, bounded())

    return runs


def in_loop(factory, main):
    loop = factory()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


async def echo(sock):
    while data := await sock.recv(4096):
        await sock.sendall(data)
    sock.close()
