"""asyncoro: its verbs in tasks on uvloop's event loop."""

import uvloop

from asyncio_asyncoro import main

if __name__ == '__main__':
    uvloop.run(main())
