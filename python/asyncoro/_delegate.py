"""What a function was given to run: a call, a generator, the object of an `async def`."""

import inspect
import types

from ._engine import Call


@types.coroutine
def delegated(body):
    """Runs it as a part of the coroutine that runs, and gives its value."""
    if inspect.isgenerator(body) or inspect.iscoroutine(body) or isinstance(body, Call):
        return (yield from body)
    if hasattr(body, '__await__'):
        return (yield from body.__await__())
    return (yield body)
