"""Runs a few rounds of the random programs of `fuzz_programs.py`, with the same seeds each time."""

import os
import sys

from harness import Program

FUZZER = os.path.join(os.path.dirname(__file__), "fuzz_programs.py")


def test_random_programs_end_and_lose_no_byte():
    command = [sys.executable, FUZZER, "--seconds", "2", "--seed", "1"]
    with Program(command=command) as program:
        code = program.end(18)
        assert code == 0, program.stdout + program.stderr
        assert "rounds" in program.stdout
