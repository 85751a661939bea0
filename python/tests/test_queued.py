"""What a verb has accepted leaves although the coroutine then blocks the scheduler's thread."""

import socket
import subprocess
import sys
import threading
import time

import asyncoro
import pytest
from harness import WAIT, also_await, done, go, run_program

#: A process that ends when it has received as many bytes as it is told.
READER = """
import socket, sys
sock, count = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
sock.setblocking(True)
while count > 0:
    count -= len(sock.recv(min(count, 1 << 20))) or count
"""


def reader(there, count):
    command = [sys.executable, "-c", READER, str(there.fileno()), str(count)]
    return subprocess.Popen(command, pass_fds=[there.fileno()])


@also_await
def test_a_message_leaves_before_the_coroutine_waits_for_a_child():
    here, there = socket.socketpair()

    def stops_child():
        sock = asyncoro.AsyncSocket(here)
        child = reader(there, 8)
        yield sock.send_msg(b"quit")
        return child.wait(WAIT)

    assert go(stops_child) == 0


@also_await
def test_a_message_leaves_before_the_coroutine_receives_the_answer_itself():
    here, there = socket.socketpair()
    answers, questions = socket.socketpair()
    answers.settimeout(WAIT)

    def serve():
        questions.sendall(there.recv(100))

    def asks():
        sock = asyncoro.AsyncSocket(here)
        for count in range(1, 20):
            thread = threading.Thread(target=serve)
            thread.start()
            yield sock.sendall(b"x" * count)
            assert len(answers.recv(100)) == count
            thread.join()

    go(asks)


@also_await
def test_a_message_leaves_while_the_coroutine_computes():
    here, there = socket.socketpair()
    arrived = []

    def receive():
        arrived.append(there.recv(100))

    thread = threading.Thread(target=receive)
    thread.start()

    def computes():
        sock = asyncoro.AsyncSocket(here)
        deadline = time.monotonic() + WAIT
        yield sock.send_msg(b"now")
        while not arrived:
            assert time.monotonic() < deadline
        return arrived[0]

    assert go(computes) == b"\0\0\0\3now"
    thread.join()


@also_await
def test_messages_of_a_long_resume_leave_one_by_one():
    here, there = socket.socketpair()
    there.settimeout(WAIT)

    def talks():
        sock = asyncoro.AsyncSocket(here)
        for count in range(1, 10):
            yield sock.send_msg(b"x" * count)
            assert there.recv(100) == bytes([0, 0, 0, count]) + b"x" * count

    go(talks)


@also_await
def test_all_sockets_of_a_turn_are_flushed():
    pairs = [socket.socketpair() for _ in range(20)]

    def writes(here):
        yield asyncoro.AsyncSocket(here).sendall(b"all")

    def blocks():
        for _, there in pairs:
            there.settimeout(WAIT)
            assert there.recv(100) == b"all"
        yield asyncoro.sleep(0)

    def main():
        coros = [asyncoro.Coro(writes, here) for here, _ in pairs]
        coros.append(asyncoro.Coro(blocks))
        for coro in coros:
            yield coro.finish()
        return coros

    for coro in go(main):
        done(coro)


@also_await
def test_more_than_the_system_takes_leaves_as_the_peer_reads():
    here, there = socket.socketpair()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    count, sent = 12_000, []

    def fills():
        sock = asyncoro.AsyncSocket(here)
        sock.settimeout(0.05)
        for _ in range(4):
            yield sock.sendall(b"x" * count)
            sent.append(count)
        child = reader(there, count * len(sent))
        return child.wait(WAIT)

    def never(coro=None):
        yield coro.sleep()

    asleep = asyncoro.Coro(never)
    assert go(fills) == 0
    asleep.terminate()


@also_await
def test_tls_records_leave_too(certificates):
    listener = asyncoro.AsyncSocket(
        asyncoro.create_server(("127.0.0.1", 0)),
        certfile=certificates.chain,
        keyfile=certificates.key,
    )
    arrived, address = threading.Event(), listener.getsockname()

    def receive():
        sock = asyncoro.AsyncSocket(socket.socket(), blocking=True, cafile=certificates.chain)
        sock.settimeout(WAIT)
        sock.connect(("localhost", address[1]))
        if sock.recv_msg() == b"secret":
            arrived.set()
        sock.close()

    def serves():
        connection, _ = yield listener.accept()
        yield connection.send_msg(b"secret")
        came = arrived.wait(WAIT)
        connection.close()
        return came

    thread = threading.Thread(target=receive)
    thread.start()
    assert go(serves) is True
    thread.join()
    listener.close()


def test_a_later_scheduler_and_that_of_a_child_do_it_too():
    ran = run_program(
        """
        import subprocess

        def talks():
            here, there = socket.socketpair()
            there.settimeout(5)
            sock = asyncoro.AsyncSocket(here)
            yield sock.sendall(b"x")
            return there.recv(10)

        for _ in range(3):
            assert asyncoro.Coro(talks).value(5) == b"x"
            asyncoro.AsynCoro().terminate()
        assert asyncoro.Coro(talks).value(5) == b"x"
        child = os.fork()
        if child == 0:
            os._exit(asyncoro.Coro(talks).value(5) != b"x")
        assert os.waitpid(child, 0)[1] == 0
        assert asyncoro.Coro(talks).value(5) == b"x"
        print("done")
        """
    )
    assert ran.stdout == "done\n", ran.stderr


@pytest.mark.parametrize("blocks", ["time.sleep(30)", "while True: pass"])
def test_a_program_ends_while_a_daemon_keeps_its_queue_back(blocks):
    ran = run_program(
        f"""
        here, there = socket.socketpair()
        there.settimeout(5)

        def keeps(coro=None):
            coro.set_daemon()
            sock = asyncoro.AsyncSocket(here)
            yield sock.sendall(b"x")
            {blocks}

        asyncoro.Coro(keeps)
        assert there.recv(10) == b"x"
        print("done", flush=True)
        os._exit(0)
        """
    )
    assert ran.stdout == "done\n", ran.stderr
    assert ran.process.returncode == 0
