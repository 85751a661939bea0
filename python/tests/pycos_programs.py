"""Programs for real pycos 4.12.2, the other end of the tests that need one."""

import os

import pytest

from harness import Program

#: Answers each message with `re:` and the message; prints its port, ends with its input.
SERVER = """
import socket, sys
import pycos
def process(conn, task=None):
    while True:
        message = yield conn.recv_msg()
        if not message:
            break
        yield conn.send_msg(b"re:" + message)
    conn.close()
def server(sock, task=None):
    task.set_daemon()
    while True:
        conn, _ = yield sock.accept()
        pycos.Task(process, conn)
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1])
pycos.Task(server, pycos.AsyncSocket(listener))
sys.stdin.read()
"""

#: Sends 5, 3,000,000 and 3 bytes to the port it is given and prints what comes back.
#: With a second argument, the path of a CA file, it speaks TLS.
CLIENT = """
import socket, sys
import pycos
ca = sys.argv[2] if len(sys.argv) > 2 else None
def client(port, task=None):
    sock = pycos.AsyncSocket(socket.socket(), certfile=ca)
    yield sock.connect(("127.0.0.1", port))
    for message in (b"12345", bytes(3_000_000), b"abc"):
        yield sock.send_msg(message)
        reply = yield sock.recv_msg()
        print("got", len(reply), bytes(reply[:3]))
    sock.close()
pycos.Task(client, int(sys.argv[1])).value()
"""


def pycos_program(source, *arguments):
    python = os.environ.get("ASYNCORO_PYCOS_PYTHON")
    if not python:
        pytest.skip("ASYNCORO_PYCOS_PYTHON, a Python with pycos 4.12.2, is not set")
    return Program(command=[python, "-c", source, *arguments])
