"""Every method of `socket.socket` on an AsyncSocket: what it is, with TLS, a queue and bytes read
ahead; and its flags.
"""

import array
import io
import os
import select
import socket
import ssl
import threading
import time

import pytest

import asyncoro
from asyncoro import AsyncSocket, Coro
from harness import (
    WAIT, also_await, async_pair, blocking_pair, done, go, modes, read_exactly, run, socket_of,
    udp_socket,
)

#: What each is: a verb, a method of ours that never waits, passed on to the regular socket, or
#: passed on where that bypasses nothing and else refused.
METHODS = {
    "accept": "verb", "bind": "passed", "close": "ours", "connect": "verb", "connect_ex": "checked",
    "detach": "ours", "dup": "checked", "family": "passed", "fileno": "ours",
    "get_inheritable": "passed", "getblocking": "ours", "getpeername": "passed",
    "getsockname": "passed", "getsockopt": "passed", "gettimeout": "ours", "listen": "passed",
    "makefile": "ours", "proto": "passed", "recv": "verb", "recv_into": "verb",
    "recvfrom": "verb", "recvfrom_into": "verb", "recvmsg": "verb", "recvmsg_into": "verb",
    "send": "verb", "sendall": "verb", "sendfile": "verb", "sendmsg": "verb",
    "sendmsg_afalg": "passed", "sendto": "verb", "set_inheritable": "passed",
    "setblocking": "ours", "setsockopt": "passed", "settimeout": "ours", "shutdown": "ours",
    "timeout": "passed", "type": "passed",
}

#: A message, and bytes behind it that came with it.
WIRE = b"\0\0\0\2hi" + b"hello world\n"


def test_every_method_of_socket_has_its_row():
    names = {name for name in dir(socket.socket) if not name.startswith("_")}
    assert names == set(METHODS)
    for name in names:
        assert hasattr(AsyncSocket, name), name


def test_the_verbs_are_calls():
    sock, _peer = async_pair()
    arguments = {
        "accept": (), "connect": (("127.0.0.1", 1),), "recv": (1,), "recv_into": (bytearray(1),),
        "recvfrom": (1,), "recvfrom_into": (bytearray(1),), "recvmsg": (1,),
        "recvmsg_into": ([bytearray(1)],), "send": (b"x",), "sendall": (b"x",),
        "sendfile": (io.BytesIO(b"x"),), "sendmsg": ([b"x"],), "sendto": (b"x", ("127.0.0.1", 1)),
    }
    assert set(arguments) == {name for name, kind in METHODS.items() if kind == "verb"}
    for name, row in arguments.items():
        call = getattr(sock, name)(*row)
        assert hasattr(call, "__await__"), name
        call.close()


# ---- flags


@modes
def test_a_socket_tells_of_bytes_read_ahead(blocking):
    here, there = socket.socketpair()
    sock = socket_of(blocking, here)
    there.sendall(WIRE)

    def use(sock):
        before = sock.has_received()
        message = yield sock.recv_msg()
        assert message == b"hi"
        return before, sock.has_received(), (yield sock.recv(100)), sock.has_received()

    assert run(sock, blocking, use) == (False, True, b"hello world\n", False)
    sock.close()
    assert not sock.has_received()


@modes
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("receive, got", [
    (lambda s, f: s.recv(5, f), b"hello"),
    (lambda s, f: s.recv_into(bytearray(5), 5, f), 5),
    (lambda s, f: s.recvfrom(5, f), (b"hello", None)),
    (lambda s, f: s.recvfrom_into(bytearray(5), 5, f), (5, None)),
    (lambda s, f: s.recvmsg(5, 0, f), None),
])
@pytest.mark.parametrize("flags", [
    socket.MSG_WAITALL, socket.MSG_PEEK, socket.MSG_NOSIGNAL, socket.MSG_PEEK | socket.MSG_WAITALL,
])
def test_a_receive_with_flags_waits_as_one_without(blocking, late, receive, got, flags):
    here, there = socket.socketpair()
    sock = socket_of(blocking, here)
    if late:
        threading.Timer(0.02, there.sendall, (b"hello",)).start()
    else:
        there.sendall(b"hello")

    def use(sock):
        first = yield receive(sock, flags)
        again = yield sock.recv(5) if flags & socket.MSG_PEEK else None
        return first, again

    first, again = run(sock, blocking, use)
    if got is None:
        assert first[0] == b"hello" and first[1] == []
    else:
        assert first == got
    assert again == (b"hello" if flags & socket.MSG_PEEK else None)


