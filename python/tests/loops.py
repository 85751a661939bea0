"""What the tests of asyncoro.EventLoop have in common: a loop, two sockets, and counts."""

import asyncio
import socket

import pytest

import asyncoro
from harness import WAIT


@pytest.fixture
def loop():
    """A loop that is closed after the test."""
    made = asyncoro.new_event_loop()
    yield made
    if not made.is_closed():
        made.close()


@pytest.fixture
def pair():
    """Two connected sockets that do not block."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def run(loop, main):
    """Runs a coroutine object in a loop, bounded in time."""
    return loop.run_until_complete(asyncio.wait_for(main, WAIT))


def iterations(loop, seconds):
    """Returns how often a loop goes round in a time in which nothing happens."""
    count = 0
    once = loop._run_once

    def counted():
        nonlocal count
        count += 1
        once()

    loop._run_once = counted
    loop.run_until_complete(asyncio.sleep(seconds))
    del loop._run_once
    return count
