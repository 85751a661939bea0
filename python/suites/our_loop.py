"""Has asyncio make loops of ours, wherever it would make a selector's: for the suites of others.

As a plugin of pytest, `-p our_loop`, if the variable OUR_LOOP is set.
"""

import asyncio
import os
import warnings
from asyncio import unix_events

import asyncoro


class OurLoop(asyncoro.EventLoop):
    """Takes a selector, as asyncio.SelectorEventLoop does, and closes it."""

    #: How many were made.
    count = 0
    #: By which uvloop's tests know a loop that keeps to what asyncio's does.
    __module__ = 'asyncio.unix_events'

    def __init__(self, selector=None):
        if selector is not None:
            selector.close()
        OurLoop.count += 1
        super().__init__()


def install():
    """Puts it in the places of asyncio's."""
    warnings.filterwarnings('ignore', 'asyncio.DefaultEventLoopPolicy', DeprecationWarning)
    asyncio.SelectorEventLoop = unix_events.SelectorEventLoop = OurLoop
    if hasattr(asyncio, 'EventLoop'):
        asyncio.EventLoop = OurLoop
    unix_events._UnixDefaultEventLoopPolicy._loop_factory = OurLoop


if os.environ.get('OUR_LOOP'):
    install()
