"""Runs the examples of pycos and of asyncoro, unchanged, through `python -m asyncoro`.

Each must do what it always did. They are found in the folders that ASYNCORO_PYCOS_EXAMPLES and
ASYNCORO_ASYNCORO_EXAMPLES name; their ports (8010, 3456, 1234) are fixed, so one runs at a time.
"""

import fcntl
import hashlib
import math
import os
import re
import socket
import sys
import tempfile
import time

import pytest

from harness import WAIT, Program, parallel, read_exactly, reset

FOLDERS = {"pycos": "ASYNCORO_PYCOS_EXAMPLES", "asyncoro": "ASYNCORO_ASYNCORO_EXAMPLES"}

#: Seconds for which Linux keeps the port of a connection that it closed first.
TIME_WAIT = 60


def example(package, name, *arguments):
    """Starts an example in its own folder."""
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


@pytest.fixture(scope="module", autouse=True)
def ports():
    """Locks the fixed ports, so that no other run of these tests uses them at the same time."""
    path = os.path.join(tempfile.gettempdir(), f"asyncoro-example-ports-{os.getuid()}")
    with open(path, "w") as lock:
        for _ in range(3 * TIME_WAIT):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(1)
        else:
            pytest.fail("another run of these tests does not end")
        yield


def until_free(port, reuse):
    """Waits until a program can bind a port, with or without SO_REUSEADDR.

    A connection that a server without SO_REUSEADDR closed first keeps the port from both.
    """
    for _ in range(TIME_WAIT + 5):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            try:
                probe.bind(("127.0.0.1", port))
                return
            except OSError:
                time.sleep(1)


@pytest.fixture
def port_8010():
    until_free(8010, reuse=1)


@pytest.fixture
def port_8010_without_reuse():
    until_free(8010, reuse=0)


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
def test_the_webserver(port_8010, package):
    with example(package, "webserver") as server:
        until_listening(8010)
        for _ in range(20):
            client = socket.create_connection(("127.0.0.1", 8010), timeout=WAIT)
            reply = read_exactly(client, 1000)
            reset(client)  # so that the port does not linger
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


@pytest.mark.parametrize("package", FOLDERS)
def test_a_socket_as_a_file(package):
    with example(package, "socket_afile") as program:
        assert program.end() == 0, program.stderr
        sums = re.findall(r"(client|server) sha1 csum: ([0-9a-f]{40})", program.stdout)
        wanted = checksum(os.path.join(os.environ[FOLDERS[package]], "socket_afile.py"))
        assert sorted(sums) == [("client", wanted), ("server", wanted)]


@pytest.mark.parametrize("package", FOLDERS)
def test_checksums_by_a_pipe(package, tmp_path):
    path = tmp_path / "input"
    path.write_text("".join(f"line {number}\n" for number in range(50_000)))
    with example(package, "pipe_csum", str(path)) as program:
        assert program.end() == 0, program.stderr
        for way in ("communicate", "feeder"):
            assert f"{way} sha1sum: b'{checksum(path)}  -\\n'" in program.stdout


def test_grep_by_a_chain_of_processes(tmp_path):
    # That of asyncoro takes no argument: it reads /var/log/syslog, which is not on every machine.
    path = tmp_path / "log"
    path.write_text("all is well\nan Error here\n" * 2000 + "no more\n")
    with example("pycos", "pipe_grep", str(path)) as program:
        assert program.end() == 0, program.stderr
        counts = [line.split() for line in program.stdout.splitlines() if line.strip()]
        assert ["2000", "6000", "28000"] in counts


def checksum(path):
    with open(path, "rb") as file:
        return hashlib.sha1(file.read()).hexdigest()


def test_clients_send_to_sock_server(port_8010):
    clients_send_to_a_server("pycos", "sock_server", "sock_client")


@pytest.mark.parametrize("package, name", [("pycos", "channel"), ("asyncoro", "tut_channel")])
def test_a_channel(package, name):
    with example(package, name) as program:
        assert program.end() == 0, program.stderr
        numbers = [float(number) for number in re.findall(r"sent (\S+)", program.stdout)]
        assert len(numbers) == 4
        total = float(re.search(r"sum: (\S+)", program.stdout)[1])
        product = float(re.search(r"prod: (\S+)", program.stdout)[1])
        # They are printed with six digits.
        assert abs(total - sum(numbers)) < 1e-5
        assert abs(product - math.prod(numbers)) < 1e-3


@pytest.mark.limit(60)
@pytest.mark.parametrize("package, name, port", [
    ("pycos", "chat_server", 3456), ("pycos", "chat_server2", 3456),
    ("asyncoro", "chat_server", 1234),
])
def test_a_chat_server_under_load(package, name, port):
    """Each of 4 clients sends 200 messages at once, and gets the 600 of the others."""
    with example(package, name) as server:
        until_listening(port)
        clients = [socket.create_connection(("127.0.0.1", port), WAIT) for _ in range(4)]
        # The server knows all of them when it knows the last one.
        clients[-1].sendall(frame(b"hello"))
        assert [len(messages(client, 1)) for client in clients[:-1]] == [1, 1, 1]
        readers = [parallel(messages, client, 600) for client in clients]
        load = b"".join(frame(b"message %d" % number) for number in range(200))
        for sender in [parallel(client.sendall, load) for client in clients]:
            sender.result()
        for reader in readers:
            received = reader.result(30)
            assert len(received) == 600
            for number in range(200):
                text = b"message %d" % number
                count = sum(message.rstrip(b"')\"").endswith(text) for message in received)
                assert count == 3, (text, count)
        for client in clients:
            client.close()
        server.write("quit\n")
        assert server.end() == 0, server.stderr
        assert "Traceback" not in server.stdout + server.stderr


@pytest.mark.parametrize("package, port", [("pycos", 3456), ("asyncoro", 1234)])
def test_clients_with_a_keyboard_chat(package, port):
    """They read the keyboard on the thread of a pool, which must not keep them from ending."""
    with example(package, "chat_server") as server:
        until_listening(port)
        with example(package, "chat_client") as one, example(package, "chat_client") as two:
            # The first words may come before the other one is known to the server.
            deadline = time.monotonic() + WAIT
            while "hello" not in two.stdout and time.monotonic() < deadline:
                one.write("hello\n")
                time.sleep(0.1)
            two.write("how are you\n")
            one.expect("how are you")
            one.write("quit\n")
            assert one.end() == 0, one.stderr
            two.write("exit\n")
            assert two.end() == 0, two.stderr
        server.write("quit\n")
        assert server.end() == 0, server.stderr


def frame(payload):
    return len(payload).to_bytes(4, "big") + payload


def messages(client, count):
    """Receives messages from a plain socket, fewer if no more come."""
    received = []
    while len(received) < count:
        try:
            head = read_exactly(client, 4)
            received.append(read_exactly(client, int.from_bytes(head, "big")))
        except TimeoutError:
            break
    return received


# The last one: after it the port is often kept for a minute.
def test_clients_send_to_tut_sock_server(port_8010_without_reuse):
    clients_send_to_a_server("asyncoro", "tut_sock_server", "tut_sock_client")


def clients_send_to_a_server(package, server, client):
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
