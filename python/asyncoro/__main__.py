"""`python -m asyncoro SCRIPT ARGS`: runs a program of asyncoro or pycos, unchanged."""

import io
import os
import sys
import types

from . import _legacy


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help'):
        print('usage: python -m asyncoro SCRIPT [ARG ...]\n\n' + __doc__)
        return 0 if len(sys.argv) > 1 else 2
    script = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    _legacy.install_aliases()
    with io.open_code(os.path.abspath(script)) as file:
        code = compile(file.read(), script, 'exec')
    # The module stays: coroutines go on after the end of the script.
    module = types.ModuleType('__main__')
    module.__file__ = script
    module.__builtins__ = __builtins__
    sys.modules['__main__'] = module
    exec(code, module.__dict__)
    return None


if __name__ == '__main__':
    sys.exit(main())
