"""Runs CPython's own tests of asyncio on its loop and on ours, and compares.

    python cpython.py [MODULE...]

Each module of `test.test_asyncio` runs twice, in processes of their own. It fails if a test ends
otherwise on our loop than on asyncio's: fails, is skipped, or is not there. A test that a machine
without a network fails on both is none of ours, and counts as the same.
"""

import json
import os
import signal
import subprocess
import sys
import unittest

from compare import Comparison

#: What is about the loops of another system.
OTHERS = ('proactor', 'windows')
#: Seconds that a module may take.
LIMIT = 600


class Result(unittest.TextTestResult):
    """Notes how each test has ended, by its name."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ends = {}

    def addSuccess(self, test):
        super().addSuccess(test)
        self.ends.setdefault(test.id(), 'passed')

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.ends[test.id()] = 'skipped: ' + reason

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.ends[test.id()] = 'failed'

    def addError(self, test, error):
        super().addError(test, error)
        self.ends[str(test.id())] = 'failed'

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.ends[test.id()] = 'failed'

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self.ends[test.id()] = 'failed as expected'


def run(module, into):
    """Runs a module in this process."""
    # A shell has it ignored in the background, and tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ours = os.environ.get('OUR_LOOP')
    if ours:
        import our_loop
    suite = unittest.defaultTestLoader.loadTestsFromName('test.test_asyncio.' + module)
    result = unittest.TextTestRunner(resultclass=Result).run(suite)
    made = our_loop.OurLoop.count if ours else 0
    with open(into, 'w') as file:
        json.dump([result.ends, made], file)


def ends(module, ours, folder):
    """Runs a module in a process of its own: how its tests have ended, and the loops of ours."""
    path = os.path.join(folder, '%s-%s.json' % (module, 'ours' if ours else 'theirs'))
    environment = dict(os.environ)
    environment.pop('OUR_LOOP', None)
    if ours:
        environment['OUR_LOOP'] = '1'
    with open(path + '.log', 'w') as log:
        subprocess.run(
            [sys.executable, __file__, '--run', module, path], env=environment, stdout=log,
            stderr=log, timeout=LIMIT, check=True,
        )
    with open(path) as file:
        return json.load(file)


def modules():
    """The modules of CPython's tests of asyncio."""
    from test import test_asyncio

    names = sorted(os.listdir(os.path.dirname(test_asyncio.__file__)))
    names = [name[:-3] for name in names if name.startswith('test_') and name.endswith('.py')]
    return [name for name in names if not any(other in name for other in OTHERS)]


def main(names):
    import tempfile

    comparison = Comparison()
    made = 0
    with tempfile.TemporaryDirectory() as folder:
        for module in names or modules():
            theirs, _ = ends(module, False, folder)
            ours, count = ends(module, True, folder)
            made += count
            comparison.add(theirs, ours)
            print('%s: %d tests' % (module, len(ours)), flush=True)
    comparison.show()
    print('%d passed on both, %d loops of ours' % (comparison.passed, made))
    return 1 if comparison.differences or not made else 0


if __name__ == '__main__':
    if sys.argv[1:2] == ['--run']:
        run(*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
