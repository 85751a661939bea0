"""Lets programs written for asyncoro or pycos run unchanged."""

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder

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


class _Aliases:
    """Installs the aliases where it is unpickled.

    It travels with what multiprocessing tells a child that it has spawned, which reads that before
    it imports the program.
    """

    def __reduce__(self):
        # The child has not got the parent's sys.path yet.
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        source = 'import sys; sys.path.append(%r); import asyncoro; asyncoro.install_aliases()'
        return exec, (source % folder, {})


def _reach_children(spawn):
    """Has multiprocessing send the aliases to the children that it spawns."""
    prepared = spawn.get_preparation_data

    def get_preparation_data(name):
        data = prepared(name)
        data['asyncoro_aliases'] = _Aliases()
        return data

    spawn.get_preparation_data = get_preparation_data


class _Spawn(MetaPathFinder, Loader):
    """Changes multiprocessing when, and if, the program imports it."""

    def find_spec(self, name, path=None, target=None):
        if name != 'multiprocessing.spawn':
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        sys.meta_path.remove(self)
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _reach_children(module)


def install_aliases():
    """Makes `import asyncoro` and `import pycos` this package, and `raise StopIteration(v)` in a
    generator a `return v`, as it was before Python 3.7.

    It holds in children that multiprocessing spawns, too.
    """
    package = sys.modules[__package__]
    sys.modules['asyncoro'] = sys.modules['pycos'] = package
    # Else `import pycos.asyncfile` would make another one.
    sys.modules['asyncoro.asyncfile'] = sys.modules['pycos.asyncfile'] = package.asyncfile
    if not any(isinstance(finder, _Absent) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Absent())
        spawn = sys.modules.get('multiprocessing.spawn')
        if spawn is None:
            sys.meta_path.insert(0, _Spawn())
        else:
            _reach_children(spawn)
    _engine.set_legacy(True)
