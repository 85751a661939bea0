"""Errors are those of the standard library, and tell what they are about in the program's words."""

import errno
import os
import socket
import ssl

import pytest

import asyncoro
from harness import async_pair, closed_port, go


def failure(function, *args):
    """Runs a coroutine and returns what it raises."""
    with pytest.raises(BaseException) as caught:
        asyncoro.Coro(function, *args).result(10)
    return caught.value


async def connect(address):
    sock = asyncoro.AsyncSocket(socket.socket())
    try:
        await sock.connect(address)
    finally:
        sock.close()


async def create_connection(address, **options):
    (await asyncoro.create_connection(address, **options)).close()


@pytest.mark.parametrize("verb", [connect, create_connection])
def test_an_unknown_host_is_a_gaierror(verb):
    error = failure(verb, ("no-such-host.invalid", 80))
    assert type(error) is socket.gaierror
    with pytest.raises(socket.gaierror) as usual:
        socket.getaddrinfo("no-such-host.invalid", 80)
    assert error.args == usual.value.args
    assert error.filename == "no-such-host.invalid"


@pytest.mark.parametrize("verb", [connect, create_connection])
def test_a_refused_connection_is_that_of_socket_and_names_the_address(verb):
    address = closed_port()
    error = failure(verb, address)
    with pytest.raises(ConnectionRefusedError) as usual:
        socket.create_connection(address)
    assert type(error) is ConnectionRefusedError
    assert error.args == usual.value.args == (errno.ECONNREFUSED, os.strerror(error.errno))
    assert (error.errno, error.strerror) == error.args
    assert error.filename == "127.0.0.1:%d" % address[1]
    assert str(error) == "%s: '127.0.0.1:%d'" % (usual.value, address[1])


def test_a_blocking_connect_names_the_address_too():
    address = closed_port()
    with asyncoro.BlockingSocket(socket.socket()) as sock:
        with pytest.raises(ConnectionRefusedError) as caught:
            sock.connect(address)
        assert caught.value.args == (errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        assert caught.value.filename == "127.0.0.1:%d" % address[1]
        with pytest.raises(socket.gaierror) as caught:
            sock.connect(("no-such-host.invalid", 1))
        assert caught.value.filename == "no-such-host.invalid"


def test_a_unix_path_that_is_not_there_is_named(tmp_path):
    path = str(tmp_path / "absent")
    error = failure(create_connection, path)
    assert type(error) is FileNotFoundError and path in error.filename


@pytest.mark.parametrize("option", ["certfile", "keyfile", "cafile"])
def test_a_missing_file_is_told_where_it_is_given_with_its_name(certificates, tmp_path, option):
    absent = str(tmp_path / "absent.pem")
    options = dict(certfile=certificates.chain, keyfile=certificates.key, cafile=certificates.ca)
    options[option] = absent

    def check(make):
        with pytest.raises(FileNotFoundError) as caught:
            make()
        error = caught.value
        assert (error.errno, error.filename) == (errno.ENOENT, absent)
        assert str(error) == "[Errno 2] No such file or directory: %r" % absent

    with socket.socket() as plain:
        some = {"certfile": options["certfile"], option: absent}
        check(lambda: asyncoro.AsyncSocket(plain, **some))
        check(lambda: asyncoro.AsyncSocket(plain, blocking=True, **some))
        # It was not touched.
        assert plain.getblocking()
    check(lambda: asyncoro.create_server(("127.0.0.1", 0), **options))
    check(lambda: asyncoro.Coro(_connects, options).result(10))


async def _connects(options):
    await asyncoro.create_connection(("127.0.0.1", 1), **options)


def test_a_bad_certificate_or_key_is_told_where_it_is_given_by_the_name_of_its_option(
    certificates, tmp_path
):
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("hello")
    chain, key, garbage = certificates.chain, certificates.key, str(garbage)
    cases = [
        (dict(certfile=garbage), "certfile", garbage, "it is not PEM"),
        (dict(certfile=chain, keyfile=garbage), "keyfile", garbage, "it is not PEM"),
        (dict(certfile=garbage, keyfile=key), "certfile", garbage, "it is not PEM"),
        (dict(certfile=chain, keyfile=chain), "certfile", chain, "it holds CERTIFICATE"),
        (dict(certfile=chain, keyfile=certificates.issued_key), "certfile and keyfile", chain,
         "the key is not that of the first certificate"),
        (dict(certfile=chain, keyfile=key, cafile=garbage), "cafile", garbage, "it is not PEM"),
    ]

    def check(make, option, path, reason):
        with pytest.raises(ssl.SSLError) as caught:
            make()
        text = str(caught.value)
        assert text.startswith("%s: %s" % (option, path)) and reason in text, text
        assert "::" not in text

    for options, *told in cases:
        for blocking in (False, True):
            with socket.socket() as plain:
                check(lambda: asyncoro.AsyncSocket(plain, blocking, **options), *told)
                assert plain.fileno() >= 0
        check(lambda: asyncoro.create_server(("127.0.0.1", 0), **options), *told)
    with socket.socket() as plain:
        check(
            lambda: asyncoro.AsyncSocket(plain, cafile=garbage), "cafile", garbage, "it is not PEM"
        )


def test_a_server_whose_file_has_no_key_is_told_before_the_first_accept(certificates):
    with pytest.raises(ssl.SSLError, match="^certfile: .*no private key in it"):
        asyncoro.create_server(("127.0.0.1", 0), certfile=certificates.chain)
    with socket.create_server(("127.0.0.1", 0)) as plain:
        with pytest.raises(ssl.SSLError, match="^certfile: .*no private key in it"):
            asyncoro.AsyncSocket(plain, certfile=certificates.chain)
    with asyncoro.AsyncSocket(socket.socket(), certfile=certificates.chain) as sock:
        # Until here it may be a client, whose authority that is.
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ssl.SSLError, match="^certfile: .*no private key in it"):
            sock.listen()
    with pytest.raises(ValueError, match="needs certfile"):
        asyncoro.create_server(("127.0.0.1", 0), cafile=certificates.ca)
    with socket.socket() as plain:
        with pytest.raises(ValueError, match="keyfile needs certfile"):
            asyncoro.AsyncSocket(plain, keyfile=certificates.key)


