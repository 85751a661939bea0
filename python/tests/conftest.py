"""Gives every test 20 s in a thread of its own, and ends the process if even that hangs.

A test that still runs then fails with the stacks of all threads on standard error; its thread is
left running. If it holds the GIL, `faulthandler` ends the run a little later. A test that needs
more says so: `@pytest.mark.limit(seconds)`.
"""

import faulthandler
import os
import shutil
import signal
import subprocess
import sys

import pytest

from harness import LIMIT, parallel


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    mark = pyfuncitem.get_closest_marker("limit")
    limit = mark.args[0] if mark else LIMIT
    faulthandler.dump_traceback_later(limit + 5, exit=True)
    try:
        test = parallel(lambda: pyfuncitem.obj(**arguments))
        test.join(limit)
        if test.is_alive():
            faulthandler.dump_traceback(sys.__stderr__)
            pytest.fail(f"hangs: not done after {limit} s", pytrace=False)
        test.result()
    finally:
        faulthandler.cancel_dump_traceback_later()
    return True


class Certificates:
    """Holds the paths of PEM files.

    `chain` and `key` are those of a self-signed server named localhost; `both` has them in one
    file. `issued` and `issued_key` are those of one signed by the authority `ca`. `wrong` is
    another authority.
    """

    def __init__(self, folder):
        if shutil.which("openssl") is None:
            pytest.skip("the openssl command is missing")
        self.chain, self.key = self._make(folder, "server")
        self.wrong, _ = self._make(folder, "wrong")
        self.ca, ca_key = self._make(folder, "ca")
        signing = ["-CA", self.ca, "-CAkey", ca_key]
        signing += ["-addext", "basicConstraints=critical,CA:FALSE"]
        self.issued, self.issued_key = self._make(folder, "issued", *signing)
        self.client_chain, self.client_key = self._make(folder, "client")
        self.both = str(folder / "both.pem")
        with open(self.both, "w") as both:
            for part in (self.chain, self.key):
                with open(part) as text:
                    both.write(text.read())

    @staticmethod
    def _make(folder, name, *more):
        chain, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
        command += ["-keyout", key, "-out", chain, "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        command += more
        made = subprocess.run(command, capture_output=True, text=True, timeout=15)
        assert made.returncode == 0, made.stderr
        return chain, key


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def log(caplog):
    """What the log is told in a test, from INFO on, whatever level others have left it with."""
    import asyncoro

    level = asyncoro.logger.level
    asyncoro.logger.setLevel("info")
    yield caplog
    asyncoro.logger.setLevel(level)


def pytest_configure(config):
    """Lets Ctrl-C reach the programs that tests start, also where it is ignored by this run, as
    shells arrange in the background.
    """
    if "ASYNCORO_LOOP" in os.environ:
        import in_loop

        in_loop.install()
    config.addinivalue_line("markers", "limit(seconds): how long a test may take")
    config.addinivalue_line("markers", "no_task(why): is about what a task of asyncio's is not")
    config.addinivalue_line("markers", "own(why): is about the scheduler of the process")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


#: What runs in the loops of asyncio's, too. The others are about the scheduler of the process, or
#: start programs of their own.
LOOPED = """
    addresses as_socket blocking calls categorize channel clean_up closed_behind contexts coro
    defects defects_tls edges errors fds file file_ends hotswap iterate lines locks mailbox
    methods nesting pipe pool queue queued recvmsg scenarios scenarios_between scenarios_coro
    scenarios_tls scope scope_phases serve socket today verbs watchers
""".split()


def pytest_collection_modifyitems(items):
    """Skips, in a loop of asyncio's, what is about the scheduler of the process."""
    how = os.environ.get("ASYNCORO_LOOP")
    skipped = ["own", "no_task"] if how and how.startswith("task") else ["own"] if how else []
    for item in items:
        if how and item.path.stem[len("test_"):] not in LOOPED:
            item.add_marker(pytest.mark.skip(reason="not about coroutines in a loop"))
        for name in skipped:
            mark = item.get_closest_marker(name)
            if mark is not None:
                item.add_marker(pytest.mark.skip(reason=mark.args[0]))


def pytest_unconfigure(config):
    """Ends coroutines that failed tests have left: at exit the scheduler would wait for them."""
    asyncoro = sys.modules.get("asyncoro")
    if asyncoro is not None:
        parallel(asyncoro.AsynCoro.instance().terminate).join(5)
