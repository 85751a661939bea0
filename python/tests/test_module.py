"""`python -m asyncoro`: its options, its errors, and the aliases in children."""

import os
import sys

import pytest

import asyncoro
from harness import Program, run_program


def module(*arguments, cwd=None):
    with Program(command=[sys.executable, "-m", "asyncoro", *arguments], cwd=cwd) as program:
        program.end()
        print(program.stdout, program.stderr, sep="\n")
        return program


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option):
    program = module(option)
    assert program.process.returncode == 0
    assert "usage: python -m asyncoro" in program.stdout and program.stderr == ""


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option):
    program = module(option)
    assert program.process.returncode == 0
    assert program.stdout == "asyncoro %s\n" % asyncoro.__version__


@pytest.mark.parametrize("arguments", [[], ["--what"]])
def test_a_wrong_call_shows_the_usage(arguments):
    program = module(*arguments)
    assert program.process.returncode == 2
    assert "usage: python -m asyncoro" in program.stderr and program.stdout == ""


def test_a_free_threaded_build_is_refused_with_a_sentence():
    source = "import sys; sys.abiflags = 't'; import asyncoro"
    with Program(command=[sys.executable, "-c", source]) as program:
        program.end()
    assert program.process.returncode == 1
    last = program.stderr.splitlines()[-1]
    assert last.startswith("ImportError: asyncoro needs a CPython with the GIL"), program.stderr


def test_a_script_that_cannot_be_read_is_named(tmp_path):
    absent = str(tmp_path / "absent.py")
    program = module(absent)
    assert program.process.returncode == 2
    assert program.stdout == ""
    assert program.stderr == (
        "python -m asyncoro: can't open file %r: [Errno 2] No such file or directory\n" % absent
    )
    program = module(str(tmp_path))
    assert program.process.returncode == 2 and "Is a directory" in program.stderr
    assert "Traceback" not in program.stderr


