"""asyncoro's event loop: `asyncio_tasks.py` on it."""

import asyncoro

from asyncio_tasks import main

if __name__ == '__main__':
    main(asyncoro.new_event_loop())
