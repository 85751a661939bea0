"""Tests that each Python block of docs/python.md runs as a program of its own."""

import pathlib
import re

import pytest

from harness import run_program

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _blocks():
    """Yields the blocks, each under the number of the line on which it begins."""
    text = PAGE.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        yield pytest.param(block[1], id=f"line {line}")


@pytest.mark.parametrize("source", list(_blocks()))
def test_a_block_of_the_page_is_a_program(source):
    program = run_program(source)
    assert program.process.returncode == 0, program.stderr
    assert "Traceback" not in program.stderr


def test_there_are_blocks():
    assert len(list(_blocks())) > 10
