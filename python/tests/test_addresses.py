"""What addresses mean: those of socket, and texts of host and port."""

import os
import pathlib
import socket

import pytest

import asyncoro
from harness import also_await, go


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 on loopback")


def meets(server, address):
    """Connects to `address` and returns whether `server` has accepted that."""

    async def main():
        client = await asyncoro.create_connection(address)
        accepted, _ = await server.accept()
        same = client.getpeername() == accepted.getsockname()
        client.close()
        accepted.close()
        return same

    try:
        return go(main)
    finally:
        server.close()


def test_a_text_of_host_and_port_is_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = asyncoro.create_server("127.0.0.1:0")
    assert server.family == socket.AF_INET
    assert meets(server, "127.0.0.1:%d" % server.getsockname()[1])
    server = asyncoro.create_server("localhost:0")
    assert meets(server, "localhost:%d" % server.getsockname()[1])
    server = asyncoro.create_server(":0")
    assert server.getsockname()[0] == "0.0.0.0"
    assert meets(server, ("127.0.0.1", server.getsockname()[1]))
    assert os.listdir(tmp_path) == []


@ipv6
def test_ipv6_in_a_text_is_in_brackets():
    server = asyncoro.create_server("[::1]:0")
    assert server.family == socket.AF_INET6
    assert meets(server, "[::1]:%d" % server.getsockname()[1])


def test_a_source_address_may_be_a_text():
    server = asyncoro.create_server("127.0.0.1:0")

    async def main():
        address = "127.0.0.1:%d" % server.getsockname()[1]
        client = await asyncoro.create_connection(address, source_address="127.0.0.1:0")
        client.close()

    go(main)
    server.close()


@pytest.mark.parametrize("form", [str, os.fsencode, pathlib.Path])
def test_a_path_is_a_unix_socket_in_each_form(tmp_path, form):
    path = form(str(tmp_path / "a:1"))
    server = asyncoro.create_server(path)
    assert server.family == socket.AF_UNIX
    assert meets(server, path)


def test_a_plain_name_is_a_unix_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = asyncoro.create_server("name")
    assert (tmp_path / "name").is_socket()
    assert meets(server, "name")


@pytest.mark.parametrize(
    "text", ["localhost:http", "localhost:", "localhost:+80", "localhost:65536", "::1:80",
             "[localhost]:80", "[::1]", "::1", "h:1:2"]
)
def test_a_text_that_is_neither_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)

    async def main():
        await asyncoro.create_connection(text)

    with pytest.raises(ValueError, match="expected host:port"):
        asyncoro.create_server(text)
    with pytest.raises(ValueError, match="expected host:port"):
        asyncoro.Coro(main).result(10)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("blocking", [False, True])
def test_connect_and_sendto_of_a_socket_take_what_socket_takes(blocking):
    def main():
        calls = [
            (socket.SOCK_STREAM, lambda sock: sock.connect("127.0.0.1:80")),
            (socket.SOCK_DGRAM, lambda sock: sock.connect("127.0.0.1:80")),
            (socket.SOCK_DGRAM, lambda sock: sock.sendto(b"data", "127.0.0.1:80")),
        ]
        for kind, call in calls:
            sock = asyncoro.AsyncSocket(socket.socket(socket.AF_INET, kind), blocking)
            with pytest.raises(TypeError, match="AF_INET address must be tuple, not str$"):
                value = call(sock)
                if not blocking:
                    yield value
            sock.close()

    if blocking:
        assert list(main()) == []
    else:
        go(main)


@also_await
def test_a_host_that_is_not_ascii_is_encoded_as_socket_does_it():
    def main():
        # A name of the reserved domain, which nobody has: the encoder comes first.
        for host in ("b\u00fccher.invalid", "xn--bcher-kva.invalid"):
            sock = asyncoro.AsyncSocket(socket.socket())
            with pytest.raises(socket.gaierror):
                yield sock.connect((host, 1))
            with pytest.raises(socket.gaierror):
                yield asyncoro.create_connection((host, 1))
            sock.close()
        for host in ("\u00fc" * 64 + ".invalid", ".\u00fc"):
            sock = asyncoro.AsyncSocket(socket.socket())
            with pytest.raises(UnicodeError):
                yield sock.connect((host, 1))
            sock.close()
        # Full-width digits and dots are an address once they are encoded.
        server = socket.create_server(("127.0.0.1", 0))
        sock = asyncoro.AsyncSocket(socket.socket())
        yield sock.connect(("\uff11\uff12\uff17\uff0e0\u30020.1", server.getsockname()[1]))
        assert sock.getpeername() == server.getsockname()
        sock.close()
        server.close()

    go(main)


