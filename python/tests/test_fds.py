"""send_fds and recv_fds: shapes, descriptors that are not leaked, and what stands in their way."""

import array
import errno
import os
import socket
import threading

import pytest

import asyncoro
from asyncoro import AsyncSocket, Coro
from harness import (
    WAIT, also_await, async_pair, go, let_run, modes, parallel, read_exactly, run, run_program,
    socket_of,
)


def pair_of(blocking, kind=socket.SOCK_STREAM):
    """Returns a Unix socket of either mode and its peer, a plain socket."""
    here, there = socket.socketpair(socket.AF_UNIX, kind)
    there.settimeout(WAIT)
    return socket_of(blocking, here), there


def both(blocking, kind=socket.SOCK_STREAM):
    here, there = socket.socketpair(socket.AF_UNIX, kind)
    return socket_of(blocking, here), socket_of(blocking, there)


def opened():
    """Returns what the descriptors of this process are, by the names that the system has for it."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink("/proc/self/fd/" + number))
        except FileNotFoundError:
            # That of the folder, or one that another test has left, and that was closed by now.
            pass
    return names


class Pipes:
    """Pipes whose writing ends are passed on; what is written to one arrives at its reader."""

    def __init__(self, count):
        self.pipes = [os.pipe() for _ in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception):
        if kind is None:
            self.check_none_is_left()
        for reader, writer in self.pipes:
            os.close(reader)
            os.close(writer)

    @property
    def writers(self):
        return [writer for _, writer in self.pipes]

    def check(self, fds):
        """Checks that these are duplicates of the writers, closed on exec, and closes them."""
        assert type(fds) is list and len(fds) == len(self.pipes)
        assert not set(fds) & set(self.writers)
        for (reader, _), fd in zip(self.pipes, fds):
            assert type(fd) is int and not os.get_inheritable(fd)
            os.write(fd, b"%d" % fd)
            assert os.read(reader, 100) == b"%d" % fd
            os.close(fd)

    def check_none_is_left(self):
        """Checks that there are no other descriptors of these pipes; so does the end."""
        let_run()
        names = opened()
        for reader, _ in self.pipes:
            assert names.count("pipe:[%d]" % os.fstat(reader).st_ino) == 2


@modes
@pytest.mark.parametrize("count", [0, 1, 3, 253])
@pytest.mark.parametrize("kind", [
    socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET,
])
def test_descriptors_arrive_with_the_first_byte(blocking, count, kind):
    near, far = both(blocking, kind)
    with Pipes(count) as pipes:

        def use(_sock):
            sent = yield near.send_fds([b"take ", bytearray(b"it")], pipes.writers)
            got = yield far.recv_fds(100, count)
            return sent, got

        sent, (data, fds, flags, address) = run(near, blocking, use)
        assert (sent, data, flags, address) == (7, b"take it", 0, None) and type(data) is bytes
        pipes.check(fds)


@modes
def test_they_are_those_of_the_module_socket(blocking):
    sock, peer = pair_of(blocking)
    with Pipes(2) as pipes:

        def use(sock):
            yield sock.send_fds(buffers=[b"ours"], fds=tuple(pipes.writers), flags=0, address=None)
            theirs = socket.recv_fds(peer, 100, 2)
            socket.send_fds(peer, [b"theirs"], pipes.writers)
            return theirs, (yield sock.recv_fds(bufsize=100, maxfds=2, flags=0))

        theirs, ours = run(sock, blocking, use)
        assert theirs[0] == b"ours" and theirs[2:] == (0, None)
        assert type(ours) is type(theirs) and ours[0] == b"theirs" and ours[2:] == (0, None)
        for fd in theirs[1]:
            os.set_inheritable(fd, False)
        pipes.check(theirs[1])
        pipes.check(ours[1])


@modes
@pytest.mark.parametrize("most", [0, 1, 2])
def test_of_descriptors_that_are_cut_none_is_left(blocking, most):
    sock, peer = pair_of(blocking)
    with Pipes(3) as pipes:
        socket.send_fds(peer, [b"three"], pipes.writers)
        peer.sendall(b"more")

        def use(sock):
            cut = yield sock.recv_fds(100, most)
            return cut, (yield sock.recv_fds(100, most))

        cut, more = run(sock, blocking, use)
        # Behind the bytes that came with descriptors the system ends a receive.
        assert cut == (b"three", [], socket.MSG_CTRUNC, None)
        assert more == (b"more", [], 0, None)


def test_where_the_process_may_open_no_more_files_none_is_left():
    program = run_program("""
        import resource
        here, there = socket.socketpair()
        sock = asyncoro.AsyncSocket(here)
        reader, writer = os.pipe()
        socket.send_fds(there, [b"bytes"], [writer] * 4)

        async def main():
            await asyncoro.sleep(0.01)
            used = len(os.listdir("/proc/self/fd")) - 1
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            # Room for two.
            spare = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
            while True:
                try:
                    spare.append(os.dup(reader))
                except OSError:
                    break
            for _ in range(2):
                os.close(spare.pop())
            got = await sock.recv_fds(100, 4)
            again = [os.dup(reader), os.dup(reader)]
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            print(got == (b"bytes", [], socket.MSG_CTRUNC, None), len(again))

        asyncoro.run(main())
    """)
    assert program.process.returncode == 0 and program.stdout.split() == ["True", "2"]


@modes
def test_bytes_that_were_read_ahead_come_first(blocking):
    sock, peer = pair_of(blocking)
    peer.sendall(b"\0\0\0\2hiahead")
    with Pipes(1) as pipes:

        def use(sock):
            message = yield sock.recv_msg()
            assert sock.has_received()
            socket.send_fds(peer, [b"with"], pipes.writers)
            return message, (yield sock.recv_fds(3, 1)), (yield sock.recv_fds(10, 1)), (
                yield sock.recv_fds(10, 1))

        message, first, second, third = run(sock, blocking, use)
        assert message == b"hi" and first == (b"ahe", [], 0, None)
        assert second == (b"ad", [], 0, None) and third[0] == b"with"
        pipes.check(third[1])


@modes
def test_the_end_of_the_stream_is_no_bytes(blocking):
    sock, peer = pair_of(blocking)
    peer.sendall(b"last")
    peer.close()

    def use(sock):
        nothing = yield sock.recv_fds(0, 5)
        return nothing, (yield sock.recv_fds(10, 5)), (yield sock.recv_fds(10, 5))

    got = run(sock, blocking, use)
    assert got == ((b"", [], 0, None), (b"last", [], 0, None), (b"", [], 0, None))


@modes
def test_datagrams_tell_their_sender_and_are_sent_to_an_address(blocking, tmp_path):
    names = [str(tmp_path / name) for name in ("one", "two")]
    plain = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in names]
    for sock, name in zip(plain, names):
        sock.bind(name)
    one, two = [socket_of(blocking, sock) for sock in plain]
    with Pipes(2) as pipes:

        def use(_sock):
            yield one.send_fds([b"to two"], pipes.writers, 0, names[1])
            got = yield two.recv_fds(100, 2)
            yield two.send_fds([b"and ", b"back"], [], 0, got[3])
            return got, (yield one.recv_fds(5, 0))

        first, back = run(one, blocking, use)
        assert first[0] == b"to two" and first[2:] == (0, names[0])
        assert back == (b"and b", [], socket.MSG_TRUNC, names[1])
        pipes.check(first[1])


@modes
def test_flags_are_obeyed(blocking):
    here, there = socket.socketpair()
    there.settimeout(WAIT)
    sock = AsyncSocket(here, blocking)
    with Pipes(1) as pipes:

        def use(sock):
            with pytest.raises(BlockingIOError):
                yield sock.recv_fds(10, 1, socket.MSG_DONTWAIT)
            socket.send_fds(there, [b"once"], pipes.writers)
            looked = yield sock.recv_fds(10, 1, socket.MSG_PEEK)
            taken = yield sock.recv_fds(10, 1, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
            with pytest.raises(BlockingIOError):
                while True:
                    yield sock.send_fds([bytes(1 << 16)], [], socket.MSG_DONTWAIT)
            return looked, taken

        looked, taken = run(sock, blocking, use)
        assert looked[0] == taken[0] == b"once" and looked[2] == 0
        assert taken[2] in (0, socket.MSG_CMSG_CLOEXEC)
        pipes.check(looked[1])
        pipes.check(taken[1])


@modes
@pytest.mark.parametrize("option", ["SO_PASSCRED", "SO_PASSPIDFD"])
def test_what_else_was_asked_for_takes_no_room_and_leaks_nothing(blocking, option):
    number = {"SO_PASSCRED": 16, "SO_PASSPIDFD": 76}[option]
    sock, peer = pair_of(blocking)
    try:
        sock.setsockopt(socket.SOL_SOCKET, number, 1)
    except OSError as error:
        assert option == "SO_PASSPIDFD" and error.errno == errno.ENOPROTOOPT
        pytest.skip("this kernel has no SO_PASSPIDFD")
    with Pipes(2) as pipes:
        socket.send_fds(peer, [b"two"], pipes.writers)

        def use(sock):
            return (yield sock.recv_fds(10, 2))

        data, fds, flags, _address = run(sock, blocking, use)
        assert data == b"two" and flags == 0
        pipes.check(fds)
        assert not [name for name in opened() if "pidfd" in name]


@modes
def test_a_timeout_takes_nothing(blocking):
    sock, peer = pair_of(blocking)
    sock.settimeout(0.03)
    with Pipes(1) as pipes:

        def use(sock):
            with pytest.raises(TimeoutError):
                yield sock.recv_fds(10, 1)
            socket.send_fds(peer, [b"late"], pipes.writers)
            got = yield sock.recv_fds(10, 1)
            with pytest.raises(TimeoutError):
                while True:
                    yield sock.send_fds([bytes(1 << 16)], pipes.writers)
            return got

        data, fds, _flags, _address = run(sock, blocking, use)
        assert data == b"late"
        pipes.check(fds)


@also_await
def test_a_receive_that_is_given_up_takes_nothing():
    sock, peer = pair_of(False)
    got = []

    def read(coro=None):
        got.append((yield sock.recv_fds(10, 1)))

    def main(coro=None):
        with pytest.raises(TimeoutError):
            yield asyncoro.timeout(0.01, sock.recv_fds(10, 1))
        for number in range(200):
            reader = Coro(read)
            yield coro.sleep(0)
            if number % 2:
                yield coro.sleep(0)
            socket.send_fds(peer, [b"x"], pipes.writers)
            if number % 4 < 2:
                yield coro.sleep(0)
            reader.terminate()
            yield reader.finish()
            if len(got) <= number:
                got.append((yield sock.recv_fds(10, 1)))

    with Pipes(1) as pipes:
        go(main)
        assert len(got) == 200
        for data, fds, flags, _address in got:
            assert (data, flags) == (b"x", 0)
            assert len(fds) == 1 and not os.get_inheritable(fds[0])
            os.close(fds[0])


@also_await
def test_descriptors_that_nobody_receives_are_closed_with_the_socket():
    sock, peer = pair_of(False)

    def main(coro=None):
        waiting = Coro(sock.recv_fds, 10, 1)
        yield coro.sleep(0)
        waiting.terminate()
        yield waiting.finish()
        socket.send_fds(peer, [b"x"], [writer])
        os.close(writer)
        sock.close()

    reader, writer = os.pipe()
    go(main)
    assert os.read(reader, 1) == b"", "the last writer is gone"
    os.close(reader)


@also_await
def test_they_come_behind_what_is_queued():
    sock, peer = pair_of(False)
    with Pipes(1) as pipes:

        def main(coro=None):
            yield sock.send_msg(b"first")
            sent = yield sock.send_fds([b"second"], pipes.writers)
            yield sock.sendall(b"third")
            yield sock.flush()
            return sent

        assert go(main) == 6
        data, fds, _flags, _address = socket.recv_fds(peer, 100, 1)
        assert data == b"\0\0\0\5firstsecond" and read_exactly(peer, 5) == b"third"
        for fd in fds:
            os.set_inheritable(fd, False)
        pipes.check(fds)


@also_await
def test_a_send_waits_for_room():
    sock, peer = pair_of(False)
    peer.settimeout(None)
    with Pipes(1) as pipes:

        def main(coro=None):
            filled = 0
            with pytest.raises(BlockingIOError):
                while True:
                    filled += yield sock.send(bytes(1 << 16), socket.MSG_DONTWAIT)
            sending = Coro(sock.send_fds, [b"x"], pipes.writers)
            yield coro.sleep(0.02)
            assert sending.is_alive()
            reading = parallel(read_exactly, peer, filled)
            sent = yield sending.finish()
            reading.result()
            return sent

        assert go(main) == 1
        _data, fds, _flags, _address = socket.recv_fds(peer, 100, 1)
        for fd in fds:
            os.set_inheritable(fd, False)
        pipes.check(fds)


@modes
def test_wrong_arguments_are_refused_and_nothing_is_sent(blocking):
    sock, peer = pair_of(blocking)
    closed = os.dup(0)
    os.close(closed)

    def use(sock):
        for wrong, error, text in (
            (lambda: sock.send_fds([b"x"], ["0"]), TypeError, "int"),
            (lambda: sock.send_fds([b"x"], 5), TypeError, "iter"),
            (lambda: sock.send_fds(5, [0]), TypeError, "iter"),
            (lambda: sock.send_fds(["x"], [0]), TypeError, "bytes-like"),
            (lambda: sock.send_fds([b"x"], [1 << 40]), OverflowError, "int"),
            (lambda: sock.send_fds([b"x"]), TypeError, "fds"),
            (lambda: sock.send_fds([b"", b""], [0]), ValueError, "along with a byte"),
            (lambda: sock.send_fds([], [0]), ValueError, "along with a byte"),
            (lambda: sock.send_fds([b"x"], [0] * 254), OSError, "at most 253 descriptors"),
            (lambda: sock.send_fds([b"x"], [closed]), OSError, "Bad file descriptor"),
            (lambda: sock.send_fds([b"x"], [-1]), OSError, "Bad file descriptor"),
            (lambda: sock.recv_fds(-1, 1), ValueError, "negative buffersize in recv_fds"),
            (lambda: sock.recv_fds(1, -1), ValueError, "negative maxfds in recv_fds"),
            (lambda: sock.recv_fds(1), TypeError, "maxfds"),
            (lambda: sock.recv_fds("1", 1), TypeError, "int"),
        ):
            with pytest.raises(error, match=text) as raised:
                yield wrong()
            if text.startswith("at most"):
                assert raised.value.errno == errno.EINVAL
        yield sock.send_fds([b"only"], [])
        # More than the system knows of are no reason to fail.
        socket.send_fds(peer, [b"x"], [0])
        return (yield sock.recv_fds(10, 100_000))

    data, fds, _flags, _address = run(sock, blocking, use)
    os.close(fds[0])
    assert data == b"x" and peer.recv(100) == b"only"


@modes
def test_other_sockets_than_those_of_unix_are_refused(blocking, certificates):
    tcp, _peer = async_pair()
    tcp.setblocking(blocking)
    udp = AsyncSocket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), blocking)
    for sock in (tcp, udp):
        for wrong in (lambda: sock.send_fds([b"x"], [0]), lambda: sock.recv_fds(1, 1)):
            with pytest.raises(ValueError, match="does not work on a socket that is not a Unix"):
                wrong()
    here, _there = socket.socketpair()
    tls = AsyncSocket(here, blocking, certfile=certificates.chain)
    for wrong in (lambda: tls.send_fds([b"x"], [0]), lambda: tls.recv_fds(1, 1)):
        with pytest.raises(OSError, match="with TLS there is no passing of descr") as raised:
            wrong()
        assert raised.value.errno == errno.EOPNOTSUPP


@modes
def test_a_close_ends_those_who_wait(blocking):
    sock, _peer = pair_of(blocking)

    def main(coro=None):
        waiting = Coro(sock.recv_fds, 10, 1)
        yield coro.sleep(0.01)
        sock.close()
        return (yield waiting.finish()).value

    if blocking:
        reading = parallel(sock.recv_fds, 10, 1)
        threading.Event().wait(0.05)
        sock.close()
        with pytest.raises(OSError) as raised:
            reading.result()
        assert raised.value.errno == errno.EBADF
    else:
        level = asyncoro.logger.level
        asyncoro.logger.setLevel("critical")
        try:
            assert "Bad file descriptor" in str(go(main))
        finally:
            asyncoro.logger.setLevel(level)
    for wrong in (lambda: sock.send_fds([b"x"], [0]), lambda: sock.recv_fds(1, 1)):
        with pytest.raises(OSError, match="closed") as raised:
            wrong()
        assert raised.value.errno == errno.EBADF


def test_a_connection_that_was_accepted_passes_them_within_its_timeout(tmp_path):
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    server = AsyncSocket(listener, True)
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    sock, _ = server.accept()
    # It has no regular socket yet, which has to learn of the timeout.
    sock.settimeout(0.03)
    with Pipes(1) as pipes:
        for waits in (lambda: sock.recv_fds(1, 1), lambda: sock.recvmsg(1, 100)):
            with pytest.raises(TimeoutError):
                parallel(waits).result()

        def fill():
            while True:
                sock.send_fds([bytes(1 << 16)], pipes.writers)

        with pytest.raises(TimeoutError):
            parallel(fill).result()
        got = socket.recv_fds(client, 1, 1)
        # The peer tells its address.
        assert got[3] == path
        for fd in got[1]:
            os.close(fd)


def test_ancillary_data_of_the_regular_verbs_are_theirs():
    """recvmsg gives descriptors as `socket` does: inheritable ones, unless it is told otherwise."""
    sock, peer = pair_of(True)
    for flags, inheritable in ((0, True), (socket.MSG_CMSG_CLOEXEC, False)):
        socket.send_fds(peer, [b"x"], [0])
        data, ancillary, _flags, _address = sock.recvmsg(10, socket.CMSG_LEN(4), flags)
        (level, kind, rights), = ancillary
        fd, = array.array("i", rights)
        assert (data, level, kind) == (b"x", socket.SOL_SOCKET, socket.SCM_RIGHTS)
        assert os.get_inheritable(fd) is inheritable
        os.close(fd)
