"""The log: lines as pycos writes them, records of `logging`, and what the engine has to say."""

import io
import logging
import re
import sys

import pytest

import asyncoro
from harness import run_program

LINE = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d name - %s$"


@pytest.fixture
def streams(monkeypatch):
    """Takes the place of standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    return out, err


@pytest.fixture
def records():
    """Collects the records of the logger `name`."""
    standard, found = logging.getLogger("name"), []
    handler = logging.Handler()
    handler.emit = found.append
    standard.addHandler(handler)
    yield found
    standard.removeHandler(handler)
    standard.setLevel(logging.NOTSET)


def test_without_configuration_lines_go_to_the_standard_streams():
    program = run_program("""
        logger = asyncoro.Logger("name")
        logger.debug("left out")
        logger.info("on %s", "out")
        logger.warning("on err")
        logger.warn("on err, %d", 2)
        logger.log("always")
        logger.show_ms(True)
        logger.setLevel("error")
        logger.warning("left out")
        logger.error("with ms")
        logger.flush()
        logger.shutdown()
    """)
    out, err = program.stdout.splitlines(), program.stderr.splitlines()
    assert [line.split(" - ")[1] for line in out] == ["on out", "always"]
    assert [line.split(" - ")[1] for line in err] == ["on err", "on err, 2", "with ms"]
    assert re.match(LINE % "on out", out[0])
    assert re.match(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} name - with ms$", err[2])


def test_a_program_that_configured_logging_gets_records(records, streams):
    logger = asyncoro.Logger("name")
    logging.getLogger("name").setLevel(logging.DEBUG)
    logger.debug("one %s", 1)
    logger.warn("two")
    logger.log("three")
    assert [(record.name, record.levelname, record.getMessage()) for record in records] == [
        ("name", "DEBUG", "one 1"), ("name", "WARNING", "two"), ("name", "INFO", "three"),
    ]
    assert [stream.getvalue() for stream in streams] == ["", ""]
    # As the program's own line, which tools show.
    record = records[0]
    assert record.funcName == "test_a_program_that_configured_logging_gets_records"
    assert record.filename == "test_log.py" and record.args == (1,)


def test_an_exception_that_is_handled_is_written_with_its_traceback(records, streams):
    try:
        raise ValueError("no good")
    except ValueError:
        asyncoro.Logger("name").exception("it failed: %d", 5)
        stream = io.StringIO()
        asyncoro.Logger("other", stream).exception("it failed")
    record, = records
    assert record.levelno == logging.ERROR and record.getMessage() == "it failed: 5"
    assert record.exc_info[0] is ValueError
    assert "it failed:\n" in stream.getvalue() and "ValueError: no good" in stream.getvalue()
    asyncoro.Logger("name").exception("nothing is handled")
    assert not records[1].exc_info


def test_both_levels_hold_for_records(records):
    logger = asyncoro.Logger("name")
    logging.getLogger("name").setLevel(logging.ERROR)
    logger.warning("left out by logging")
    logging.getLogger("name").setLevel(logging.DEBUG)
    logger.setLevel(logger.ERROR)
    logger.warning("left out by setLevel")
    logger.error("kept")
    assert [record.getMessage() for record in records] == ["kept"]


def test_a_stream_gets_the_lines_in_either_case(records):
    stream = io.StringIO()
    logger = asyncoro.Logger("name", stream, logging.DEBUG)
    logger.warning("both")
    assert re.match(LINE % "both", stream.getvalue())
    assert len(records) == 1


def test_an_uncaught_exception_is_a_record_with_its_traceback():
    program = run_program("""
        import logging
        def format(record):
            last = record.exc_info[2]
            while last.tb_next:
                last = last.tb_next
            return "%s|%s|%s|%s" % (record.name, record.levelname, record.exc_info[1],
                                    last.tb_frame.f_code.co_name)
        handler = logging.StreamHandler(sys.stdout)
        handler.format = format
        logging.basicConfig(handlers=[handler])
        async def fails():
            raise KeyError("mine")
        asyncoro.Coro(fails).value()
    """)
    assert program.stdout == "asyncoro|ERROR|'mine'|fails\n"
    assert program.stderr == ""


#: `told` has the lines of the log; `close_some` makes room for three connections after the first.
WITHOUT_DESCRIPTORS = """
    import logging, resource
    server = asyncoro.create_server("127.0.0.1:0", backlog=50)
    clients = [socket.create_connection(server.getsockname()) for _ in range(8)]
    told, taken = [], []

    class Told(logging.Handler):
        def emit(self, record):
            told.append(record)
            line = (record.name, record.levelname, threading.current_thread().name)
            os.write(1, ("%s %s %s " % line + record.getMessage() + "\\n").encode())
            self.more()
        def more(self):
            pass

    logging.getLogger("asyncoro").addHandler(Told())

    def fill():
        taken.extend(os.dup(0) for _ in range(3))
        limit = max(taken) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    def close_some():
        while taken:
            os.close(taken.pop())
"""


def test_accept_without_descriptors_says_so_once_in_the_log():
    program = run_program(WITHOUT_DESCRIPTORS + """
    def free(coro=None):
        while not told:
            yield coro.sleep(0.01)
        close_some()

    async def main():
        fill()
        asyncoro.Coro(free)
        for _ in range(3):
            await server.accept()

    asyncoro.run(main())
    os._exit(0)
    """)
    said = "asyncoro WARNING MainThread accept waits for a free descriptor: Too many open files"
    assert program.stdout.startswith(said) and program.stdout.count("\n") == 1
    assert program.stderr == ""


def test_a_blocking_accept_without_descriptors_says_so_once_in_the_log():
    program = run_program(WITHOUT_DESCRIPTORS + """
    blocking = asyncoro.AsyncSocket(server, blocking=True)

    def free():
        while not told:
            time.sleep(0.01)
        close_some()

    threading.Thread(target=free).start()
    fill()
    accepted = [blocking.accept() for _ in range(3)]
    os._exit(0)
    """)
    said = "asyncoro WARNING MainThread accept waits for a free descriptor: Too many open files"
    assert program.stdout.startswith(said) and program.stdout.count("\n") == 1
    assert program.stderr == ""


def test_a_handler_may_start_coroutines_for_a_line_of_the_engine():
    program = run_program(WITHOUT_DESCRIPTORS + """
    async def close():
        close_some()

    Told.more = lambda self: asyncoro.Coro(close)

    async def main():
        fill()
        for _ in range(3):
            await server.accept()

    asyncoro.run(main())
    os._exit(0)
    """)
    assert program.stdout.count("\n") == 1 and program.stderr == ""


def test_without_a_handler_the_line_of_the_engine_goes_to_standard_error():
    program = run_program(WITHOUT_DESCRIPTORS + """
    logging.getLogger("asyncoro").handlers.clear()

    def free(coro=None):
        yield coro.sleep(0.1)
        close_some()

    async def main():
        fill()
        asyncoro.Coro(free)
        for _ in range(3):
            await server.accept()

    asyncoro.run(main())
    os._exit(0)
    """)
    assert program.stdout == ""
    assert re.search(r"^\S+ \S+ asyncoro - accept waits for a free descriptor", program.stderr)
    assert program.stderr.count("\n") == 1


def test_a_scheduler_that_cannot_start_says_why_with_errno():
    program = run_program(WITHOUT_DESCRIPTORS + """
    async def main():
        pass

    fill()
    try:
        asyncoro.run(main())
    except OSError as error:
        os.write(1, b"%d" % error.errno)
    os._exit(0)
    """)
    assert program.stdout == "24"
