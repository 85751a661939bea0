"""Programs of `python/examples`: the chat, between its own clients and with some that do not read,
the protocol of lines, remote calls, the supervisor, the forwarder, and the pipeline over processes.
"""

import pathlib
import select
import signal
import socket
import sys
import time

import asyncoro
import pytest
from harness import WAIT, Program, parallel, read_exactly

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
STYLES = ["yield", "await"]


def example(name, *arguments):
    return Program(command=[sys.executable, str(EXAMPLES / (name + ".py")), *arguments])


def address_of(server):
    server.expect("listening on ")
    host, port = server.stdout.split()[-1].rsplit(":", 1)
    return host, int(port)


@pytest.mark.parametrize("style", STYLES)
def test_the_chat_passes_lines_on(style):
    with example("chat_server_" + style, "0") as server:
        address = address_of(server)
        port = str(address[1])
        with example("chat_client_" + style, port) as one:
            until_in(one, address)
            with example("chat_client_" + style, port) as two:
                until_in(two, address)
                one.write("first\n")
                two.expect("says: first")
                two.write("".join("line %d\n" % number for number in range(1000)))
                two.write("quit\n")
                assert two.end() == 0, two.stderr
                one.expect("says: line 999")
                one.expect("left")
            assert one.end() == 0, one.stderr


@pytest.mark.parametrize("style", STYLES)
def test_the_chat_disconnects_clients_that_do_not_read(style):
    with example("chat_server_" + style, "0") as server:
        address = address_of(server)
        deaf = [socket.create_connection(address, WAIT) for _ in range(3)]
        talker = asyncoro.AsyncSocket(socket.create_connection(address, WAIT), blocking=True)
        talker.settimeout(WAIT)
        # The others join before it speaks.
        for sock in deaf:
            sock.sendall(b"\0\0\0\4here")
        heard, said = 0, 0
        while heard < len(deaf):
            assert said < 64 << 20, "all of it is kept for clients that do not read"
            talker.send_msg(bytes(8 << 10))
            said += 8 << 10
            if readable(talker):
                heard += talker.recv(1 << 16).count(b" left")
        talker.close()
        for sock in deaf:
            sock.close()


@pytest.mark.parametrize("style", STYLES)
def test_the_rooms_of_a_chat(style):
    with example("chat_rooms_" + style, "0") as server:
        address = address_of(server)
        one, two, three = [
            asyncoro.AsyncSocket(socket.create_connection(address, WAIT), blocking=True)
            for _ in range(3)
        ]
        for sock in (one, two, three):
            sock.settimeout(WAIT)
        names = [b"%d" % sock.getsockname()[1] for sock in (one, two, three)]
        for name in names[1:]:
            assert one.recv_msg() == name + b" has come to lobby"
        three.send_msg(b"/join corner")
        assert one.recv_msg() == names[2] + b" left"
        two.send_msg(b"to the lobby")
        three.send_msg(b"to the corner")
        assert one.recv_msg() == names[1] + b" says: to the lobby"
        assert three.recv_msg() == names[2] + b" says: to the corner"
        one.send_msg(b"/join corner")
        assert three.recv_msg() == names[0] + b" has come to corner"
        heard = [two.recv_msg() for _ in range(4)]
        assert heard == [
            names[2] + b" has come to lobby", names[2] + b" left",
            names[1] + b" says: to the lobby", names[0] + b" left",
        ]
        for sock in (one, two, three):
            sock.close()


