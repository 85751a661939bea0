"""uvloop: `asyncio_sock.py` on its event loop."""

import uvloop

from asyncio_sock import main

if __name__ == '__main__':
    uvloop.run(main())