@modes
def test_waitall_waits_for_all_and_gives_what_there_is_at_the_end(blocking):
    here, there = socket.socketpair()
    sock = socket_of(blocking, here)
    there.sendall(b"ab")
    threading.Timer(0.02, there.sendall, (b"cdef",)).start()
    threading.Timer(0.04, there.close).start()

    def use(sock):
        whole = yield sock.recv(4, socket.MSG_WAITALL)
        rest = yield sock.recv(4, socket.MSG_WAITALL)
        return whole, rest

    assert run(sock, blocking, use) == (b"abcd", b"ef")


@modes
def test_dontwait_does_not_wait(blocking):
    here, there = socket.socketpair()
    sock = AsyncSocket(here, blocking)

    def use(sock):
        for receive in (
            lambda: sock.recv(5, socket.MSG_DONTWAIT),
            lambda: sock.recv_into(bytearray(5), 5, socket.MSG_DONTWAIT),
            lambda: sock.recv(5, socket.MSG_DONTWAIT | socket.MSG_PEEK),
            lambda: sock.recvmsg(5, 0, socket.MSG_DONTWAIT),
        ):
            with pytest.raises(BlockingIOError):
                yield receive()
        there.sendall(b"hello")
        peeked = yield sock.recv(5, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        got = yield sock.recv(5, socket.MSG_DONTWAIT)
        with pytest.raises(BlockingIOError):
            while True:
                yield sock.send(bytes(1 << 16), socket.MSG_DONTWAIT)
        return peeked, got

    assert run(sock, blocking, use) == (b"hello", b"hello")


@modes
def test_datagrams_take_flags_and_wait(blocking):
    here, there = udp_socket(), udp_socket()
    address = here.getsockname()
    sock = AsyncSocket(here, blocking)

    def use(sock):
        got = []
        for receive in (
            lambda: sock.recvfrom(10, socket.MSG_PEEK),
            lambda: sock.recvfrom(10, socket.MSG_NOSIGNAL),
            lambda: sock.recvfrom_into(bytearray(10), 10, socket.MSG_NOSIGNAL),
            lambda: sock.recvmsg(10, 0, 0),
            lambda: sock.recv_into(bytearray(2), 2, socket.MSG_TRUNC),
        ):
            threading.Timer(0.01, there.sendto, (b"datagram", address)).start()
            got.append((yield receive()))
        with pytest.raises(BlockingIOError):
            while True:
                yield sock.recv(10, socket.MSG_DONTWAIT)
        sent = yield sock.sendto(b"back", socket.MSG_NOSIGNAL, there.getsockname())
        return got, sent

    peer = there.getsockname()
    got, sent = run(sock, blocking, use)
    assert got[0] == got[1] == (b"datagram", peer) and got[2] == (8, peer) and sent == 4
    assert got[3][0] == b"datagram" and got[3][3] == peer and got[4] == 8
    assert there.recv(10) == b"back"


@modes
def test_sends_with_flags_come_behind_what_is_queued(blocking):
    here, there = socket.create_server(("127.0.0.1", 0)), None
    there = socket.create_connection(here.getsockname())
    sock = socket_of(blocking, here.accept()[0])

    def use(sock):
        yield sock.send_msg(b"first")
        one = yield sock.send(b"2", socket.MSG_NOSIGNAL)
        two = yield sock.send(b"3", socket.MSG_EOR)
        yield sock.sendall(b"4", socket.MSG_EOR)
        yield sock.sendall(b"5", socket.MSG_MORE)
        three = yield sock.sendmsg([b"6", b"7"], [], socket.MSG_NOSIGNAL)
        yield sock.sendall(b"8") if blocking else sock.flush()
        return one, two, three

    assert run(sock, blocking, use) == (1, 1, 2)
    sock.close()
    assert read_exactly(there, 100) == b"\0\0\0\5first234567" + (b"8" if blocking else b"")


@modes
def test_an_urgent_byte_is_sent_and_received(blocking):
    sock, peer = blocking_pair() if blocking else async_pair()

    def use(sock):
        sent = yield sock.send(b"!", socket.MSG_OOB)
        peer.send(b"?", socket.MSG_OOB)
        select.select([], [], [sock.fileno()], WAIT)
        return sent, (yield sock.recv(1, socket.MSG_OOB))

    assert run(sock, blocking, use) == (1, b"?")
    select.select([], [], [peer], WAIT)
    peer.setblocking(False)
    assert peer.recv(1, socket.MSG_OOB) == b"!"


@modes
def test_descriptors_are_sent_and_received(blocking):
    here, there = socket.socketpair()
    sock, other = socket_of(blocking, here), socket_of(blocking, there)
    reader, writer = os.pipe()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))

    def use(sock):
        yield sock.sendmsg([b"take ", b"it"], [rights])
        return (yield other.recvmsg(10, socket.CMSG_LEN(4)))

    data, ancillary, flags, _address = run(sock, blocking, use)
    passed = array.array("i", ancillary[0][2])[0]
    os.write(passed, b"through")
    assert data == b"take it" and os.read(reader, 10) == b"through"
    for number in (reader, writer, passed):
        os.close(number)


