"""uvloop: `asyncio_streams.py` on its event loop."""

import uvloop

from asyncio_streams import main

if __name__ == '__main__':
    uvloop.run(main())
