"""What the tests of scopes have in common."""

import asyncoro


def forever(notes, name, coro=None):
    try:
        yield asyncoro.sleep(None)
    finally:
        notes.append(name)


def fails(error, seconds=0, coro=None):
    yield asyncoro.sleep(seconds)
    raise error
