"""asyncoro: its verbs in asyncio's tasks."""

import asyncio

import asyncoro

from asyncoro_await import SERVE
from listening import listen


async def main():
    listener = asyncoro.AsyncSocket(listen())
    # The loop itself refers to its tasks only weakly.
    tasks = set()
    while True:
        conn, _ = await listener.accept()
        task = asyncio.create_task(SERVE(conn))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == '__main__':
    asyncio.run(main())
