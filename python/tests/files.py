"""What the tests of AsyncFile have in common."""

import os

import pytest

from asyncoro.asyncfile import AsyncFile


def pipe():
    """Returns the two ends of a pipe as AsyncFiles, which close them."""
    reader, writer = os.pipe()
    return AsyncFile(reader, closefd=True), AsyncFile(writer, closefd=True)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def path(tmp_path):
    """The path of a regular file of four lines."""
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n\nlast")
    return path
