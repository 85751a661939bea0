"""Programs of `python/examples/asyncio`, with the libraries that they need."""

import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request

import pytest

from harness import WAIT, Program, read_exactly
from test_examples import EXAMPLES, address_of


def example(name, *arguments):
    return Program(
        command=[sys.executable, str(EXAMPLES / "asyncio" / (name + ".py")), *arguments]
    )


def needs(*modules):
    for module in modules:
        pytest.importorskip(module)


def test_fastapi_asks_a_server_of_messages():
    needs("fastapi", "uvicorn")
    with example("fastapi_to_messages", "0") as program:
        host, port = address_of(program)
        for word in ("hello", "again"):
            with urllib.request.urlopen(f"http://{host}:{port}/ask/{word}", timeout=WAIT) as page:
                assert json.load(page) == {"answer": word[::-1]}
        program.interrupt()
        program.end()


def test_aiohttp_fetches_for_coroutines():
    needs("aiohttp")
    with example("aiohttp_from_coroutines") as program:
        assert program.end() == 0, program.stderr
        assert program.stdout.split("\n")[0] == "1 (200, 5)"
        assert len(program.stdout.splitlines()) == 5


def test_a_websocket_is_bridged_to_messages():
    needs("websockets")
    from websockets.sync.client import connect

    with example("websocket_to_messages", "0") as program:
        host, port = address_of(program)
        with connect(f"ws://{host}:{port}") as client:
            for size in (1, 1000, 100_000):
                client.send(b"x" * size)
                assert client.recv(WAIT) == b"x" * size
        program.interrupt()
        program.end()


@pytest.fixture
def postgres(tmp_path):
    """A server of its own, on a Unix socket in a folder of the test's."""
    found = shutil.which("initdb") or (glob.glob("/usr/lib/postgresql/*/bin/initdb") or [None])[-1]
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed")
    tools = os.path.dirname(found)
    data = tmp_path / "data"
    as_user = []
    if os.getuid() == 0:
        # It refuses to run as root.
        shutil.chown(tmp_path, "postgres")
        for folder in tmp_path.parents:
            if os.stat(folder).st_uid == 0 and str(folder).startswith("/tmp/"):
                os.chmod(folder, 0o755)
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    made = subprocess.run(
        [*as_user, os.path.join(tools, "initdb"), "-A", "trust", "-U", "test", "--no-sync", data],
        capture_output=True, text=True, timeout=60,
    )
    assert made.returncode == 0, made.stderr
    server = subprocess.Popen(
        [*as_user, os.path.join(tools, "postgres"), "-D", data, "-k", str(tmp_path),
         "-c", "listen_addresses=", "-c", "fsync=off"],
        stderr=subprocess.PIPE, text=True,
    )
    try:
        for line in server.stderr:
            if "ready to accept" in line:
                break
        yield f"postgres://test@/postgres?host={tmp_path}"
    finally:
        server.terminate()
        server.communicate(timeout=WAIT)


@pytest.mark.limit(90)
def test_asyncpg_answers_by_lines(postgres):
    needs("asyncpg")
    with example("asyncpg_rows", postgres, "0") as program:
        with socket.create_connection(address_of(program), WAIT) as client:
            client.sendall(b"apples\npears\nnothing\n")
            assert read_exactly(client, 6) == b"3\n5\n0\n"
        program.interrupt()
        program.end()
