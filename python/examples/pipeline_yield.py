"""A pipeline over processes: counts the words of a file, as `sort | uniq -c` does in a shell.

Run it with `python python/examples/pipeline_yield.py [FILE]`; without a file it counts its own.
"""

import subprocess
import sys

import asyncoro
from asyncoro.asyncfile import AsyncFile, AsyncPipe

PIPE = subprocess.PIPE


def write_words(path, pipe):
    # A regular file is read on a thread, so that a slow disk holds up nobody.
    with (yield AsyncFile.open(path)) as file:
        while line := (yield file.readline()):
            for word in line.split():
                yield pipe.write(word + b"\n", full=True)
    # `sort` writes nothing before its input ends.
    pipe.stdin.close()


def read_counts(pipe):
    counts = []
    while line := (yield pipe.readline()):
        count, word = line.decode().split()
        counts.append((int(count), word))
    return counts


def main(path):
    first = subprocess.Popen(["sort"], stdin=PIPE, stdout=PIPE)
    last = subprocess.Popen(["uniq", "-c"], stdin=first.stdout, stdout=PIPE)
    # This program does not read it: `uniq` alone has that end now.
    first.stdout.close()
    with AsyncPipe(first, last) as pipe:
        writer = asyncoro.Coro(write_words, path, pipe)
        # At the same time, since a pipe holds only so much.
        counts = yield read_counts(pipe)
        yield writer.finish()
        print("exit code:", (yield pipe.wait()))
    # All at once: write the input, read the output, wait for the end.
    text = "".join("%d %s\n" % pair for pair in sorted(counts, reverse=True)[:3])
    with AsyncPipe(subprocess.Popen(["cat", "-n"], stdin=PIPE, stdout=PIPE)) as pipe:
        out, _ = yield pipe.communicate(text)
    print(out.decode(), end="")


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else __file__
    asyncoro.Coro(main, path).result()
