"""A pipeline over processes: counts the words of a file, as `sort | uniq -c` does in a shell.

Run it with `python python/examples/pipeline_await.py [FILE]`; without a file it counts its own.
"""

import subprocess
import sys

import asyncoro
from asyncoro.asyncfile import AsyncFile, AsyncPipe

PIPE = subprocess.PIPE


async def write_words(path, pipe):
    # A regular file is read on a thread, so that a slow disk holds up nobody.
    async with await AsyncFile.open(path) as file:
        async for line in file:
            for word in line.split():
                await pipe.write(word + b"\n", full=True)
    # `sort` writes nothing before its input ends.
    pipe.stdin.close()


async def read_counts(pipe):
    counts = []
    async for line in pipe:
        count, word = line.decode().split()
        counts.append((int(count), word))
    return counts


async def main(path):
    first = subprocess.Popen(["sort"], stdin=PIPE, stdout=PIPE)
    last = subprocess.Popen(["uniq", "-c"], stdin=first.stdout, stdout=PIPE)
    # This program does not read it: `uniq` alone has that end now.
    first.stdout.close()
    async with AsyncPipe(first, last) as pipe:
        # At the same time, since a pipe holds only so much.
        _, counts = await asyncoro.gather(write_words(path, pipe), read_counts(pipe))
        print("exit code:", await pipe.wait())
    # All at once: write the input, read the output, wait for the end.
    text = "".join("%d %s\n" % pair for pair in sorted(counts, reverse=True)[:3])
    async with AsyncPipe(subprocess.Popen(["cat", "-n"], stdin=PIPE, stdout=PIPE)) as pipe:
        out, _ = await pipe.communicate(text)
    print(out.decode(), end="")


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else __file__
    asyncoro.run(main(path))
