"""asyncoro's event loop: `asyncio_sock.py` on it."""

import asyncio

import asyncoro

from asyncio_sock import main

if __name__ == '__main__':
    with asyncio.Runner(loop_factory=asyncoro.new_event_loop) as runner:
        runner.run(main())
