"""uvloop: `asyncio_protocol.py` on its event loop."""

import uvloop

from asyncio_protocol import main

if __name__ == '__main__':
    uvloop.run(main())
