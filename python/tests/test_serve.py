"""Tests serve and Server."""

import asyncio
import logging
import signal
import socket
import time

import pytest

import asyncoro
from asyncoro import Coro

from harness import Program, done, go, reset

WAIT = 20


def listening(**options):
    return asyncoro.create_server("127.0.0.1:0", **options)


def client_of(server):
    """Returns a plain socket that is connected."""
    sock = socket.create_connection(server.getsockname(), WAIT)
    sock.settimeout(WAIT)
    return sock


def echo(client, address):
    while data := (yield client.recv(4096)):
        yield client.sendall(data)


def started(server, handler):
    """Serves in a coroutine."""
    return Coro(server.serve, handler)


def talk(sock, data=b"hello"):
    sock.sendall(data)
    assert sock.recv(100) == data


def eventually(condition):
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# ---- From the beginning to the end


def test_a_server_serves_until_it_is_stopped():
    listener = listening()
    server = asyncoro.Server(listener)
    serving = started(server, echo)
    one, two = client_of(listener), client_of(listener)
    talk(one)
    talk(two)
    one.close()
    eventually(lambda: server.connections == 1)
    assert server.served == (2, 0, 0, 0)
    server.stop()
    two.close()
    assert done(serving) == asyncoro.Served(connections=2, failed=0, idle=0, forced=0)
    assert listener.fileno() == -1


def test_an_async_def_serves_too():
    listener = listening()
    server = asyncoro.Server(listener, signals=False)

    async def handler(client, address):
        await client.sendall(repr(address).encode())

    serving = started(server, handler)
    sock = client_of(listener)
    assert sock.makefile("rb").read() == repr(sock.getsockname()).encode()
    server.stop()
    assert done(serving).connections == 1


def test_several_listeners_have_one_handler(tmp_path):
    unix = asyncoro.create_server(str(tmp_path / "socket"))
    tcp = listening()
    server = asyncoro.Server(tcp, unix)
    serving = started(server, echo)
    with socket.socket(socket.AF_UNIX) as one, client_of(tcp) as two:
        one.connect(str(tmp_path / "socket"))
        one.settimeout(WAIT)
        talk(one)
        talk(two)
    server.stop()
    assert done(serving).connections == 2


def test_a_handler_that_fails_ends_its_connection_only(caplog):
    listener = listening()
    server = asyncoro.Server(listener)

    def handler(client, address):
        data = yield client.recv(100)
        if data == b"bad":
            raise KeyError("bad request")
        yield client.sendall(data)

    serving = started(server, handler)
    with client_of(listener) as bad, client_of(listener) as good:
        bad.sendall(b"bad")
        assert bad.recv(100) == b""
        talk(good)
    server.stop()
    assert done(serving) == (2, 1, 0, 0)
    assert "bad request" in caplog.text and "Traceback" in caplog.text


def test_a_handler_whose_future_is_cancelled_ends_its_connection_only(caplog):
    async def main():
        listener = listening()
        server = asyncoro.Server(listener, signals=False)
        waited = asyncio.get_running_loop().create_future()

        async def handler(client, address):
            if await client.recv(100) == b"wait":
                await waited
            await client.sendall(b"here")

        serving = asyncio.ensure_future(server.serve(handler))
        bad = await asyncoro.create_connection(listener.getsockname())
        good = await asyncoro.create_connection(listener.getsockname())
        await bad.sendall(b"wait")
        waited.cancel()
        assert await bad.recv(100) == b""
        await good.sendall(b"hello")
        assert await good.recv(100) == b"here"
        server.stop()
        return await serving

    assert asyncio.run(asyncio.wait_for(main(), WAIT)) == (2, 1, 0, 0)
    assert "CancelledError" in caplog.text


def test_a_peer_that_goes_is_no_error_of_the_program(caplog):
    caplog.set_level(logging.INFO)
    listener = listening()
    server = asyncoro.Server(listener)

    def handler(client, address):
        raise ConnectionResetError("gone")
        yield

    serving = started(server, handler)
    with client_of(listener) as sock:
        assert sock.recv(1) == b""
    server.stop()
    assert done(serving).failed == 1
    assert "gone" not in caplog.text


# ---- Limits


def test_at_its_limit_further_clients_wait():
    listener = listening()
    server = asyncoro.Server(listener, limit=2)
    serving = started(server, echo)
    one, two, three = [client_of(listener) for _ in range(3)]
    talk(one)
    talk(two)
    three.sendall(b"hello")
    three.settimeout(0.1)
    with pytest.raises(socket.timeout):
        three.recv(100)
    assert server.connections == 2
    one.close()
    three.settimeout(WAIT)
    assert three.recv(100) == b"hello"
    two.close()
    three.close()
    server.stop()
    assert done(serving).connections == 3


