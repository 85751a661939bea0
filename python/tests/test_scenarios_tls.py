"""Tests the scenarios S27 to S31: TLS with Python's `ssl` or real pycos as the other end."""

import socket
import ssl
import time

import pytest

from asyncoro import AsyncSocket, Coro
from harness import WAIT, also_await, done, go, parallel, read_exactly
from pycos_programs import CLIENT, pycos_program


def tls_listener(certificates):
    listener = socket.create_server(("127.0.0.1", 0))
    return AsyncSocket(listener, keyfile=certificates.key, certfile=certificates.chain)


def ssl_client(certificates, address):
    """Connects with Python's own `ssl`, which checks our certificate and name."""
    context = ssl.create_default_context(cafile=certificates.chain)
    plain = socket.create_connection(address, timeout=WAIT)
    return context.wrap_socket(plain, server_hostname="localhost")


def ssl_server(certificates, serve):
    """Starts a thread that accepts one connection with Python's own `ssl`; gives its address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.chain, certificates.key)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(WAIT)

    def accept():
        with listener:
            plain, _ = listener.accept()
        plain.settimeout(WAIT)
        with context.wrap_socket(plain, server_side=True) as conn:
            return serve(conn)

    return parallel(accept), listener.getsockname()


@also_await
def test_s27_a_server_for_a_client_of_pythons_ssl(certificates):
    listener = tls_listener(certificates)

    def main(coro=None):
        conn, _ = yield listener.accept()
        message = yield conn.recv_msg()
        yield conn.send_msg(message + message)
        conn.close()

    server = Coro(main)
    with ssl_client(certificates, listener.getsockname()) as client:
        client.sendall(b"\0\0\0\x02hi")
        assert read_exactly(client, 8) == b"\0\0\0\x04hihi"
        assert client.version() == "TLSv1.3"
    done(server)
    listener.close()


@also_await
def test_s27_a_server_for_a_client_of_pycos(certificates):
    listener = tls_listener(certificates)

    def main(coro=None):
        conn, _ = yield listener.accept()
        while True:
            message = yield conn.recv_msg()
            if not message:
                return message
            yield conn.send_msg(b"re:" + message)

    server = Coro(main)
    # Big messages over TLS are more than pycos can do (defect 4.13): it sends 100 bytes.
    small = CLIENT.replace("3_000_000", "100")
    port = str(listener.getsockname()[1])
    with pycos_program(small, port, certificates.chain) as client:
        assert done(server) == b""
        for length in (8, 103, 6):
            client.expect(f"got {length} b're:'")
    listener.close()


@also_await
def test_s28_a_client_trusts_the_file_it_is_given(certificates):
    server, address = ssl_server(certificates, lambda conn: conn.sendall(b"ping"))

    def main(coro=None):
        sock = AsyncSocket(socket.socket(), certfile=certificates.chain)
        connected = yield sock.connect(address)
        data = yield sock.recvall(4)
        sock.close()
        return connected, data

    assert go(main) == (0, b"ping")
    server.result()


@also_await
def test_s28_a_client_refuses_a_server_of_another_ca(certificates):
    server, address = ssl_server(certificates, lambda conn: conn.recv(1))

    def main(coro=None):
        sock = AsyncSocket(socket.socket(), certfile=certificates.wrong)
        try:
            yield sock.connect(address)
        except OSError as error:
            return error

    error = go(main)
    assert isinstance(error, ssl.SSLCertVerificationError), repr(error)
    with pytest.raises(OSError):
        server.result()


@also_await
def test_s29_a_large_sendall_to_a_slow_reader(certificates):
    listener = tls_listener(certificates)
    size = 20 * 1024 * 1024

    def main(coro=None):
        conn, _ = yield listener.accept()
        value = yield conn.sendall(bytes(size))
        conn.close()
        return value

    server = Coro(main)
    with ssl_client(certificates, listener.getsockname()) as client:
        time.sleep(0.4)
        assert len(read_exactly(client, size)) == size
    assert done(server) is None
    listener.close()


@also_await
def test_s30_a_silent_client_holds_up_nobody(certificates):
    listener = tls_listener(certificates)

    def main(coro=None):
        conn, _ = yield listener.accept()
        yield conn.sendall(b"second")
        conn.close()
        listener.settimeout(0.5)
        try:
            yield listener.accept()
        except socket.timeout:
            return "no other"

    server = Coro(main)
    silent = socket.create_connection(listener.getsockname())
    time.sleep(0.1)
    with ssl_client(certificates, listener.getsockname()) as client:
        assert read_exactly(client, 6) == b"second"
    silent.close()
    assert done(server) == "no other"
    listener.close()


@also_await
def test_s31_close_tells_the_peer(certificates):
    listener = tls_listener(certificates)

    def main(coro=None):
        conn, _ = yield listener.accept()
        yield conn.sendall(b"bye")
        conn.close()

    server = Coro(main)
    # No suppress_ragged_eofs: an end without close_notify would be an error.
    context = ssl.create_default_context(cafile=certificates.chain)
    plain = socket.create_connection(listener.getsockname(), timeout=WAIT)
    client = context.wrap_socket(
        plain, server_hostname="localhost", suppress_ragged_eofs=False
    )
    with client:
        assert client.recv(10) == b"bye"
        assert client.recv(10) == b""
    done(server)
    listener.close()
