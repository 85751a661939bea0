"""recvmsg and its kin do what those of `socket.socket` do: each case runs on both."""

import array
import socket

import pytest

from harness import WAIT, modes, run, socket_of, tcp_pair, udp_socket


def unix(kind):
    return lambda: socket.socketpair(socket.AF_UNIX, kind)


def udp():
    one, other = udp_socket(), udp_socket()
    one.connect(other.getsockname())
    other.connect(one.getsockname())
    return one, other


#: How pairs are made, and whether bytes stay together.
PAIRS = {
    "tcp": tcp_pair, "udp": udp, "unix": unix(socket.SOCK_STREAM),
    "datagrams": unix(socket.SOCK_DGRAM), "packets": unix(socket.SOCK_SEQPACKET),
}


def row(*lengths):
    return [bytearray(length) for length in lengths]


def into(method, *buffers):
    """Returns a case that receives into buffers, and gives them too."""

    def case(sock):
        made = [bytearray(buffer) for buffer in buffers]
        return lambda: method(sock, made), lambda: [bytes(buffer) for buffer in made]

    return case


def plain(method):
    return lambda sock: (lambda: method(sock), lambda: None)


PEEK, WAITALL = socket.MSG_PEEK, socket.MSG_WAITALL

RECEIVES = {
    "recvmsg(5)": plain(lambda s: s.recvmsg(5)),
    "recvmsg(100)": plain(lambda s: s.recvmsg(100)),
    "recvmsg(100, 100)": plain(lambda s: s.recvmsg(100, 100)),
    "recvmsg(2, 0, PEEK)": plain(lambda s: s.recvmsg(2, 0, PEEK)),
    "recvmsg(5, 0, WAITALL)": plain(lambda s: s.recvmsg(5, 0, WAITALL)),
    "recvmsg(True)": plain(lambda s: s.recvmsg(True)),
    "recvmsg(-1)": plain(lambda s: s.recvmsg(-1)),
    "recvmsg(5, -1)": plain(lambda s: s.recvmsg(5, -1)),
    "recvmsg(5, 1 << 31)": plain(lambda s: s.recvmsg(5, 1 << 31)),
    "recvmsg()": plain(lambda s: s.recvmsg()),
    "recvmsg('5')": plain(lambda s: s.recvmsg("5")),
    "recvmsg(1 << 80)": plain(lambda s: s.recvmsg(1 << 80)),
    "recvmsg(1, 2, 3, 4)": plain(lambda s: s.recvmsg(1, 2, 3, 4)),
    "recvmsg_into 2, 3": into(lambda s, b: s.recvmsg_into(b), 2, 3),
    "recvmsg_into 0, 100": into(lambda s, b: s.recvmsg_into(b, 50), 0, 100),
    "recvmsg_into iterator": into(lambda s, b: s.recvmsg_into(iter(b), 0, PEEK), 3),
    "recvmsg_into view": into(lambda s, b: s.recvmsg_into([memoryview(b[0])[1:3]]), 4),
    "recvmsg_into array": plain(lambda s: s.recvmsg_into([array.array("i", [0, 0])])),
    "recvmsg_into bytes": plain(lambda s: s.recvmsg_into([b"no"])),
    "recvmsg_into 5": plain(lambda s: s.recvmsg_into(5)),
    "recvmsg_into -1": plain(lambda s: s.recvmsg_into(row(2), -1)),
    "recvfrom_into 100": into(lambda s, b: s.recvfrom_into(b[0]), 100),
    "recvfrom_into 3": into(lambda s, b: s.recvfrom_into(b[0]), 3),
    "recvfrom_into 5, 2": into(lambda s, b: s.recvfrom_into(b[0], 2), 5),
    "recvfrom_into 5, 2, PEEK": into(lambda s, b: s.recvfrom_into(b[0], 2, PEEK), 5),
    "recvfrom_into names": into(lambda s, b: s.recvfrom_into(buffer=b[0], nbytes=2, flags=0), 5),
    "recvfrom_into 2, 5": into(lambda s, b: s.recvfrom_into(b[0], 5), 2),
    "recvfrom_into 2, -1": into(lambda s, b: s.recvfrom_into(b[0], -1), 2),
    "recvfrom_into bytes": plain(lambda s: s.recvfrom_into(b"no")),
    "recvfrom(100)": plain(lambda s: s.recvfrom(100)),
    "recvfrom(3, PEEK)": plain(lambda s: s.recvfrom(3, PEEK)),
    "recv_into bytes": plain(lambda s: s.recv_into(b"no")),
    "recv_into text": plain(lambda s: s.recv_into("no")),
    "recv_into 3": into(lambda s, b: s.recv_into(b[0]), 3),
    "recv_into 2, 5": into(lambda s, b: s.recv_into(b[0], 5), 2),
    "recv_into names": into(lambda s, b: s.recv_into(buffer=b[0], nbytes=2, flags=PEEK), 5),
}

