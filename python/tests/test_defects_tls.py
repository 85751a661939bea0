"""Tests that the originals' defects of TLS, 4.13 to 4.17 of the reference, are gone."""

import os
import socket
import ssl
import time

import pytest

from asyncoro import AsyncSocket, Coro
from harness import WAIT, also_await, done, go, parallel, read_exactly, tcp_pair

SIZE = 5_000_000


def listener_of(certificates, **options):
    listener = socket.create_server(("127.0.0.1", 0))
    return AsyncSocket(
        listener, keyfile=certificates.key, certfile=certificates.chain, **options
    )


@also_await
def test_4_13_large_transfers_both_ways_at_once(certificates):
    listener = listener_of(certificates)

    def write(sock, coro=None):
        yield sock.sendall(bytes(SIZE))

    def read(sock, coro=None):
        return len((yield sock.recvall(SIZE)))

    def both(sock):
        writer, reader = Coro(write, sock), Coro(read, sock)
        yield writer.finish()
        return (yield reader.finish())

    def serve(coro=None):
        conn, _ = yield listener.accept()
        return (yield both(conn))

    def main(coro=None):
        serving = Coro(serve)
        sock = AsyncSocket(socket.socket(), certfile=certificates.chain)
        yield sock.connect(listener.getsockname())
        mine = yield both(sock)
        theirs = yield serving.finish()
        sock.close()
        return mine, theirs

    assert go(main) == (SIZE, SIZE)
    listener.close()


@also_await
@pytest.mark.parametrize("first", ["client", "server"])
def test_4_14_close_leaves_no_descriptor_behind(certificates, first):
    listener = listener_of(certificates)

    def serve(coro=None):
        coro.set_daemon()
        while True:
            conn, _ = yield listener.accept()
            if first == "server":
                conn.close()
            else:
                assert (yield conn.recv(10)) == b""
                conn.close()

    def client(coro=None):
        sock = AsyncSocket(socket.socket(), certfile=certificates.chain)
        yield sock.connect(listener.getsockname())
        if first == "server":
            assert (yield sock.recv(10)) == b""
        sock.close()

    serving = Coro(serve)
    go(client)
    time.sleep(0.3)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        go(client)
    deadline = time.monotonic() + 6
    while len(os.listdir("/proc/self/fd")) > before + 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert serving.is_alive()
    serving.terminate()
    listener.close()


@also_await
def test_4_15_bad_clients_do_not_end_an_accept_loop(certificates):
    listener = listener_of(certificates)

    def serve(coro=None):
        conn, _ = yield listener.accept()
        data = yield conn.recv(10)
        conn.close()
        return data

    server = Coro(serve)
    address = listener.getsockname()
    with socket.create_connection(address) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
    socket.create_connection(address).close()
    with socket.create_connection(address, timeout=WAIT) as plain:
        with pytest.raises(OSError):
            wrong = ssl.create_default_context(cafile=certificates.wrong)
            wrong.wrap_socket(plain, server_hostname="localhost")
    time.sleep(0.1)
    assert server.is_alive()
    context = ssl.create_default_context(cafile=certificates.chain)
    with socket.create_connection(address, timeout=WAIT) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"hello")
            assert done(server) == b"hello"
    listener.close()


def connecting(certificates, chain=None, key=None, **options):
    """Connects to our server and reads `hi`; returns what comes of it, or the error."""
    listener = AsyncSocket(
        socket.create_server(("127.0.0.1", 0)),
        certfile=chain or certificates.chain, keyfile=key or certificates.key,
    )

    def serve(coro=None):
        coro.set_daemon()
        conn, _ = yield listener.accept()
        yield conn.sendall(b"hi")
        conn.close()

    def main(coro=None):
        sock = AsyncSocket(socket.socket(), **options)
        try:
            yield sock.connect(listener.getsockname())
            return (yield sock.recvall(2))
        except OSError as error:
            return error
        finally:
            sock.close()

    server = Coro(serve)
    outcome = go(main)
    server.terminate()
    listener.close()
    return outcome


def test_4_16_a_name_is_checked(certificates):
    def connect(**options):
        return connecting(
            certificates, cafile=certificates.ca, chain=certificates.issued,
            key=certificates.issued_key, **options
        )

    assert connect() == b"hi"
    assert connect(server_name="localhost") == b"hi"
    error = connect(server_name="elsewhere.example")
    assert isinstance(error, ssl.SSLCertVerificationError), repr(error)


def test_4_16_a_certificate_that_is_trusted_itself_may_have_any_name(certificates):
    ca = certificates.chain
    assert connecting(certificates, cafile=ca) == b"hi"
    assert connecting(certificates, cafile=ca, server_name="localhost") == b"hi"


