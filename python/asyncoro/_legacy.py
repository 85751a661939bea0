"""Lets programs written for asyncoro or pycos run unchanged."""

import sys
from importlib.abc import MetaPathFinder

from . import _engine

_DISTRIBUTED = {
    'netpycos', 'dispycos', 'dispycosnode', 'netasyncoro', 'disasyncoro', 'discoro', 'discoronode',
    'httpd',
}


class _Absent(MetaPathFinder):
    """Refuses to import the distributed parts of asyncoro and pycos, which are not offered."""

    def find_spec(self, name, path=None, target=None):
        parent, _, last = name.rpartition('.')
        if last in _DISTRIBUTED and parent in ('', 'asyncoro', 'pycos'):
            raise ImportError(
                '%s is of the distributed part of asyncoro and pycos, which this package does not '
                'offer: it is for network programs with AsyncSocket' % name,
                name=name,
            )
        return None


def install_aliases():
    """Makes `import asyncoro` and `import pycos` this package, and `raise StopIteration(v)` in a
    generator a `return v`, as it was before Python 3.7.
    """
    package = sys.modules[__package__]
    sys.modules['asyncoro'] = sys.modules['pycos'] = package
    if not any(isinstance(finder, _Absent) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Absent())
    _engine.set_legacy(True)