@also_await
def test_a_file_is_sent():
    here, there = socket.socketpair()
    there.settimeout(WAIT)
    sock = AsyncSocket(here)
    contents = os.urandom(1 << 20)
    got = []
    reading = threading.Thread(target=lambda: got.append(read_exactly(there, 3 + (1 << 20))))
    reading.start()

    def main(coro=None):
        file = io.BytesIO(contents)
        yield sock.sendall(b"...")
        sent = yield sock.sendfile(file, 10, (1 << 20) - 20)
        rest = yield sock.sendfile(io.BytesIO(b"0123456789"), 5)
        yield sock.sendall(b"....." + b"." * 10)
        return sent, file.tell(), rest

    assert go(main) == ((1 << 20) - 20, (1 << 20) - 10, 5)
    reading.join(WAIT)
    assert got[0] == b"..." + contents[10:-10] + b"56789" + b"." * 15
    with open(__file__) as text, pytest.raises(ValueError):
        sock.sendfile(text)


# ---- bytes read ahead


READ_AHEAD = {
    "recv": lambda s: s.recv(5),
    "recv(MSG_WAITALL)": lambda s: s.recv(5, socket.MSG_WAITALL),
    "recv(MSG_DONTWAIT)": lambda s: s.recv(5, socket.MSG_DONTWAIT),
    "recv(MSG_PEEK)": lambda s: s.recv(5, socket.MSG_PEEK),
    "recv_into(MSG_WAITALL)": lambda s: s.recv_into(bytearray(5), 5, socket.MSG_WAITALL),
    "recvfrom": lambda s: s.recvfrom(5),
    "recvfrom_into": lambda s: s.recvfrom_into(bytearray(5)),
    "recvmsg": lambda s: s.recvmsg(5),
    "recvmsg_into": lambda s: s.recvmsg_into([bytearray(2), bytearray(3)]),
}


@modes
@pytest.mark.parametrize("way", READ_AHEAD)
def test_bytes_that_came_with_a_message_are_received_in_every_way(blocking, way):
    here, there = socket.socketpair()
    there.sendall(WIRE)
    sock = socket_of(blocking, here)

    def use(sock):
        assert (yield sock.recv_msg()) == b"hi"
        return (yield READ_AHEAD[way](sock))

    got = run(sock, blocking, use)
    first = got[0] if isinstance(got, tuple) else got
    assert first in (b"hello", 5), got


@modes
def test_a_file_of_a_socket_has_what_was_read_ahead(blocking):
    here, there = socket.socketpair()
    there.sendall(WIRE + b"second line\n")
    sock = socket_of(blocking, here)

    def use(sock):
        yield sock.recv_msg()
        with sock.makefile("rwb") as file:
            first = file.readline()
            with sock.makefile("r") as text:
                pass
            file.write(b"written")
            file.flush()
            second = file.readline()
        return first, second

    assert run(sock, blocking, use) == (b"hello world\n", b"second line\n")
    assert there.recv(100) == b"written"
    file = sock.makefile("rb") if blocking else None
    sock.close()
    if file is not None:
        # As in `socket`, the connection is closed with its last file.
        there.sendall(b"last")
        there.shutdown(socket.SHUT_WR)
        assert file.read() == b"last"
        file.close()
    there.settimeout(WAIT)
    assert there.recv(100) == b""


