"""Defines how the end of a coroutine is reported."""

import traceback


class MonitorStatus:
    """Tells how a coroutine has ended: `info` is the coroutine, `type` the class of what it raised
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
    """Raised where a coroutine waits to ask it to let a new generator, `args[0]`, take over; it
    raises it again to agree.
    """


class MailboxFull(Exception):
    """Raised by `send` to a coroutine whose mailbox has a capacity and is full."""


class Terminated(Exception):
    """Raised by waiting for a coroutine that was terminated."""


def text_of(error):
    """Formats a traceback."""
    return ''.join(traceback.format_exception(type(error), error, error.__traceback__))


def failure(coro, error):
    """Makes what `value()` gives for a coroutine that has raised `error`."""
    return MonitorStatus(coro, type(error), text_of(error))


def cut_off(label, generator):
    """Says where a coroutine waits that does not end."""
    while True:
        kind = 'cr' if hasattr(generator, 'cr_frame') else 'gi'
        inner = getattr(generator, 'cr_await' if kind == 'cr' else 'gi_yieldfrom', None)
        if not hasattr(inner, 'cr_frame') and not hasattr(inner, 'gi_frame'):
            break
        generator = inner
    code, frame = getattr(generator, kind + '_code'), getattr(generator, kind + '_frame')
    line = frame.f_lineno if frame is not None else code.co_firstlineno
    return '%s was cut off: it was terminated, and has not ended. File "%s", line %s, in %s' % (
        label, code.co_filename, line, code.co_name
    )
