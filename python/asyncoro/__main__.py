"""Runs a program of asyncoro or pycos, unchanged.

usage: python -m asyncoro [--help] [--version] SCRIPT [ARG ...]
"""

import io
import os
import sys
import types

from . import __version__, _legacy


def main():
    arguments = sys.argv[1:]
    first = arguments[0] if arguments else ''
    if first in ('-h', '--help'):
        print(__doc__.strip())
        return 0
    if first in ('-V', '--version'):
        print('asyncoro', __version__)
        return 0
    if not first or first.startswith('-'):
        problem = 'there is no option %s' % first if first else 'a script is missing'
        print('python -m asyncoro: %s\n%s' % (problem, _usage()), file=sys.stderr)
        return 2
    path = os.path.abspath(first)
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        print(
            "python -m asyncoro: can't open file %r: [Errno %s] %s"
            % (path, error.errno, error.strerror),
            file=sys.stderr,
        )
        return 2
    sys.argv = arguments
    sys.path[0] = os.path.dirname(path)
    _legacy.install_aliases()
    try:
        code = compile(source, first, 'exec')
    except SyntaxError as error:
        # As `python SCRIPT` shows it: without the lines that have called the compiler.
        sys.excepthook(type(error), error.with_traceback(None), None)
        return 1
    # The module stays: coroutines go on after the end of the script.
    module = types.ModuleType('__main__')
    module.__file__ = first
    module.__builtins__ = __builtins__
    sys.modules['__main__'] = module
    exec(code, module.__dict__)
    return None


def _usage():
    return __doc__.strip().splitlines()[-1]


if __name__ == '__main__':
    sys.exit(main())
