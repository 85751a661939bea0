"""Runs the own tests of libraries for asyncio on its loop and on ours, and compares.

    python libraries.py [--folder FOLDER] [LIBRARY...]

Needs the package in the Python that runs it, and a network: the tests of a library are in its
source distribution, which pip fetches, and run in a venv of their own that has the library as it
is installed, what its tests need, and the package of this Python. Both are kept in the folder,
`target/suites` unless told. Each suite runs twice, in processes of their own. It fails if a test
ends otherwise on our loop than on asyncio's: fails, passes, is skipped, or is not there, also when
it is run once more on both, and `known` has no reason for it.
"""

import argparse
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

from compare import Comparison

HERE = os.path.dirname(os.path.abspath(__file__))
#: Seconds that a suite may take on a loop, a test, and the exit of the process.
LIMIT, TEST_LIMIT, EXIT_LIMIT = 1200, 120, 20
#: How often tests that end otherwise on our loop are run once more, on both.
AGAIN = 2
#: How pytest exits if it has run all tests.
PASSED, FAILED = 0, 1
#: What each is run with. Newer versions may find other tests, or end them otherwise.
PYTEST = ['pytest==8.4.2', 'pytest-timeout==2.4.0']


class Library:
    """A library, and how its tests are run. All versions are the last that CPython 3.9 has."""

    def __init__(self, name, version, needs=(), options=(), variables=None, known=None, user=None):
        self.name = name
        self.version = version
        #: What its tests need, as pip takes it.
        self.needs = needs
        #: What pytest is told; `addopts` of some want plugins for coverage, or many processes.
        self.options = options
        #: Environment variables; a function, so that they are looked for when they are needed.
        self.variables = variables or dict
        #: Why tests end otherwise on our loop.
        self.known = known or {}
        #: Whom its tests run as, if root runs this.
        self.user = user

    def source(self, folder):
        """Fetches the source distribution; returns its folder, which is without the library."""
        name = '%s-%s' % (self.name, self.version)
        tree = os.path.join(folder, name)
        if not os.path.isdir(tree):
            pip(
                sys.executable, 'download', '--no-deps', '--no-binary', self.name, '--dest', folder,
                '%s==%s' % (self.name, self.version),
            )
            with tempfile.TemporaryDirectory(dir=folder) as unpacked:
                with tarfile.open(os.path.join(folder, name + '.tar.gz')) as archive:
                    archive.extractall(unpacked, filter='data')
                # Else it would be found before the one that is installed, and built.
                shutil.rmtree(os.path.join(unpacked, name, self.name), ignore_errors=True)
                os.rename(os.path.join(unpacked, name), tree)
        return tree

    def python(self, folder):
        """Makes a venv with all that the tests need; returns its Python."""
        import asyncoro

        venv = os.path.join(folder, self.name)
        python = os.path.join(venv, 'bin', 'python')
        if not os.path.exists(python):
            subprocess.run([sys.executable, '-m', 'venv', venv], check=True, timeout=120)
        pip(python, 'install', '%s==%s' % (self.name, self.version), *PYTEST, *self.needs)
        packages = glob.glob(os.path.join(venv, 'lib', 'python3.*', 'site-packages'))[0]
        link = os.path.join(packages, 'asyncoro')
        if os.path.islink(link):
            os.remove(link)
        os.symlink(os.path.dirname(os.path.abspath(asyncoro.__file__)), link)
        return python

    def compare(self, python, tree):
        """Runs the tests on both loops: their comparison, and the number of loops of ours."""
        (theirs, _), (ours, made) = (self.ends(python, tree, it, ['tests']) for it in (False, True))
        comparison = Comparison(self.known).add(theirs, ours)
        for _ in range(AGAIN):
            # Some wait for a time, or for other processes, and do not always end alike.
            differ = comparison.differing()
            if not differ:
                break
            print('%s: again' % self.name, *differ, flush=True)
            theirs.update(self.ends(python, tree, False, differ)[0])
            ours.update(self.ends(python, tree, True, differ)[0])
            comparison = Comparison(self.known).add(theirs, ours)
        return comparison, made

    def ends(self, python, tree, ours, tests):
        """Runs tests: how each has ended, and the number of loops of ours."""
        with tempfile.TemporaryDirectory() as folder:
            if self.user and os.getuid() == 0:
                shutil.chown(folder, self.user)
            path = os.path.join(folder, 'ends.json')
            command = [
                *self.as_user(), python, '-m', 'pytest', '-p', 'our_loop', '-p', 'pytest_ends',
                '-p', 'no:cacheprovider', '-q', '--tb=short', '--timeout', str(TEST_LIMIT),
                *self.options, *tests,
            ]
            environment = {**os.environ, **self.variables()}
            environment.update(
                ENDS=path, HOME=folder, PYTHONDONTWRITEBYTECODE='1', PYTHONPATH=HERE, TMPDIR=folder
            )
            environment.pop('OUR_LOOP', None)
            if ours:
                environment['OUR_LOOP'] = '1'
            log = '%s-%s.log' % (tree, 'ours' if ours else 'theirs')
            with open(log, 'w') as file:
                code = run(command, cwd=tree, env=environment, output=file, ends=path)
            if code not in (None, PASSED, FAILED):
                raise SystemExit('pytest could not run the tests of %s: %s' % (self.name, log))
            with open(path) as file:
                return json.load(file)

    def as_user(self):
        """What runs a program as that user."""
        if not self.user or os.getuid() != 0:
            return []
        # It may read what root may: Python is where only root may look.
        may = '+dac_read_search'
        return [
            'setpriv', '--reuid=' + self.user, '--regid=' + self.user, '--clear-groups',
            '--inh-caps=' + may, '--ambient-caps=' + may,
        ]