@ipv6
@pytest.mark.parametrize("blocking", [False, True])
def test_an_empty_host_is_the_wildcard_of_the_family(blocking):
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    port = listener.getsockname()[1]

    def main():
        sock = asyncoro.AsyncSocket(socket.socket(socket.AF_INET6), blocking)
        result = sock.connect(("", port))
        if not blocking:
            yield result
        assert sock.getpeername()[:2] == ("::1", port)
        sock.close()
        there = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        there.bind(("::1", 0))
        there.settimeout(10)
        sock = asyncoro.AsyncSocket(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), blocking)
        result = sock.sendto(b"hello", ("", there.getsockname()[1]))
        if not blocking:
            yield result
        assert there.recv(10) == b"hello"
        sock.close()
        there.close()

    if blocking:
        assert list(main()) == []
    else:
        go(main)
    listener.close()


def test_a_host_with_a_null_is_refused():
    def main():
        sock = asyncoro.AsyncSocket(socket.socket())
        with pytest.raises(ValueError, match="null character"):
            yield sock.connect(("a\0b", 1))
        sock.close()

    go(main)


INET, INET6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX

#: Addresses that fail, or not, as they do with `socket`; PORT is one on which somebody listens.
PORT = object()
ADDRESSES = [
    (INET, ("127.0.0.1", PORT)),
    (INET, (b"127.0.0.1", PORT)),
    (INET, (bytearray(b"127.0.0.1"), PORT)),
    (INET, ("localhost", PORT)),
    (INET, ("::1", PORT)),
    (INET, ("no-such-host.invalid", PORT)),
    (INET, ("h:80", PORT)),
    (INET, ("a b", PORT)),
    (INET, ("*", PORT)),
    (INET, ("a/b", PORT)),
    (INET, (5, PORT)),
    (INET, (None, PORT)),
    (INET, ("127.0.0.1", "80")),
    (INET, ("127.0.0.1", 65536)),
    (INET, ("127.0.0.1", -1)),
    (INET, ("127.0.0.1",)),
    (INET, ("127.0.0.1", PORT, 0, 0)),
    (INET, ["127.0.0.1", PORT]),
    (INET, "127.0.0.1:80"),
    (INET, b"/tmp/socket"),
    (INET6, ("127.0.0.1", PORT)),
    (INET6, ("[::1]", PORT)),
    (INET6, ("::1",)),
    (INET6, ("::1", PORT, 0, 0, 0)),
    (INET6, ("fe80::1%no-such-interface", PORT)),
    (INET6, ("::ffff:127.0.0.1", PORT)),
    (UNIX, ("127.0.0.1", PORT)),
    (UNIX, "/no/such/socket"),
    (UNIX, "/x" * 100),
    (UNIX, b"/no/such/socket"),
    (UNIX, b"\0no such name"),
]


@ipv6
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
@pytest.mark.parametrize("family, address", ADDRESSES)
def test_an_address_is_taken_or_refused_as_socket_does(family, address, kind):
    kind = getattr(socket, kind)
    with socket.socket(INET, kind) as peer:
        peer.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            peer.listen()
        port = peer.getsockname()[1]
        if not isinstance(address, (str, bytes)):
            address = type(address)(port if part is PORT else part for part in address)

        def call(sock):
            if kind == socket.SOCK_STREAM:
                return sock.connect(address)
            return sock.sendto(b"data", address)

        def outcome(do):
            try:
                do()
            except (OSError, TypeError, ValueError, OverflowError) as error:
                code = getattr(error, "errno", None)
                return type(error), code, getattr(error, "strerror", None)
            return None

        with socket.socket(family, kind) as plain:
            plain.settimeout(10)
            wanted = outcome(lambda: call(plain))
        with asyncoro.AsyncSocket(socket.socket(family, kind), blocking=True) as blocking:
            assert outcome(lambda: call(blocking)) == wanted

        async def main():
            with asyncoro.AsyncSocket(socket.socket(family, kind)) as sock:
                await call(sock)

        assert outcome(lambda: asyncoro.Coro(main).result(10)) == wanted


def test_accept_of_what_cannot_accept_is_that_of_socket():
    with socket.socket(INET, socket.SOCK_DGRAM) as plain, pytest.raises(OSError) as usual:
        plain.accept()

    async def main():
        with asyncoro.AsyncSocket(socket.socket(INET, socket.SOCK_DGRAM)) as sock:
            await sock.accept()

    with pytest.raises(OSError) as caught:
        asyncoro.Coro(main).result(10)
    assert caught.value.args == usual.value.args
