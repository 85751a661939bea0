"""uvloop: `asyncio_tasks.py` on its event loop."""

import uvloop

from asyncio_tasks import main

if __name__ == '__main__':
    main(uvloop.new_event_loop())
