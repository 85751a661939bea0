"""The stubs: they agree with the package, and say what a program's types are."""

import os
import re
import subprocess
import sys
import textwrap

import pytest

import asyncoro

pytest.importorskip("mypy", reason="mypy is not installed")

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(asyncoro.__file__)))


def run(module, *arguments, cwd):
    # Started in an empty folder, with the package of this run: mypy takes the current one first.
    environment = dict(os.environ, MYPY_CACHE_DIR=str(cwd / "cache"))
    if "site-packages" not in PACKAGES:
        environment["MYPYPATH"] = environment["PYTHONPATH"] = PACKAGES
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.limit(280)
def test_the_stubs_agree_with_the_package(tmp_path):
    allowed = os.path.join(HERE, "stubtest_allowlist.txt")
    # Which of them there are depends on the version of Python, and of mypy.
    options = ["--allowlist", allowed, "--ignore-unused-allowlist", "--concise"]
    result = run("mypy.stubtest", "asyncoro", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_all_public_names_are_exported():
    for name in asyncoro.__all__:
        assert getattr(asyncoro, name) is not None
    public = {name for name in vars(asyncoro) if not name.startswith("_")}
    assert public - set(asyncoro.__all__) <= {"pickle"}


#: Each line is followed by what mypy says of it, if it says anything.
PROGRAM = """
    import pathlib, socket, sqlite3, subprocess
    from typing import Callable
    import asyncoro

    def modes(plain: socket.socket, blocking: bool) -> None:
        reveal_type(asyncoro.AsyncSocket(plain))  # AsyncSocket
        reveal_type(asyncoro.AsyncSocket(plain, True))  # BlockingSocket
        reveal_type(asyncoro.BlockingSocket(plain, certfile="a.pem"))  # BlockingSocket
        sock = asyncoro.AsyncSocket(plain, blocking)
        if isinstance(sock, asyncoro.BlockingSocket):
            reveal_type(sock.recv(10))  # bytes
        else:
            reveal_type(sock.recv(10))  # Call[bytes]

    def named(sock: asyncoro.BlockingSocket) -> None:
        reveal_type(sock.accept()[0])  # BlockingSocket
        reveal_type(sock.recvfrom_into(bytearray(4), nbytes=2)[0])  # int
        reveal_type(sock.makefile("rb"))  # BufferedReader
        reveal_type(sock.recv_line())  # bytes
        sock.recv_line().strip()  # error
        reveal_type(sock.recv_until(b";", max=9))  # bytes
        reveal_type(sock.recv_fds(9, 1)[1])  # list[int]
        reveal_type(sock.send_fds([b"x"], [0]))  # int
        for line in sock.lines(max=9):
            reveal_type(line)  # bytes
        for message in sock.messages():
            reveal_type(message)  # bytearray
        reveal_type(sock.family)  # AddressFamily
        sock.connect(5)  # error
        sock.recv(bufsize=5)  # error
        sock.setblocking(flag=True)  # error

    class Derived(asyncoro.AsyncSocket):  # error
        pass

    async def work(number: int) -> str:
        return str(number)

    async def main() -> int:
        reveal_type(await asyncoro.Coro(work, 1))  # str
        reveal_type(asyncoro.Coro(work, 1).result())  # str
        reveal_type(await asyncoro.create_connection("localhost:1"))  # AsyncSocket
        await asyncoro.create_connection(pathlib.Path("socket"), certfile=pathlib.Path("a.pem"))
        await asyncoro.create_connection(("localhost", "80"))  # error
        await asyncoro.gather(work(1), work, asyncoro.Coro(work, 2))
        await asyncoro.gather(42)  # error
        with asyncoro.timeout(None):
            await asyncoro.sleep(0.1)
        reveal_type(await asyncoro.timeout(1, work(1)))  # str
        asyncoro.logger.warn("%s", 5)
        return asyncoro.AsynCoro().cur_coro() is None

    async def incoming(sock: asyncoro.AsyncSocket) -> None:
        reveal_type(await sock.recv_line())  # bytes
        reveal_type(await sock.recv_fds(9, 1))  # tuple[bytes, list[int], int, Any]
        async for line in sock.lines():
            reveal_type(line)  # bytes
        reveal_type([message async for message in sock.messages()])  # list[bytearray]
        for message in sock.messages():  # error
            pass
        await sock.recv_until("text")  # error
        await sock.send_fds([b"x"], ["0"])  # error

    async def files(pool: asyncoro.AsyncThreadPool, path: pathlib.Path) -> None:
        file = await asyncoro.asyncfile.AsyncFile.open(path, "w+")
        reveal_type(file)  # AsyncFile
        async with file:
            reveal_type(await file.read(5, full=True))  # bytes
            reveal_type(await file.write(bytearray(5)))  # int
            await file.write("text")  # error
            async for line in file:
                reveal_type(line)  # bytes
        asyncoro.asyncfile.AsyncFile(path)  # error
        pipe = asyncoro.asyncfile.AsyncPipe(subprocess.Popen(["ls"], stdout=subprocess.PIPE))
        reveal_type(await pipe.communicate("text"))  # tuple[
        reveal_type(await pipe.wait())  # int
        reveal_type(await pool.async_task(divmod, 7, 3))  # tuple[int, int]
        reveal_type(await pool.async_task(target=len, args=("text",)))  # int
        await pool.async_task(divmod, "text")  # error
        await asyncoro.AsyncDBCursor(pool, sqlite3.connect("").cursor()).execute("select 1")

    async def tools(queue: asyncoro.Queue[int], news: asyncoro.Channel[str]) -> None:
        lock, condition = asyncoro.RLock(), asyncoro.Condition(asyncoro.Lock())
        reveal_type(await lock.acquire(timeout=1))  # bool
        async with lock, asyncoro.Semaphore(2), condition:
            reveal_type(await condition.wait(0.5))  # bool
            reveal_type(await condition.wait_for(lambda: "yes"))  # str
        asyncoro.Semaphore("2")  # error
        asyncoro.Condition("lock")  # error
        reveal_type(await asyncoro.Event().wait())  # bool
        reveal_type(await queue.get())  # int
        await queue.put("text")  # error
        async for item in queue:
            reveal_type(item)  # int
        async for message in news.subscription(5, slow="drop"):
            reveal_type(message)  # str
        news.subscription(slow="wait")  # error
        reveal_type(await news.subscribe(asyncoro.Coro(work, 1)))  # int
        reveal_type(news.statistics().subscribers)  # int
        news.send(5)  # error

    def fire() -> None:
        asyncoro.Coro(work, 1)
        coro = asyncoro.Coro(target=work, args=(1,), mailbox_capacity=8)
        reveal_type(coro.mailbox_capacity)  # int
        coro.mailbox_capacity = None
        coro.mailbox_capacity = "8"  # error

    server: asyncoro.AsyncSocket = asyncoro.create_server("127.0.0.1:80", backlog=5)
    reveal_type(asyncoro.run(main()))  # int
    asyncoro.AsynCoro().atexit(1, print, "over")
"""


@pytest.mark.limit(280)
def test_a_type_checker_says_what_a_program_gets(tmp_path):
    source = textwrap.dedent(PROGRAM)
    (tmp_path / "program.py").write_text(source)
    result = run("mypy", "--strict", "--no-error-summary", "program.py", cwd=tmp_path)
    said = {}
    for line in result.stdout.splitlines():
        if not line.startswith("program.py:"):
            # Where something of the stubs is defined.
            continue
        place, kind, text = line.split(":", 3)[1:]
        said.setdefault(int(place), []).append((kind.strip(), text))
    for number, line in enumerate(source.splitlines(), 1):
        _, _, wanted = line.partition("  # ")
        told = said.pop(number, [])
        if wanted == "error":
            assert any(kind == "error" for kind, _ in told), line
        elif wanted:
            shown = told[0][1].replace("asyncoro.", "").replace("builtins.", "")
            assert len(told) == 1 and re.search(r'["._[]%s' % re.escape(wanted), shown), told
        else:
            assert not told, (line, told)
    assert not said, result.stdout + result.stderr
