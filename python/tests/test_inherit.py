"""Tests listeners that go from one process to the next."""

import os
import socket
import subprocess
import sys

import pytest

import asyncoro

from harness import Program, go

WAIT = 20

ONE = """
import asyncoro, sys

def handler(client, address):
    while line := (yield client.recv_line()):
        yield client.sendall(sys.argv[1].encode() + b" " + line + b"\\n")

async def main():
    listener = asyncoro.listener("127.0.0.1:0")
    print("port", listener.getsockname()[1], flush=True)
    server = asyncoro.Server(listener)

    def commands():
        while True:
            line = yield asyncoro.wait_future(pool.submit(sys.stdin.readline))
            if line == "next\\n":
                following = [sys.executable, sys.argv[0], "second"]
                started.append(asyncoro.inheriting(following, listener, "http"))
            if line == "release\\n":
                server.release()
                return

    import concurrent.futures
    pool = concurrent.futures.ThreadPoolExecutor()
    started = []
    if sys.argv[1] == "first":
        asyncoro.Coro(commands)
    print(await server.serve(handler), flush=True)
    print("ended", flush=True)
    if started:
        sys.stdin.readline()
    for each in started:
        each.terminate()
        print("exit code", each.wait(), flush=True)

if __name__ == "__main__":
    asyncoro.run_until(main())
"""


def ask(sock, text):
    sock.sendall(text + b"\n")
    return sock.makefile("rb").readline()


def connected(port):
    sock = socket.create_connection(("127.0.0.1", port), WAIT)
    sock.settimeout(WAIT)
    return sock


def test_the_next_process_inherits_the_listener(tmp_path):
    path = tmp_path / "server.py"
    path.write_text(ONE)
    with Program(command=[sys.executable, str(path), "first"]) as program:
        program.expect("port")
        program.expect("\n")
        port = int(program.stdout.split()[1])
        with connected(port) as old:
            assert ask(old, b"hello") == b"first hello\n"
            program.write("next\n")
            program.expect("port %d" % port, times=2)
            program.write("release\n")
            # What has begun goes on, and nobody is refused.
            answers = set()
            while b"second again\n" not in answers:
                with connected(port) as sock:
                    answers.add(ask(sock, b"again"))
            assert answers <= {b"first again\n", b"second again\n"}
        program.expect("ended")
        with connected(port) as sock:
            assert ask(sock, b"still") == b"second still\n"
        program.write("stop\n")
        program.expect("exit code 0")
        assert program.end() == 0


def test_listeners_are_handed_over_by_name():
    async def main(coro=None):
        one, two = socket.socketpair()
        one, two = asyncoro.AsyncSocket(one), asyncoro.AsyncSocket(two)
        http, admin = [asyncoro.create_server("127.0.0.1:0") for _ in range(2)]
        handing = asyncoro.Coro(asyncoro.hand_over, one, {"http": http, "admin": admin})
        taken = await asyncoro.take_over(two)
        assert list(taken.listeners) == ["http", "admin"]
        assert handing.is_alive()
        addresses = [each.getsockname() for each in taken.listeners.values()]
        assert addresses == [http.getsockname(), admin.getsockname()]
        await taken.ready()
        await handing
        http.close()
        client = await asyncoro.create_connection(addresses[0])
        conn, _ = await taken.listeners["http"].accept()
        await client.send_msg(b"hello")
        return bytes(await conn.recv_msg())

    assert go(main) == b"hello"


def test_who_hands_over_is_told_if_the_other_fails():
    async def main(coro=None):
        one, two = socket.socketpair()
        one, two = asyncoro.AsyncSocket(one), asyncoro.AsyncSocket(two)
        server = asyncoro.create_server("127.0.0.1:0")
        handing = asyncoro.Coro(asyncoro.hand_over, one, {"http": server})
        taken = await asyncoro.take_over(two)
        # The socket itself lives on.
        del taken
        with pytest.raises(EOFError):
            await handing
        for bad in ({}, {"": server}, {"a\nb": server}):
            with pytest.raises(ValueError):
                await asyncoro.hand_over(one, bad)

    go(main)


def test_what_is_no_list_of_listeners_is_refused():
    async def main(coro=None):
        for data, error in ((b"http\n\n", ValueError), (b"http\n", EOFError)):
            one, two = socket.socketpair()
            with one:
                one.sendall(data)
            with pytest.raises(error):
                await asyncoro.take_over(asyncoro.AsyncSocket(two))

    go(main)


def in_child(source, tmp_path, **variables):
    """Runs a program with a listener at descriptor 3, as a service manager does."""
    path = tmp_path / "child.py"
    path.write_text(source)
    script = 'export LISTEN_PID=%s; exec "$0" "$@" 3<&0 </dev/null' % variables.pop("pid", "$$")
    environment = {**os.environ, "LISTEN_FDS": "1", **variables}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = subprocess.run(
            ["/bin/sh", "-c", script, sys.executable, str(path)], stdin=listener.fileno(),
            env=environment, capture_output=True, text=True, timeout=60,
        )
        return result, listener.getsockname()[1]


def test_socket_activation(tmp_path):
    source = """
import asyncoro, os
((name, sock),) = asyncoro.inherited()
print(name, sock.getsockname()[1], os.get_inheritable(sock.fileno()))
print(asyncoro.inherited(), [name for name in os.environ if name.startswith("LISTEN")])
"""
    result, port = in_child(source, tmp_path, LISTEN_FDNAMES="http")
    assert result.stdout == "http %d False\n[] []\n" % port, result.stderr
    for names in ({}, {"LISTEN_FDNAMES": ":http"}):
        result, port = in_child(source, tmp_path, **names)
        assert result.stdout.startswith("unknown %d False" % port), result.stderr


def test_what_is_for_another_process_is_left_alone(tmp_path):
    source = "import asyncoro; print(asyncoro.inherited())"
    result, _ = in_child(source, tmp_path, pid="1")
    assert result.stdout == "[]\n", result.stderr


def test_nonsense_in_the_environment_is_told(tmp_path):
    source = "import asyncoro; asyncoro.inherited()"
    result, _ = in_child(source, tmp_path, LISTEN_FDS="many")
    assert "LISTEN_FDS is no number" in result.stderr
    result, _ = in_child(source, tmp_path, LISTEN_FDS="3")
    assert "OSError" in result.stderr
