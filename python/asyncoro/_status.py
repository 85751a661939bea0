"""What coroutines tell of each other's end."""

import traceback


class MonitorStatus:
    """How a coroutine has ended: `info` is the coroutine, `type` the class of what it has raised
    and `value` the traceback as text; of one that has returned, `type` is StopIteration and
    `value` what it has returned.
    """

    __slots__ = ('info', 'type', 'value')

    def __init__(self, info, type, value=None):
        self.info = info
        self.type = type
        self.value = value

    def __repr__(self):
        return 'MonitorStatus(%s, %s, %r)' % (self.info, self.type.__name__, self.value)


class HotSwapException(Exception):
    """Raised where a coroutine waits that is asked to let a new generator, `args[0]`, take over;
    raising it again is agreeing.
    """


class Terminated(Exception):
    """The coroutine that was waited for was terminated."""


def text_of(error):
    """A traceback as text."""
    return ''.join(traceback.format_exception(type(error), error, error.__traceback__))


def failure(coro, error):
    """What `value()` gives of a coroutine that has raised `error`."""
    return MonitorStatus(coro, type(error), text_of(error))
