"""How tests have ended on asyncio's loop and on ours, compared test by test."""


class Comparison:
    """Counts what is the same, and lists what is not.

    `known` says of a test, or of all whose names begin so, why it ends otherwise on our loop.
    """

    def __init__(self, known=None):
        self.known = known or {}
        self.passed = 0
        #: Those that fail on both.
        self.failed = []
        #: Tests by what both give as the reason to skip them.
        self.skipped = {}
        #: Differences by their tests.
        self.differences = {}
        #: Differences of which `known` has a reason, by that.
        self.reasoned = {}

    def add(self, theirs, ours):
        """Takes in two runs: how each test has ended, by its name."""
        for test in sorted({**theirs, **ours}):
            end, other = ours.get(test, 'not there'), theirs.get(test, 'not there')
            if end != other:
                self._differs(test, '%s: %s, on asyncio %s' % (test, end, other))
            elif end == 'passed':
                self.passed += 1
            elif end.startswith('skipped'):
                self.skipped.setdefault(end, []).append(test)
            elif end == 'failed':
                self.failed.append(test)
        return self

    def differing(self):
        """The names of tests that differ, for no reason that is known."""
        return list(self.differences)

    def _differs(self, test, text):
        for name, reason in self.known.items():
            if test.startswith(name):
                self.reasoned.setdefault(reason, []).append(text)
                return
        self.differences[test] = text

    def show(self):
        """Prints what is not simply passed on both."""
        for reason, tests in self.skipped.items():
            print('%d %s' % (len(tests), reason))
        for test in self.failed:
            print('fails on both:', test)
        for reason, differences in self.reasoned.items():
            for difference in differences:
                print('differs, since %s: %s' % (reason, difference))
        for difference in self.differences.values():
            print('DIFFERS', difference)
