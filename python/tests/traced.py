"""Runs the tests under a trace function, as a debugger or a measurement of coverage does:

    python python/tests/traced.py ARGUMENTS OF PYTEST
"""

import sys
import threading

import pytest


def trace(frame, event, argument):
    return trace


if __name__ == "__main__":
    threading.settrace(trace)
    sys.settrace(trace)
    sys.exit(pytest.main(sys.argv[1:]))