def test_a_conversion_that_is_refused_for_its_files_changes_nothing(tmp_path):
    sock = asyncoro.AsyncSocket(socket.socket())
    with pytest.raises(FileNotFoundError):
        asyncoro.AsyncSocket(sock, True, certfile=str(tmp_path / "absent"))
    assert not sock.getblocking()
    sock.close()


def test_files_may_be_gone_after_the_constructor(certificates, tmp_path):
    files = []
    for name in (certificates.chain, certificates.key):
        copy = tmp_path / os.path.basename(name)
        with open(name) as file:
            copy.write_text(file.read())
        files.append(copy)
    server = asyncoro.create_server(("127.0.0.1", 0), certfile=files[0], keyfile=files[1])
    client = asyncoro.AsyncSocket(socket.socket(), certfile=files[0])
    for file in files:
        file.unlink()

    async def serve():
        sock, _ = await server.accept()
        await sock.send_msg(b"hello")
        sock.close()

    async def main():
        serving = asyncoro.Coro(serve)
        await client.connect(("localhost", server.getsockname()[1]))
        message = await client.recv_msg()
        await serving
        return bytes(message)

    assert go(main) == b"hello"
    client.close()
    server.close()


def test_a_server_name_that_cannot_be_is_told_by_its_option(certificates):
    with socket.socket() as plain:
        with pytest.raises(ValueError, match='^server_name "a b"'):
            asyncoro.AsyncSocket(plain, certfile=certificates.chain, server_name="a b")
        # As ssl does it, and as the host of connect.
        name = "b\u00fccher.example"
        asyncoro.AsyncSocket(plain, certfile=certificates.chain, server_name=name)
        with pytest.raises(UnicodeError):
            asyncoro.AsyncSocket(plain, certfile=certificates.chain, server_name=".\u00fc")


def test_a_peer_that_speaks_no_messages_is_recognised():
    sock, peer = async_pair()
    sock.message_limit = 1 << 20

    async def main():
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await sock.recv_msg()

    error = failure(main)
    assert error.errno == errno.EMSGSIZE
    assert str(error).endswith("does the peer speak messages? it begins with 'GET '")
    sock.close()
    peer.close()


def test_no_text_of_a_failed_handshake_has_a_name_of_rust(certificates):
    server = asyncoro.create_server(
        ("127.0.0.1", 0), certfile=certificates.chain, keyfile=certificates.key
    )

    async def main():
        async def accepts():
            await server.accept()

        accepting = asyncoro.Coro(accepts)
        try:
            await asyncoro.create_connection(
                ("localhost", server.getsockname()[1]), cafile=certificates.wrong
            )
        finally:
            accepting.terminate()

    error = failure(main)
    assert type(error) is ssl.SSLCertVerificationError
    text = str(error)
    assert "::" not in text and "create_tls_connection" not in text, text
    server.close()
