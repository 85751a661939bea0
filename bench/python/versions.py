"""Says which Python this is, and the versions of what is measured on it, where it is installed."""

import platform
from importlib import metadata

said = [platform.python_implementation() + ' ' + platform.python_version()]
for name in ('asyncoro-rs', 'pycos', 'uvloop', 'gevent', 'trio', 'curio'):
    try:
        said.append(name + ' ' + metadata.version(name))
    except metadata.PackageNotFoundError:
        said.append('no ' + name)
print(', '.join(said))
