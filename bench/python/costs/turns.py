"""What all programs of this folder have in common: `python PROGRAM OPERATION`.

A program prints how many operations it does in a turn, 0 if it has no such operation. Then it does
a turn for each line that it reads, and prints the nanoseconds of the turn.
"""

import os
import sys
import tempfile
from contextlib import contextmanager
from time import perf_counter_ns as now

# For the slowest still a few ten milliseconds.
TIMES = {
    'switch': 20_000, 'spawn': 1_000, 'call': 10_000, 'message': 5_000, 'throw': 5_000,
    'call_soon': 5_000, 'timer': 5_000, 'lock': 5_000, 'event': 5_000, 'semaphore': 5_000,
    'queue': 5_000, 'broadcast': 10_000, 'scope': 2_000, 'thread': 1_000, 'file': 50,
    'process': 20,
}

# How many get each message of `broadcast`.
RECEIVERS = 1_000


# The children of a `scope`.
CHILDREN = 100

# What `process` starts, whose output it reads.
PROGRAM = ['true']


@contextmanager
def large_file():
    """The path of a file of 1 MiB, which is in the system's cache."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(1 << 20))
        file.flush()
        yield file.name


def answer():
    """What `thread` calls."""
    return 42


class Stop(Exception):
    """What is thrown."""


async def call(times):
    """The same for all who have `async def`: nobody but Python takes part."""
    async def called(value):
        return value

    started = now()
    for value in range(times):
        await called(value)
    return now() - started


def serve(run, *operations):
    """`run(operation, times)` gives the nanoseconds of a turn; "switch 100" has one more argument.

    An operation is found by its own name.
    """
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    # Whatever a library prints is no answer to the parent.
    os.dup2(2, 1)
    name, *numbers = sys.argv[1].split()
    operation = next((known for known in operations if known.__name__ == name), None)
    print(TIMES[name] if operation else 0, file=answers)
    for _ in sys.stdin:
        print(run(operation, TIMES[name], *map(int, numbers)), file=answers)