@modes
def test_what_would_miss_bytes_read_ahead_is_refused(blocking):
    here, there = socket.socketpair()
    there.sendall(WIRE)
    sock = socket_of(blocking, here)

    def use(sock):
        yield sock.recv_msg()
        for way in (sock.dup, sock.detach, sock.unwrap):
            with pytest.raises(RuntimeError, match="recv"):
                way()
        with pytest.raises(RuntimeError, match="recv"):
            yield sock.recv(5, socket.MSG_TRUNC)
        got = yield sock.recv(100)
        return got, sock.dup()

    got, duplicate = run(sock, blocking, use)
    assert got == b"hello world\n"
    duplicate.sendall(b"by the duplicate")
    assert there.recv(100) == b"by the duplicate"


# ---- the end of sending


@modes
def test_shutdown_comes_behind_what_is_queued(blocking):
    listener = socket.create_server(("127.0.0.1", 0))
    there = socket.create_connection(listener.getsockname())
    here, _ = listener.accept()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sock = socket_of(blocking, here)
    got = []
    begin = threading.Event()

    def read():
        begin.wait()
        got.append(read_exactly(there, 1 << 20))

    reading = threading.Thread(target=read)
    reading.start()

    def use(sock):
        for _ in range(60):
            yield sock.send_msg(bytes(1000))
            if blocking:
                begin.set()
        sock.shutdown(socket.SHUT_WR)
        begin.set()
        with pytest.raises(BrokenPipeError):
            while True:
                yield sock.send_msg(b"too late")
        return (yield sock.recv(1))

    there.settimeout(WAIT)
    ending = Coro(use, sock) if not blocking else None
    if blocking:
        threading.Thread(target=run, args=(sock, True, use)).start()
    reading.join(WAIT)
    assert len(got[0]) == 60 * 1004
    there.close()
    if ending is not None:
        assert done(ending) == b""


def test_shutdown_takes_what_socket_takes():
    sock, peer = async_pair()

    def main():
        with pytest.raises(OSError):
            sock.shutdown(7)
        peer.sendall(b"x")
        sock.shutdown(socket.SHUT_RD)
        yield sock.send(b"still")
        sock.shutdown(socket.SHUT_RDWR)
        return peer.recv(100), peer.recv(100)

    assert go(main) == (b"still", b"")


# ---- TLS