def test_an_idle_connection_is_closed_and_a_busy_one_is_not():
    listener = listening()
    server = asyncoro.Server(listener, idle_timeout=0.8)
    serving = started(server, echo)
    silent, busy = client_of(listener), client_of(listener)
    begun = time.monotonic()
    silent.setblocking(False)
    while time.monotonic() < begun + WAIT:
        talk(busy)
        try:
            assert silent.recv(1) == b""
            break
        except BlockingIOError:
            time.sleep(0.02)
    assert time.monotonic() - begun >= 0.7
    talk(busy)
    busy.close()
    server.stop()
    served = done(serving)
    assert (served.connections, served.idle, served.failed) == (2, 1, 0)


def test_misuse_is_told():
    with pytest.raises(TypeError):
        asyncoro.Server()
    with pytest.raises(TypeError):
        asyncoro.Server(socket.socket())
    listener = listening()
    with pytest.raises(ValueError):
        asyncoro.Server(listener, limit=0)
    for name in ("idle_timeout", "quiet", "grace"):
        with pytest.raises(ValueError):
            asyncoro.Server(listener, **{name: -1})
        with pytest.raises(TypeError):
            asyncoro.Server(listener, **{name: "1"})
    server = asyncoro.Server(listener)
    server.stop()
    assert go(server.serve, echo) == (0, 0, 0, 0)

    def again():
        with pytest.raises(RuntimeError):
            yield server.serve(echo)
        with pytest.raises(OSError):
            yield asyncoro.serve(listener, echo)

    go(again)


# ---- The end


def test_a_handler_is_told_and_finishes_what_it_does():
    listener = listening()
    server = asyncoro.Server(listener)

    def handler(client, address):
        while not asyncoro.is_stopping():
            data = yield client.recv(100)
            yield asyncoro.sleep(0.05)
            yield client.sendall(data)

    serving = started(server, handler)
    with client_of(listener) as sock:
        talk(sock)
        sock.sendall(b"last")
        eventually(lambda: server.connections == 1)
        server.stop()
        assert sock.recv(100) == b"last"
        assert sock.recv(100) == b""
    assert done(serving) == (1, 0, 0, 0)


def test_a_silent_connection_gets_the_end_of_the_stream():
    listener = listening()
    server = asyncoro.Server(listener, quiet=0.05)
    serving = started(server, echo)
    with client_of(listener) as sock:
        talk(sock)
        server.stop()
        assert sock.recv(100) == b""
        assert done(serving) == (1, 0, 0, 0)


def test_what_does_not_end_is_terminated_and_named(caplog):
    listener = listening()
    server = asyncoro.Server(listener, quiet=None, grace=0.05)
    cleaned = []

    def handler(client, address):
        try:
            yield client.recv(100)
        finally:
            yield asyncoro.sleep(0.01)
            cleaned.append(address)

    serving = started(server, handler)
    with client_of(listener) as sock:
        eventually(lambda: server.connections == 1)
        server.stop()
        assert sock.recv(1) == b""
        assert done(serving) == (1, 0, 0, 1)
        assert cleaned == [sock.getsockname()]
        assert str(sock.getsockname()) in caplog.text


def test_a_forced_end_tells_how_many_waited_for_the_limit(caplog):
    listener = listening()
    server = asyncoro.Server(listener, limit=1, grace=0.05)
    serving = started(server, lambda client, address: (yield asyncoro.sleep(WAIT * 10)))
    clients = [client_of(listener) for _ in range(3)]
    eventually(lambda: server.connections == 1)
    server.stop()
    assert done(serving) == (1, 0, 0, 1)
    assert "has closed 2 connections that nobody had served within" in caplog.text
    for each in clients:
        assert each.recv(1) == b""
        each.close()


def test_end_ends_at_once():
    listener = listening()
    server = asyncoro.Server(listener, quiet=None, grace=WAIT * 10)
    serving = started(server, echo)
    with client_of(listener):
        eventually(lambda: server.connections == 1)
        server.end()
        assert done(serving) == (1, 0, 0, 1)


def test_those_in_the_queue_are_served():
    listener = listening(backlog=20)
    server = asyncoro.Server(listener, limit=1)
    serving = started(server, echo)
    socks = [client_of(listener) for _ in range(10)]
    talk(socks[0])
    server.stop()
    for sock in socks:
        talk(sock)
        sock.close()
    assert done(serving) == (10, 0, 0, 0)