SENDS = {
    "one": lambda s: s.sendmsg([b"hello"]),
    "kinds": lambda s: s.sendmsg([b"he", bytearray(b"l"), memoryview(b"xlo")[1:]]),
    "array": lambda s: s.sendmsg([array.array("B", b"hello")]),
    "array of numbers": lambda s: s.sendmsg([array.array("i", [1, 2])]),
    "iterators": lambda s: s.sendmsg(iter([b"hel", b"lo"]), iter([])),
    "flags": lambda s: s.sendmsg([b"hello"], [], socket.MSG_NOSIGNAL),
    "no address": lambda s: s.sendmsg([b"hello"], [], 0, None),
    "empty parts": lambda s: s.sendmsg([b"", b"hello", b""]),
    "many": lambda s: s.sendmsg([b"x"] * 500),
    "text": lambda s: s.sendmsg(["hello"]),
    "a number": lambda s: s.sendmsg(5),
    "numbers": lambda s: s.sendmsg([5]),
    "bytes": lambda s: s.sendmsg(b"hello"),
    "ancillary is a number": lambda s: s.sendmsg([b"hello"], 5),
    "ancillary is short": lambda s: s.sendmsg([b"hello"], [(1, 2)]),
    "ancillary is text": lambda s: s.sendmsg([b"hello"], [(1, 1, "x")]),
    "nothing": lambda s: s.sendmsg(),
    "too many": lambda s: s.sendmsg([b"x"], [], 0, None, 5),
}


def outcome(call):
    """Returns the value, or the type of the exception."""
    try:
        return call()
    except Exception as error:
        return type(error)


def shown(value, pair):
    """Returns a result with the addresses of UDP sockets as places, which differ between pairs."""
    names = [str(sock.getsockname()) for sock in pair]
    text = repr(value)
    for place, name in enumerate(names):
        if len(name) > 4:
            text = text.replace(name, "address %d" % place)
    return text


@modes
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("case", RECEIVES)
def test_a_receive_gives_what_that_of_socket_gives(blocking, pair, case):
    got = []
    for is_ours in (False, True):
        here, there = PAIRS[pair]()
        there.sendall(b"hello")
        here.settimeout(WAIT)
        if not is_ours:
            call, buffers = RECEIVES[case](here)
            value = outcome(call)
            got.append((shown(value, (here, there)), buffers()))
            continue
        sock = socket_of(blocking, here)
        call, buffers = RECEIVES[case](sock)

        def use(_sock, call=call):
            try:
                return (yield call())
            except Exception as error:
                return type(error)

        value = run(sock, blocking, use)
        got.append((shown(value, (here, there)), buffers()))
    assert got[0] == got[1]


@modes
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("case", SENDS)
def test_a_send_gives_what_that_of_socket_gives(blocking, pair, case):
    got = []
    for is_ours in (False, True):
        here, there = PAIRS[pair]()
        here.settimeout(WAIT)
        if not is_ours:
            value = outcome(lambda: SENDS[case](here))
        else:
            sock = socket_of(blocking, here)

            def use(sock):
                try:
                    return (yield SENDS[case](sock))
                except Exception as error:
                    return type(error)

            value = run(sock, blocking, use)
        there.settimeout(0.02 if isinstance(value, type) else WAIT)
        got.append((value, outcome(lambda: there.recv(1000))))
    assert got[0] == got[1]