def test_a_script_with_a_syntax_error_shows_only_that(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("def f(:\n")
    program = module(str(script))
    assert program.process.returncode == 1
    assert program.stderr.startswith('  File "%s", line 1' % script), program.stderr
    assert "SyntaxError" in program.stderr and "__main__.py" not in program.stderr


CHILDREN = """
import multiprocessing, sys
import pycos

def old(number, task=None):
    yield task.sleep(0)
    raise StopIteration(number + 1)

def work(number):
    return pycos.Task(old, number).value()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(1) as pool:
        print(pool.apply(work, (41,)), pool.apply(work, (42,)))
        pool.close()
        pool.join()
"""

METHODS = ["spawn", "forkserver"]


@pytest.mark.parametrize("method", METHODS)
def test_the_aliases_hold_in_children_of_multiprocessing(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(CHILDREN)
    program = module(str(script), method)
    assert program.process.returncode == 0
    assert program.stdout == "42 43\n"


@pytest.mark.parametrize("imports", ["", "import multiprocessing.spawn"])
@pytest.mark.parametrize("method", METHODS)
def test_the_aliases_of_a_guarded_main_hold_in_children(tmp_path, method, imports):
    (tmp_path / "worker.py").write_text(CHILDREN.split("if __name__")[0])
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    sys.path.insert(0, %r)\n"
        "    %s\n"
        "    import asyncoro\n"
        "    asyncoro.install_aliases()\n"
        "    asyncoro.install_aliases()\n"
        "    import worker\n"
        "    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:\n"
        "        print(pool.apply(worker.work, (41,)))\n"
        "        pool.close()\n"
        "        pool.join()\n"
        % (os.path.dirname(os.path.dirname(asyncoro.__file__)), imports)
    )
    command = ["env", "-u", "PYTHONPATH", sys.executable, str(script), method]
    with Program(command=command) as program:
        assert program.end() == 0, program.stderr
    assert program.stdout == "42\n"


def test_multiprocessing_is_imported_only_if_the_program_does():
    program = run_program("""
        before = "multiprocessing.spawn" in sys.modules
        asyncoro.install_aliases()
        import inspect, multiprocessing.spawn
        print(before, "get_preparation_data" in inspect.getsource(multiprocessing.spawn))
    """)
    assert program.stdout == "False True\n"


@pytest.mark.parametrize("imports", [
    "import pycos.asyncfile", "import pycos\nimport pycos.asyncfile as asyncfile",
    "import pycos\nfrom pycos.asyncfile import *", "import asyncoro.asyncfile, pycos",
    "from pycos import asyncfile\nimport pycos",
    "import pycos.asyncfile\nimport asyncoro.asyncfile",
])
def test_the_files_of_old_programs_are_those_of_this_package(imports):
    program = run_program("import asyncoro\nasyncoro.install_aliases()\n" + imports + """
assert pycos.asyncfile.AsyncFile is asyncoro.asyncfile.AsyncFile
assert pycos.asyncfile is sys.modules["asyncoro.asyncfile"] is sys.modules["pycos.asyncfile"]
if "AsyncPipe" in globals():
    assert AsyncPipe is asyncoro.asyncfile.AsyncPipe and AsyncFile is asyncoro.asyncfile.AsyncFile
""")
    assert program.process.returncode == 0


def test_what_files_need_is_imported_when_they_are_used():
    program = run_program("""
        assert "subprocess" not in sys.modules and "asyncoro.asyncfile" not in sys.modules
        asyncoro.asyncfile.AsyncPipe
        assert "asyncoro.asyncfile" in sys.modules
    """)
    assert program.process.returncode == 0


# ---- `raise StopIteration(value)`, in a program of its own: the aliases stay


def legacy(source):
    program = run_program("asyncoro.install_aliases()\nimport pycos\n" + source)
    assert program.process.returncode == 0
    return program.stdout.splitlines()


def test_a_stop_iteration_ends_the_generator_of_a_yield_from_alone():
    assert legacy("""
def inner(value):
    yield
    raise StopIteration(value)

def middle(value):
    return [(yield from inner(value)), "middle"]

def outer(task=None):
    results = []
    for value in (5, None, (1, 2), KeyError("a value")):
        results.append((yield from inner(value)))
    results.append((yield from middle(6)))
    yield task.sleep(0)
    raise StopIteration(results)

print(pycos.Task(outer).value())
""") == ["[5, None, (1, 2), KeyError('a value'), [6, 'middle']]"]


def test_yield_from_is_else_as_it_was():
    assert legacy("""
log = []

def inner(task):
    try:
        received = yield "plain"
        log.append(received)
        yield task.sleep(0.01)
        message = yield task.receive()
        log.append(message)
        yield task.receive()
    except KeyError as error:
        log.append(repr(error))
        yield task.sleep(0)
        raise ValueError("inner")
    finally:
        log.append("finally")

def middle(task):
    yield from inner(task)
    log.append("never")

def outer(task=None):
    try:
        yield from middle(task)
    except ValueError as error:
        import traceback
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        log.append((repr(error), names))
    return log

task = pycos.Task(outer)
task.send("message")
def thrower(task_=None, task=None):
    while "message" not in log:
        yield task.sleep(0.001)
    task_.throw(KeyError("thrown"))
pycos.Task(thrower, task)
print(task.value())
""") == [
        "['plain', 'message', \"KeyError('thrown')\", 'finally', "
        "(\"ValueError('inner')\", ['outer', 'middle', 'inner'])]"
    ]


def test_a_terminated_generator_of_yield_from_is_closed():
    assert legacy("""
def inner(task):
    try:
        yield task.sleep()
    finally:
        print("inner")

def outer(task=None):
    try:
        yield from inner(task)
    finally:
        print("outer")

task = pycos.Task(outer)
def ends(task=None):
    yield task.sleep(0)
    first.terminate()
first = task
pycos.Task(ends)
print(task.value())
""") == ["inner", "outer", "None"]