@pytest.mark.parametrize("style", STYLES)
def test_a_chat_room_disconnects_who_does_not_read(style):
    with example("chat_rooms_" + style, "0") as server:
        address = address_of(server)
        healthy, deaf, talker = [
            asyncoro.AsyncSocket(socket.create_connection(address, WAIT), blocking=True)
            for _ in range(3)
        ]
        healthy.settimeout(WAIT)
        talker.settimeout(WAIT)
        name = b"%d left" % deaf.getsockname()[1]
        for _ in range(2):
            assert b"has come" in healthy.recv_msg()
        deadline = time.monotonic() + WAIT
        while True:
            # In step: what the healthy one hears is never far behind.
            talker.send_msg(bytes(8 << 10))
            assert time.monotonic() < deadline, "one that does not read is not disconnected"
            message = healthy.recv_msg()
            if message == name:
                break
            assert len(message) > 8 << 10
            while readable(talker):
                talker.recv_msg()
        # However much was said, no more than 1,000 lines of it were kept.
        assert peak(server.pid) < 128 << 10
        for sock in (healthy, deaf, talker):
            sock.close()


@pytest.mark.parametrize("style", STYLES)
def test_the_store_answers_line_by_line(style):
    with example("lines_" + style) as program:
        assert program.end() == 0, program.stderr
        assert program.stdout.splitlines() == [
            "OK", "blue", "(nothing)", "ERROR: SET, GET or QUIT",
        ]


@pytest.mark.parametrize("style", STYLES)
def test_the_supervisor_restarts_gives_up_and_stops(style):
    with example("supervisor_" + style) as program:
        assert program.end() == 0, program.stderr
        assert program.stdout.splitlines()[-1].startswith("ok: ")
        assert program.stdout.count("hopeless, failure") == 5
        assert program.stdout.count("shaky, failure") == 2


@pytest.mark.parametrize("style", STYLES)
def test_the_pipeline_counts_words(style, tmp_path):
    words = ["one"] * 4000 + ["two"] * 7000 + ["three"] * 5 + ["four"] * 3
    path = tmp_path / "words"
    path.write_text("".join(" ".join(words[at::7]) + "\n" for at in range(7)))
    with example("pipeline_" + style, str(path)) as program:
        assert program.end() == 0, program.stderr
        lines = [line.split() for line in program.stdout.splitlines()]
        assert lines[0] == ["exit", "code:", "0"]
        assert lines[1:] == [["1", "7000", "two"], ["2", "4000", "one"], ["3", "5", "three"]]


@pytest.mark.parametrize("style", STYLES)
def test_calls_find_their_answers_and_a_lost_connection_is_made_anew(style):
    with example("rpc_" + style) as program:
        assert program.end() == 0, program.stderr
        lines = program.stdout.splitlines()
        assert lines[:1] == ["hello world"]
        assert "no answer in 0.1 s" in lines and "the connection was lost" in lines
        assert lines[-1] == "again: 42"


@pytest.mark.parametrize("style", STYLES)
def test_the_forwarder_passes_on_and_ends_well(style):
    with socket.create_server(("127.0.0.1", 0)) as target:
        address = "%s:%s" % target.getsockname()
        with example("forwarder_" + style, "127.0.0.1:0", address) as program:
            client = socket.create_connection(address_of(program), WAIT)
            server, _ = target.accept()
            for sock in (client, server):
                sock.settimeout(WAIT)
            data = bytes(range(256)) * 4096
            sending = parallel(client.sendall, data)
            assert read_exactly(server, len(data)) == data
            sending.result()
            # What has begun goes on after the signal, in both directions.
            program.interrupt(signal.SIGTERM)
            server.sendall(b"answer")
            assert read_exactly(client, 6) == b"answer"
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
            server.close()
            assert client.recv(1) == b""
            client.close()
            assert program.end() == 0, program.stderr
            assert "Served(connections=1, failed=0, idle=0, forced=0)" in program.stdout


def peak(pid):
    """Returns the most memory that a process has had, in KiB."""
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def until_in(client, address):
    """Waits until a client hears of others that join."""
    for _ in range(100):
        socket.create_connection(address, WAIT).close()
        try:
            return client.expect("joined", seconds=WAIT / 100)
        except AssertionError:
            pass
    client.expect("joined")


def readable(sock):
    """Returns whether something can be received at once."""
    return bool(select.select([sock], [], [], 0)[0])