def test_release_leaves_the_queue_to_another():
    listener = listening(backlog=20)
    other = asyncoro.AsyncSocket(socket.socket(fileno=socket.dup(listener.fileno())))
    old, new = asyncoro.Server(listener, limit=1), asyncoro.Server(other)
    serving = started(old, echo)
    socks = [client_of(listener) for _ in range(5)]
    talk(socks[0])
    old.release()
    next_one = started(new, echo)
    for sock in socks:
        talk(sock)
        sock.close()
    assert done(serving).connections == 1
    new.stop()
    assert done(next_one).connections == 4


def test_a_scope_around_stops_it():
    listener = listening()

    async def main(coro=None):
        async with asyncoro.scope() as s:
            serving = s.spawn(asyncoro.serve, listener, echo)
            sock = await asyncoro.create_connection(listener.getsockname())
            await sock.sendall(b"hello")
            assert await sock.recv(100) == b"hello"
            s.stop()
            sock.close()
        return await serving

    assert go(main) == (1, 0, 0, 0)


def test_a_server_that_is_terminated_ends_its_connections():
    listener = listening()
    server = asyncoro.Server(listener)
    serving = started(server, echo)
    with client_of(listener) as sock:
        talk(sock)
        serving.terminate()
        assert sock.recv(100) == b""
        done(serving)
        address = sock.getpeername()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, WAIT)


def test_a_task_of_asyncio_serves():
    async def main():
        listener = listening()
        server = asyncoro.Server(listener, signals=False)
        serving = asyncio.ensure_future(server.serve(echo))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        server.stop()
        writer.close()
        return await serving

    assert asyncio.run(asyncio.wait_for(main(), WAIT)) == (1, 0, 0, 0)


# ---- Signals

PROGRAM = """
import asyncoro, sys

async def handler(client, address):
    print("begun", flush=True)
    while not asyncoro.is_stopping():
        line = await client.recv_line()
        if line is None:
            break
        await asyncoro.sleep(0.2)
        await client.sendall(b"answer to " + line + b"\\n")

async def main():
    listener = asyncoro.create_server("127.0.0.1:0")
    print(listener.getsockname()[1], flush=True)
    served = await asyncoro.serve(listener, handler, %s)
    print(served, flush=True)

asyncoro.%s(main()%s)
"""


def server_program(options="", run="run_until", asyncio=""):
    return Program(PROGRAM % (options, run, asyncio))


def port_of(program):
    program.expect("\n")
    return int(program.stdout.split()[0])