def test_4_16_unverified_only_by_a_dangerous_name(certificates):
    assert connecting(certificates, danger_unverified=True) == b"hi"
    wrong = connecting(certificates, cafile=certificates.wrong)
    assert isinstance(wrong, ssl.SSLCertVerificationError), repr(wrong)


@pytest.mark.parametrize("version, is_offered", [
    (ssl.PROTOCOL_TLS, {"TLSv1.2", "TLSv1.3"}), (ssl.PROTOCOL_TLSv1_2, {"TLSv1.2"}),
    (None, {"TLSv1.2", "TLSv1.3"}),
])
def test_4_16_ssl_version_is_obeyed(certificates, version, is_offered):
    listener = listener_of(certificates, ssl_version=version)

    def serve(coro=None):
        coro.set_daemon()
        while True:
            conn, _ = yield listener.accept()
            yield conn.sendall(b"hi")
            conn.close()

    server = Coro(serve)
    offered = set()
    for wanted in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=certificates.chain)
        context.minimum_version = context.maximum_version = wanted
        with socket.create_connection(listener.getsockname(), timeout=WAIT) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="localhost") as client:
                    assert read_exactly(client, 2) == b"hi"
                    offered.add(client.version())
            except ssl.SSLError:
                pass
    assert offered == is_offered
    server.terminate()
    listener.close()


def test_4_16_older_versions_are_refused(certificates):
    for name in ("PROTOCOL_TLSv1", "PROTOCOL_TLSv1_1"):
        version = getattr(ssl, name, None)
        if version is not None:
            with pytest.raises(ValueError):
                listener_of(certificates, ssl_version=version)


def test_4_16_a_key_may_stand_in_the_file_of_the_certificate(certificates):
    listener = AsyncSocket(
        socket.create_server(("127.0.0.1", 0)), certfile=certificates.both
    )

    def main(coro=None):
        conn, _ = yield listener.accept()
        yield conn.sendall(b"hi")
        conn.close()

    server = Coro(main)
    context = ssl.create_default_context(cafile=certificates.both)
    with socket.create_connection(listener.getsockname(), timeout=WAIT) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            assert read_exactly(client, 2) == b"hi"
    done(server)
    listener.close()


def test_4_16_a_client_shows_its_own_certificate(certificates):
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=certificates.client_chain
    )
    context.load_cert_chain(certificates.chain, certificates.key)
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        plain, _ = listener.accept()
        plain.settimeout(WAIT)
        with context.wrap_socket(plain, server_side=True) as conn:
            conn.sendall(b"hi")
            return conn.getpeercert() != {}

    server = parallel(serve)

    def main(coro=None):
        sock = AsyncSocket(
            socket.socket(), keyfile=certificates.client_key,
            certfile=certificates.client_chain, cafile=certificates.chain,
        )
        yield sock.connect(listener.getsockname())
        return (yield sock.recvall(2))

    assert go(main) == b"hi"
    assert server.result() is True


def test_blocking_sockets_speak_tls_too(certificates):
    listener = listener_of(certificates, blocking=True)

    def serve():
        conn, _ = listener.accept()
        with conn:
            conn.send_msg(conn.recv_msg() * 2)

    server = parallel(serve)
    sock = AsyncSocket(socket.socket(), blocking=True, certfile=certificates.chain)
    sock.connect(listener.getsockname())
    sock.send_msg(b"hi")
    assert sock.recv_msg() == b"hihi"
    assert sock.recv(1) == b""
    sock.close()
    server.result()


def test_alpn_is_agreed_upon(certificates):
    listener = listener_of(certificates, alpn=["h2", "http/1.1"])

    def serve(coro=None):
        conn, _ = yield listener.accept()
        yield conn.sendall(b"hi")
        conn.close()

    server = Coro(serve)
    context = ssl.create_default_context(cafile=certificates.chain)
    context.set_alpn_protocols(["http/1.1"])
    with socket.create_connection(listener.getsockname(), timeout=WAIT) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            assert client.selected_alpn_protocol() == "http/1.1"
            assert read_exactly(client, 2) == b"hi"
    done(server)
    listener.close()


@pytest.mark.parametrize("blocking", [False, True])
def test_4_17_what_speaks_tls_already_is_refused(blocking):
    one, _other = tcp_pair()
    context = ssl.create_default_context()
    wrapped = context.wrap_socket(one, server_hostname="x", do_handshake_on_connect=False)
    for wrong in (wrapped, context):
        with pytest.raises((TypeError, ValueError), match="(?i)ssl|tls"):
            AsyncSocket(wrong, blocking=blocking)
