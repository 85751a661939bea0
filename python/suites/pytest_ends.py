"""A plugin of pytest that notes how each test has ended, and how many loops of ours were made.

It writes both into the file that the variable ENDS names.
"""

import json
import os

import our_loop

ENDS = {}


def note(test, end):
    """Notes an end; the worst of what is said of a test stays."""
    if ENDS.get(test) != 'failed':
        ENDS[test] = end


def pytest_runtest_logreport(report):
    if report.failed:
        note(report.nodeid, 'failed')
    elif report.skipped:
        if hasattr(report, 'wasxfail'):
            note(report.nodeid, 'failed as expected')
        else:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ''
            note(report.nodeid, 'skipped: ' + reason.removeprefix('Skipped: '))
    elif report.when == 'call':
        ENDS.setdefault(report.nodeid, 'passed')


def pytest_collectreport(report):
    if report.failed:
        note(report.nodeid, 'failed')


def pytest_sessionfinish():
    with open(os.environ['ENDS'], 'w') as file:
        json.dump([ENDS, our_loop.OurLoop.count], file)