RUNS = [("run_until", ""), ("run", ""), ("run", ", asyncio=True")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("run, asyncio", RUNS)
def test_a_signal_ends_a_server_after_the_requests_that_were_begun(number, run, asyncio):
    with server_program(run=run, asyncio=asyncio) as program:
        with socket.create_connection(("127.0.0.1", port_of(program)), WAIT) as sock:
            sock.settimeout(WAIT)
            sock.sendall(b"one\n")
            program.expect("begun")
            program.interrupt(number)
            assert sock.makefile("rb").read() == b"answer to one\n"
        assert program.end() == 0
        assert "Served(connections=1, failed=0, idle=0, forced=0)" in program.stdout


def test_a_second_signal_ends_it_at_once():
    with server_program("quiet=None, grace=600") as program:
        with socket.create_connection(("127.0.0.1", port_of(program)), WAIT):
            program.expect("begun")
            program.interrupt(signal.SIGTERM)
            # It has heard the first one: nobody is accepted any more.
            def refused():
                try:
                    socket.create_connection(("127.0.0.1", port_of(program)), WAIT).close()
                except ConnectionRefusedError:
                    return True
                return False

            eventually(refused)
            program.interrupt(signal.SIGTERM)
            assert program.end() == 0
        assert "forced=1" in program.stdout


def test_at_the_limit_of_files_the_old_are_served_and_new_ones_when_there_is_room():
    source = """
import asyncoro, resource, time

async def handler(client, address):
    while data := await client.recv(100):
        await client.sendall(data + b" %.3f" % time.process_time())

async def main():
    listener = asyncoro.create_server("127.0.0.1:0", backlog=100)
    print(listener.getsockname()[1], flush=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    print(await asyncoro.serve(listener, handler), flush=True)

asyncoro.run_until(main())
"""
    with Program(source) as program:
        address = ("127.0.0.1", port_of(program))
        socks = [socket.create_connection(address, WAIT) for _ in range(60)]
        for sock in socks:
            sock.settimeout(WAIT)
            sock.sendall(b"hello")
        served = socks[:20]
        times = []
        for _ in range(3):
            for sock in served:
                times.append(float(sock.recv(100).split()[1]))
                sock.sendall(b"again")
            time.sleep(0.3)
        # It does not spin.
        assert times[-1] - times[0] < 0.5
        for sock in served:
            sock.close()
        # Room for others: as many as have gone.
        for sock in socks[20:45]:
            assert sock.recv(100).startswith(b"hello")
        for sock in socks:
            sock.close()
        program.interrupt(signal.SIGTERM)
        assert program.end() == 0
        assert "Served(connections=60, failed=" in program.stdout, program.stdout


# ---- What strangers do


def test_clients_that_reset_leave_their_slots():
    listener = listening()
    server = asyncoro.Server(listener, limit=3, signals=False)

    def handler(client, address):
        data = yield client.recv(100)
        yield asyncoro.sleep(0.05)
        yield client.sendall(data)

    serving = started(server, handler)
    for _ in range(4):
        socks = [client_of(listener) for _ in range(3)]
        for sock in socks:
            sock.sendall(b"bye")
        eventually(lambda: server.connections == 3)
        for sock in socks:
            reset(sock)
        eventually(lambda: server.connections == 0)
    with client_of(listener) as sock:
        talk(sock)
    server.stop()
    served = done(serving)
    # Each of those that have reset counts once at most.
    assert served.connections == 13 and served.failed <= 12


def test_a_queue_that_nobody_has_looked_at_is_served():
    listener = listening(backlog=100)
    server = asyncoro.Server(listener, signals=False)

    async def main(coro=None):
        serving = Coro(server.serve, echo)
        await asyncoro.sleep(0.05)
        # They connect while nothing else can run.
        socks = [client_of(listener) for _ in range(50)]
        server.stop()
        return serving, socks

    serving, socks = go(main)
    for sock in socks:
        talk(sock)
        sock.close()
    assert done(serving) == (50, 0, 0, 0)


def test_with_a_limit_those_that_come_after_the_stop_are_not_served():
    listener = listening(backlog=100)
    address = listener.getsockname()
    server = asyncoro.Server(listener, limit=1, signals=False)
    serving = started(server, echo)
    first, second = client_of(listener), client_of(listener)
    talk(first)
    server.stop()

    def refused():
        try:
            socket.create_connection(address, WAIT).close()
        except ConnectionRefusedError:
            return True
        return False

    # The listener is closed although the one that was queued waits.
    eventually(refused)
    first.close()
    talk(second)
    second.close()
    assert done(serving).forced == 0


def test_a_listener_without_clients_takes_no_slot():
    idle, used = listening(), listening()
    server = asyncoro.Server(idle, used, limit=1, signals=False)
    serving = started(server, echo)
    for _ in range(3):
        with client_of(used) as sock:
            talk(sock)
    server.stop()
    assert done(serving).connections == 3


def test_a_request_that_is_under_way_is_not_taken_for_silence():
    listener = listening()
    server = asyncoro.Server(listener, quiet=0.05, signals=False)

    async def handler(client, address):
        await client.recv(100)
        # As a library does that watches for its peer while it works.
        place, _ = await asyncoro.first(client.recv(1), asyncoro.sleep(0.5))
        await client.sendall(b"the end" if place == 0 else b"the answer")

    serving = started(server, handler)
    with client_of(listener) as sock:
        sock.sendall(b"question")
        eventually(lambda: server.connections == 1)
        time.sleep(0.05)
        server.stop()
        assert sock.recv(100) == b"the answer"
    assert done(serving) == (1, 0, 0, 0)


def test_a_failure_after_the_end_of_a_connection_is_told(caplog):
    listener = listening()
    server = asyncoro.Server(listener, quiet=0.05, signals=False)

    async def handler(client, address):
        await client.sendall(b"hello")
        assert await client.recv(100) == b""
        raise KeyError("not stored")

    serving = started(server, handler)
    with client_of(listener) as sock:
        assert sock.recv(5) == b"hello"
        server.stop()
        assert done(serving).failed == 1
    assert "not stored" in caplog.text


def test_after_another_stop_the_first_signal_cuts_nothing():
    source = """
import asyncoro, signal, os

async def handler(client, address):
    await client.recv(100)
    server.stop()
    await asyncoro.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncoro.sleep(0.2)
    await client.sendall(b"answer")

async def main():
    global server
    listener = asyncoro.create_server("127.0.0.1:0")
    print(listener.getsockname()[1], flush=True)
    server = asyncoro.Server(listener)
    print(await server.serve(handler), flush=True)

asyncoro.run_until(main())
"""
    with Program(source) as program:
        with socket.create_connection(("127.0.0.1", port_of(program)), WAIT) as sock:
            sock.sendall(b"request")
            assert sock.recv(100) == b"answer"
        assert program.end() == 0
        assert "forced=0" in program.stdout


def test_without_quiet_the_end_does_not_spin():
    listener = listening()
    server = asyncoro.Server(listener, quiet=None, signals=False)
    serving = started(server, echo)
    with client_of(listener) as sock:
        talk(sock)
        server.stop()
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.3
    assert done(serving) == (1, 0, 0, 0)
