"""The examples that come with pycos and with asyncoro, unchanged, through `python -m asyncoro`.

Each must do what it always did. They are found in the folders that ASYNCORO_PYCOS_EXAMPLES and
ASYNCORO_ASYNCORO_EXAMPLES name; their ports (8010, 3456, 1234) are fixed, so one runs at a time.
"""

import os
import re
import socket
import sys
import time

import pytest

from harness import WAIT, Program

FOLDERS = {"pycos": "ASYNCORO_PYCOS_EXAMPLES", "asyncoro": "ASYNCORO_ASYNCORO_EXAMPLES"}


def example(package, name, *arguments):
    """A started example, in its own folder."""
    folder = os.environ.get(FOLDERS[package])
    if not folder:
        pytest.skip(f"{FOLDERS[package]}, the folder of the examples of {package}, is not set")
    command = [sys.executable, "-m", "asyncoro", f"{name}.py", *arguments]
    return Program(command=command, cwd=folder)


def until_listening(port):
    """Waits until somebody listens on a port of loopback, without connecting."""
    wanted = f":{port:04X}"
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        with open("/proc/net/tcp") as table:
            rows = [line.split() for line in table]
        if any(row[1].endswith(wanted) and row[3] == "0A" for row in rows[1:]):
            return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens on port {port}")


def bindable(port):
    """Waits until a port is free even for programs that do not set SO_REUSEADDR."""
    for _ in range(5 * WAIT):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return
            except OSError:
                time.sleep(0.2)
    pytest.skip(f"port {port} is taken by something else, or still by an earlier connection")


@pytest.mark.parametrize("package, server, client", [
    ("pycos", "sock_server", "sock_client"), ("asyncoro", "tut_sock_server", "tut_sock_client"),
])
def test_clients_send_to_a_server(package, server, client):
    if server == "tut_sock_server":
        bindable(8010)
    with example(package, server) as serving:
        until_listening(8010)
        with example(package, client) as sending:
            assert sending.end() == 0, sending.stderr
        serving.expect("recieved: b'", times=10)
        serving.write("quit\n")
        assert serving.end() == 0
        numbers = sorted(int(n) for n in re.findall(r"recieved: b'(\d+): -+/'", serving.stdout))
        assert numbers == list(range(10))
        assert ("Received 10 messages" if package == "pycos" else "n = 10") in serving.stdout


@pytest.mark.parametrize("package, port", [("pycos", "3456"), ("asyncoro", "1234")])
def test_the_chat(package, port):
    with example(package, "chat_sock_server") as server:
        until_listening(int(port))
        with example(package, "chat_sock_client") as one, \
                example(package, "chat_sock_client") as two, \
                example(package, "chat_sock_client") as three:
            clients = [one, two, three]
            for client in clients:
                client.expect("id: ")
            names = [re.search(r"id: (\d+)", client.stdout)[1] for client in clients]
            time.sleep(0.2)
            for client, name in zip(clients, names):
                for number in range(3):
                    client.write(f"message {number} of {name}\n")
            for client in clients:
                for name in names:
                    for number in range(3):
                        line = f"{name} says: message {number} of {name}"
                        if client is not clients[names.index(name)]:
                            client.expect(line)
            for client, name in zip(clients, names):
                assert f"{name} says" not in client.stdout
            three.write("quit\n")
            assert three.end() == 0, three.stderr
            for client in (one, two):
                client.expect(f"{names[2]} left")
            one.write("still here\n")
            two.expect(f"{names[0]} says: still here")
            for client in (one, two):
                client.write("quit\n")
                assert client.end() == 0, client.stderr
        server.interrupt()
        server.end()
        assert "Traceback" not in server.stdout + server.stderr


@pytest.mark.parametrize("package", FOLDERS)
def test_udp(package):
    with example(package, "udp") as program:
        assert program.end() == 0, program.stderr
        assert program.stdout.count("Received \"b'client socket: ") == 50


@pytest.mark.parametrize("package", FOLDERS)
def test_the_webserver(package):
    with example(package, "webserver") as server:
        until_listening(8010)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", 8010), timeout=WAIT) as client:
                reply = b""
                while True:
                    piece = client.recv(1000)
                    if not piece:
                        break
                    reply += piece
            assert reply == b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nPong!\r\n"
        server.write("quit\n")
        assert server.end() == 0, server.stderr


@pytest.mark.parametrize("package, name, pattern", [
    ("pycos", "client_server", r"Received msg_id (\d+): client \d, msg \d"),
    ("asyncoro", "tut_client_server", r"processing (\d+): \d / \d"),
])
def test_messages_between_coroutines(package, name, pattern):
    with example(package, name) as program:
        assert program.end(15) == 0, program.stderr
        ids = [int(number) for number in re.findall(pattern, program.stdout)]
        assert ids == list(range(1, 31))


@pytest.mark.parametrize("package, name, word", [
    ("pycos", "tasks", "process"), ("asyncoro", "tut_coros", "coroutine"),
])
def test_sleeping_coroutines(package, name, word):
    with example(package, name) as program:
        assert program.end() == 0, program.stderr
        for number in range(10):
            assert f"{word} {number} sleeping for" in program.stdout
            assert f"{word} {number} terminating" in program.stdout


@pytest.mark.parametrize("package", FOLDERS)
def test_hotswap(package):
    with example(package, "hotswap") as program:
        program.expect("received: 1")
        program.write("client\n")
        program.write("server\n")
        # From Python 3.13 `locals()` does not show what exec() has defined: the example says so.
        if sys.version_info >= (3, 13):
            program.expect("failed to load", times=2)
        else:
            program.expect("new function: server_proc2")
            program.expect("  * client_proc2/")
            program.expect("  * server_proc2/")
        program.write("quit\n")
        assert program.end() == 0, program.stderr