def pip(python, *words):
    """Runs pip, which says nothing."""
    command = [python, '-m', 'pip', words[0], '--quiet', '--disable-pip-version-check', *words[1:]]
    subprocess.run(command, check=True, timeout=600)


def run(command, cwd, env, output, ends):
    """Runs tests, in a session of their own, which is ended if they last too long.

    Returns how they have exited; None if they were ended after they had noted their ends: one that
    fails may leave a process that the exit waits for.
    """
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        start_new_session=True,
    )
    until = time.monotonic() + LIMIT
    try:
        while True:
            try:
                return process.wait(EXIT_LIMIT)
            except subprocess.TimeoutExpired:
                if os.path.exists(ends) and time.time() - os.path.getmtime(ends) > EXIT_LIMIT:
                    return None
                if time.monotonic() > until:
                    raise
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def postgres():
    """Where the programs of PostgreSQL are."""
    found = shutil.which('initdb') or (glob.glob('/usr/lib/postgresql/*/bin/initdb') or [''])[-1]
    if not found:
        raise SystemExit('PostgreSQL is not installed')
    # All of them are where the link leads to.
    return {'PGINSTALLATION': os.path.dirname(os.path.realpath(found))}


#: Those of aiohttp that only measure, those that need docker, and those that import its modules.
AIOHTTP_OTHERS = [
    '--ignore-glob=tests/test_benchmarks_*', '--ignore=tests/autobahn',
    '--ignore-glob=tests/test_*imports.py',
]

# websockets is not among them: its source distributions lack its tests of asyncio.
LIBRARIES = [
    Library(
        'aiohttp', '3.13.5',
        needs=[
            'blockbuster', 'freezegun', 'isal', 'proxy.py', 're-assert', 'pytest-mock',
            'pytest-xdist', 'pytest-codspeed', 'trustme', 'uvloop', 'zlib-ng',
        ],
        options=['-o', 'addopts=', '-m', 'not dev_mode', *AIOHTTP_OTHERS],
        known={
            'tests/test_web_functional.py::test_keepalive_expires_on_time':
                'it replaces the time of the loop, which the timers of ours do not ask',
        },
    ),
    Library(
        'asyncpg', '0.31.0',
        needs=['distro', 'async-timeout', 'uvloop'],
        variables=postgres,
        user='postgres',
    ),
    Library(
        'uvloop', '0.22.1',
        needs=['aiohttp', 'psutil', 'pyOpenSSL'],
        # The others are about uvloop's own loop.
        options=['-o', 'addopts=', '-s', '-k', 'AIO'],
    ),
    Library(
        'uvicorn', '0.39.0',
        needs=[
            'a2wsgi==1.10.8', 'anyio', 'cryptography', 'httptools', 'httpx==0.28.1',
            'python-dotenv', 'PyYAML', 'pytest-mock==3.14.0', 'trustme==1.2.1', 'watchfiles',
            'websockets==13.1', 'wsproto==1.2.0', 'uvloop',
        ],
        options=['-o', 'addopts='],
        known={
            'tests/test_config.py::test_get_loop_factory[asyncio-':
                'the name of the test has that of the class of the loop',
        },
    ),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--folder', default='target/suites')
    parser.add_argument('library', nargs='*', choices=[[]] + [it.name for it in LIBRARIES])
    arguments = parser.parse_args()
    folder = os.path.join(os.path.abspath(arguments.folder), '%d.%d' % sys.version_info[:2])
    os.makedirs(folder, exist_ok=True)

    well = True
    for library in LIBRARIES:
        if arguments.library and library.name not in arguments.library:
            continue
        tree, python = library.source(folder), library.python(folder)
        comparison, made = library.compare(python, tree)
        comparison.show()
        print(
            '%s %s: %d tests passed on both, %d loops of ours'
            % (library.name, library.version, comparison.passed, made),
            flush=True,
        )
        well = well and made and comparison.passed and not comparison.differences
    return 0 if well else 1


if __name__ == '__main__':
    sys.exit(main())