class Tap:
    """Stands between a client and a TLS server, and keeps what passes."""

    def __init__(self, certificates):
        self.wire = []
        plain = socket.create_server(("127.0.0.1", 0))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.chain, certificates.key)
        self.server, self.front = plain, socket.create_server(("127.0.0.1", 0))
        self.received = bytearray()
        threading.Thread(target=self._serve, args=(context,), daemon=True).start()
        threading.Thread(target=self._pass, daemon=True).start()
        self.address = ("localhost", self.front.getsockname()[1])

    def _serve(self, context):
        try:
            sock = context.wrap_socket(self.server.accept()[0], server_side=True)
        except OSError:
            # It was not spoken to in TLS.
            return
        with sock:
            sock.sendall(b"encrypted hello\nsecond line\n")
            try:
                while True:
                    data = sock.recv(4096)
                    if not data:
                        break
                    self.received += data
            except OSError:
                pass

    def _pass(self):
        client, _ = self.front.accept()
        behind = socket.create_connection(self.server.getsockname())
        for source, sink in ((client, behind), (behind, client)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    break
                self.wire.append(data)
                sink.sendall(data)
        except OSError:
            pass


SECRET = b"SECRET-PASSWORD"


@modes
def test_with_tls_nothing_is_on_the_wire_in_clear(certificates, blocking):
    tap = Tap(certificates)
    sock = AsyncSocket(socket.socket(), blocking, certfile=certificates.chain)

    def use(sock):
        yield sock.connect(tap.address)
        sent = 0
        for way in (
            lambda: sock.send(SECRET), lambda: sock.sendall(SECRET), lambda: sock.send_msg(SECRET),
            lambda: sock.send(SECRET, socket.MSG_NOSIGNAL),
            lambda: sock.send(SECRET, socket.MSG_DONTWAIT),
            lambda: sock.send(SECRET, socket.MSG_MORE), lambda: sock.sendmsg([SECRET]),
            lambda: sock.sendmsg([SECRET], [], socket.MSG_NOSIGNAL),
            lambda: sock.sendfile(io.BytesIO(SECRET)),
        ):
            yield way()
            sent += 1
        with sock.makefile("wb", 0) as file:
            file.write(SECRET)
        for refused in (
            lambda: sock.send(SECRET, socket.MSG_OOB), lambda: sock.send(SECRET, socket.MSG_EOR),
            lambda: sock.sendall(SECRET, socket.MSG_OOB),
            lambda: sock.sendto(SECRET, tap.address),
            lambda: sock.sendmsg([SECRET], [(1, 1, b"x")]),
            lambda: sock.sendmsg([SECRET], [], 0, tap.address),
            lambda: sock.recv(10, socket.MSG_OOB), lambda: sock.recv(10, socket.MSG_TRUNC),
            lambda: sock.dup(),
        ):
            with pytest.raises(OSError, match="TLS"):
                yield refused()
        got = [(yield sock.recv(9, socket.MSG_WAITALL)), (yield sock.recv(7, socket.MSG_PEEK))]
        got.append((yield sock.recvmsg(100, 100))[0])
        sock.shutdown(socket.SHUT_WR)
        yield sock.recv(1)
        return sent, got

    sent, got = run(sock, blocking, use)
    assert got[0] == b"encrypted" and got[1] == b" hello\n"
    assert got[2].startswith(b" hello\nsecond")
    sock.close()
    deadline = time.monotonic() + WAIT
    while tap.received.count(SECRET) < sent + 1 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert tap.received.count(SECRET) == sent + 1
    assert SECRET not in b"".join(tap.wire)


def test_with_tls_connect_ex_connects_with_tls_or_is_refused(certificates):
    tap = Tap(certificates)
    sock = AsyncSocket(socket.socket(), True, certfile=certificates.chain)
    assert sock.connect_ex(tap.address) == 0
    sock.sendall(SECRET)
    assert sock.recv(9) == b"encrypted"
    assert SECRET not in b"".join(tap.wire)
    sock.close()
    refused = AsyncSocket(socket.socket(), certfile=certificates.chain)
    with pytest.raises(OSError, match="TLS"):
        refused.connect_ex(tap.address)


@also_await
def test_a_call_is_refused_for_what_stands_in_its_way_when_it_starts(certificates):
    tap = Tap(certificates)
    sock = AsyncSocket(socket.socket(), certfile=certificates.chain)
    plain, peer = socket.socketpair()
    ahead = AsyncSocket(plain)

    def main(coro=None):
        later = AsyncSocket(socket.socket())
        yield later.connect(tap.server.getsockname())
        early = [
            later.send(SECRET, socket.MSG_EOR), later.sendall(SECRET, socket.MSG_EOR),
            later.sendto(SECRET, tap.address), later.sendmsg([SECRET], [(1, 1, b"x")]),
            later.recv(1, socket.MSG_TRUNC),
        ]
        # TLS begins on a connection that had none when the calls were made.
        AsyncSocket(later, certfile=certificates.chain)
        for call in early:
            with pytest.raises(OSError, match="TLS"):
                yield call
        message, refused = ahead.recvmsg(5, 100), ahead.recv(5, socket.MSG_TRUNC)
        peer.sendall(WIRE)
        yield ahead.recv_msg()
        with pytest.raises(RuntimeError, match="recv"):
            yield refused
        return (yield message)[0]

    assert go(main) == b"hello"
    sock.close()


@also_await
def test_a_receive_by_the_system_ends_when_another_one_reads_ahead():
    plain, peer = socket.socketpair()
    sock = AsyncSocket(plain)

    def main(coro=None):
        reading = Coro(sock.recv_msg)
        yield coro.sleep(0)
        waiting = [Coro(sock.recvmsg, 5, 100), Coro(sock.recv, 5, socket.MSG_TRUNC)]
        yield coro.sleep(0)
        peer.sendall(WIRE + b"more")
        message = yield reading.finish()
        # What only the system knows it cannot do with them.
        return message, (yield waiting[0].finish())[0], (yield waiting[1].finish()).type

    level = asyncoro.logger.level
    asyncoro.logger.setLevel("critical")
    try:
        assert go(main) == (b"hi", b"hello", RuntimeError)
    finally:
        asyncoro.logger.setLevel(level)
