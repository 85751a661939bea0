"""Runs random programs over pairs of sockets, and checks that no byte is lost or comes twice.

    python python/tests/fuzz_programs.py --seconds 600 [--seed N]

Each round makes some streams. In each a coroutine sends a pattern that tells the place of every
byte, or numbered messages, and another reads them in all ways: with every verb, in `first`,
`timeout`, `gather`, coroutines of their own, asynchronous generators; with calls that are stored,
dropped, made in threads, started by hand, awaited twice. Meanwhile exceptions are thrown into the
readers, and their helpers are terminated or swapped. All must end. The seed of a round that fails
is printed; what it does is the same each time as far as the order of events is.
"""

import argparse
import concurrent.futures
import contextlib
import contextvars
import faulthandler
import gc
import random
import socket
import sys
import threading
import time
import traceback
import warnings

import asyncoro
from asyncoro import AsyncSocket, Coro, current, first, gather, sleep, timeout

#: Seconds that a round may take.
ROUND = 60
PERIOD = 65521
_NUMBERS = random.Random(1)
PATTERN = bytes(_NUMBERS.getrandbits(8) for _ in range(PERIOD))
PATTERN += PATTERN
NUMBER = contextvars.ContextVar("number")


class Chaos(Exception):
    """Thrown into a reader, which goes on."""


def piece(place, count):
    place %= PERIOD
    data = PATTERN[place : place + count]
    while len(data) < count:
        data += PATTERN[: count - len(data)]
    return data


class Stream:
    """What was sent and read of one direction of a pair."""

    def __init__(self, rng, out, into, size):
        self.rng, self.out, self.into, self.size = rng, out, into, size
        self.sent = self.read = 0
        self.ended = False

    def check(self, data):
        assert data == piece(self.read, len(data)), (
            f"at {self.read} of {self.sent} came {data[:20]!r}, not {piece(self.read, 20)!r}"
        )
        self.read += len(data)
        if not data:
            self.ended = True

    def count(self):
        return self.rng.choice([1, 2, 7, 100, 1000, 5000, 70000])


class Round:
    def __init__(self, seed):
        self.seed = seed
        self.rng = random.Random(seed)
        self.victims = []
        self.helpers = []
        self.faults = []
        self.pool = concurrent.futures.ThreadPoolExecutor(2)

    # ---- senders

    async def send(self, stream):
        rng, out = stream.rng, stream.out
        while stream.sent < stream.size:
            data = piece(stream.sent, stream.count())
            form = rng.choice([bytes, bytearray, memoryview])(data)
            way = rng.randrange(8)
            if way == 0:
                stream.sent += await out.send(form)
                continue
            call = out.sendall(form)
            if way == 1:
                del call
                continue
            if way == 2:
                gc.collect()
            if way == 3:
                await timeout(ROUND, call)
            elif way == 4:
                await first(call, sleep(ROUND))
            elif way == 5:
                await Coro(self.one, call)
            else:
                await call
            stream.sent += len(data)
            if rng.random() < 0.1:
                await sleep(rng.choice([0, 0, 0.001]))
        if rng.random() < 0.3:
            await out.flush()
        if rng.random() < 0.3:
            await asyncoro.wait_future(self.pool.submit(out.close))
        else:
            out.close()

    @staticmethod
    def one(call):
        return (yield call)

    async def send_messages(self, stream):
        rng, out = stream.rng, stream.out
        while stream.sent < stream.size:
            data = stream.sent.to_bytes(4, "big") + piece(stream.sent, stream.count())
            await out.send_msg(data)
            stream.sent += 1
        out.close()

    # ---- readers

    async def read_messages(self, stream):
        me = current()
        self.victims.append(me)
        while not stream.ended:
            try:
                call = stream.into.recv_msg()
                way = stream.rng.randrange(4)
                if way == 0:
                    place, data = await first(call, sleep(stream.rng.choice([0, 0.001])))
                    if place:
                        continue
                elif way == 1:
                    data = await timeout(stream.rng.choice([0, 0.001, 1]), call)
                else:
                    data = await call
                if data == b"":
                    stream.ended = True
                else:
                    assert data[:4] == stream.read.to_bytes(4, "big"), (stream.read, data[:4])
                    assert data[4:] == piece(stream.read, len(data) - 4)
                    stream.read += 1
            except (Chaos, TimeoutError):
                pass
        self.victims.remove(me)

    async def read(self, stream):
        me = current()
        number = object()
        NUMBER.set(number)
        ways = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("way_")]
        self.victims.append(me)
        while not stream.ended:
            way = stream.rng.choice(ways)
            try:
                await way(stream)
            except (Chaos, TimeoutError, asyncoro.Terminated):
                pass
            assert NUMBER.get() is number, "the context has changed"
            assert current() is me
        self.victims.remove(me)

    async def way_recv(self, stream):
        stream.check(await stream.into.recv(stream.count()))

    async def way_recvs(self, stream):
        for _ in range(stream.rng.randrange(400)):
            data = await stream.into.recv(1)
            stream.check(data)
            if not data:
                break

    async def way_recv_into(self, stream):
        room = bytearray(stream.count())
        count = await stream.into.recv_into(room)
        stream.check(bytes(room[:count]))

    async def way_recvall(self, stream):
        # At the end of the stream it gives b"", also in place of fewer bytes.
        count = min(stream.count(), stream.size - stream.read)
        if count > 0:
            stream.check(await stream.into.recvall(count))

    async def way_first(self, stream):
        call = stream.into.recv(stream.count())
        others = [sleep(stream.rng.choice([0, 0.001, 1])), current().receive(0.01)]
        calls = [call] + others[: stream.rng.randrange(1, 3)]
        stream.rng.shuffle(calls)
        place, value = await first(*calls)
        if calls[place] is call:
            stream.check(value)

    async def way_timeout(self, stream):
        seconds = stream.rng.choice([0, 0.0005, 0.002, 1])
        if stream.rng.random() < 0.5:
            stream.check(await timeout(seconds, stream.into.recv(stream.count())))
        else:
            with timeout(seconds):
                for _ in range(5):
                    stream.check(await stream.into.recv(stream.count()))

    async def way_stored(self, stream):
        calls = [stream.into.recv(stream.count()) for _ in range(stream.rng.randrange(1, 5))]
        await sleep(0)
        call = stream.rng.choice(calls)
        del calls
        gc.collect(stream.rng.randrange(3))
        stream.check(await call)
        try:
            await call
        except RuntimeError:
            return
        raise AssertionError("awaited twice")

    async def way_by_hand(self, stream):
        call = stream.into.recv(stream.count())
        try:
            assert call.send(None) is call
        except StopIteration as stop:
            return stream.check(stop.value)
        what = stream.rng.randrange(5)
        if what == 0:
            stream.check(await call)
        elif what == 1:
            call.close()
        elif what == 2:
            with contextlib.suppress(Chaos):
                call.throw(Chaos())
        elif what == 3:
            kept = [call]
            del call
            await asyncoro.wait_future(self.pool.submit(kept.clear))

    async def way_thread(self, stream):
        made = self.pool.submit(stream.into.recv, stream.count())
        call = await asyncoro.wait_future(made)
        if stream.rng.random() < 0.5:
            stream.check(await call)
        else:
            made = None
            self.pool.submit(lambda calls: calls.clear(), [call])

    async def way_generator(self, stream):
        async def pieces():
            try:
                while True:
                    data = await stream.into.recv(stream.count())
                    stream.check(data)
                    yield data
            finally:
                if stream.rng.random() < 0.5:
                    await sleep(0)

        got = pieces()
        async for data in got:
            if not data or stream.rng.random() < 0.3:
                break
        if stream.rng.random() < 0.5:
            await got.aclose()

    async def way_manager(self, stream):
        @contextlib.asynccontextmanager
        async def reading():
            data = await stream.into.recv(stream.count())
            stream.check(data)
            try:
                yield data
            finally:
                await sleep(0)

        async with reading():
            await sleep(0)

    def helper(self, stream, depth=0):
        """Reads once, as the function of a coroutine of its own."""
        me = current()
        me.hot_swappable(stream.rng.random() < 0.5)
        me.set_daemon(stream.rng.random() < 0.3)
        self.helpers.append(me)
        try:
            if depth < 2 and stream.rng.random() < 0.5:
                yield self.inner(stream, depth + 1)
            else:
                stream.check((yield stream.into.recv(stream.count())))
        finally:
            self.helpers.remove(me)
            me.set_daemon(False)
            if stream.rng.random() < 0.3:
                yield sleep(0)

    def inner(self, stream, depth):
        data = yield stream.into.recv(stream.count())
        stream.check(data)
        return data

    async def way_helper(self, stream):
        helper = Coro(self.helper, stream)
        try:
            await helper
        finally:
            if helper.is_alive():
                helper.terminate()
                while helper.is_alive():
                    with contextlib.suppress(Chaos):
                        await helper.finish()

    async def way_gather(self, stream):
        await gather(Coro(self.helper, stream), sleeping(stream.rng.choice([0, 0.001])))

    async def way_closed_generator(self, stream):
        generator = self.inner(stream, 0)
        call = next(generator)
        if stream.rng.random() < 0.5:
            generator.close()
            return
        try:
            generator.send(await call)
        except StopIteration:
            pass
        else:
            raise AssertionError("it goes on")

    async def way_closed_elsewhere(self, stream):
        """Another coroutine closes the call that is awaited."""
        call = stream.into.recv(stream.count())
        asyncoro.Coro(closing, call, stream.rng.choice([0, 0.001]))
        try:
            stream.check(await call)
        except RuntimeError as error:
            assert "given up" in str(error) or "awaited before" in str(error), error

    # ---- chaos

    def one_chaos(self, rng):
        try:
            what = rng.randrange(6)
            if what < 3 and self.victims:
                rng.choice(self.victims).throw(Chaos())
            elif what == 3 and self.helpers:
                rng.choice(self.helpers).terminate()
            elif what == 4 and self.helpers:
                rng.choice(self.helpers).throw(Chaos())
            elif what == 5 and self.helpers:
                rng.choice(self.helpers).hot_swap(swapped)
        except IndexError:
            pass  # it has ended meanwhile

    async def chaos(self, rng):
        while not self.over:
            self.one_chaos(rng)
            await sleep(rng.choice([0, 0, 0.0005, 0.002]))

    def chaos_in_thread(self, rng):
        while not self.over:
            self.one_chaos(rng)
            time.sleep(rng.choice([0, 0.0005, 0.002]))

    # ---- a round

    def pair(self):
        if self.rng.random() < 0.5:
            pair = socket.socketpair()
        else:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                one = socket.create_connection(listener.getsockname())
                pair = one, listener.accept()[0]
        return [AsyncSocket(sock) for sock in pair]

    async def abandon(self):
        """A thread closes a socket on which coroutines wait, one of which is left waiting."""
        here, there = self.pair()

        async def read():
            with contextlib.suppress(OSError):
                while await there.recv(1000):
                    pass

        async def write():
            with contextlib.suppress(OSError):
                while True:
                    await here.sendall(bytes(self.rng.choice([10, 100000])))

        coros = [Coro(read), Coro(write)]
        await sleep(0.001)
        for sock in self.rng.sample([here, there], 2):
            await asyncoro.wait_future(self.pool.submit(sock.close))
        for coro in coros:
            await coro.finish()

    def run(self):
        self.over = False
        self.streams = []
        coros = []
        for _ in range(self.rng.randrange(1, 5)):
            out, into = self.pair()
            of_messages = self.rng.random() < 0.3
            size = self.rng.choice([5, 50]) if of_messages else self.rng.choice([0, 3000, 300000])
            stream = Stream(random.Random(self.rng.random()), out, into, size)
            self.streams.append(stream)
            send, read = (
                (self.send_messages, self.read_messages) if of_messages else (self.send, self.read)
            )
            coros += [Coro(send, stream), Coro(read, stream)]
        coros.append(Coro(self.abandon))
        chaos = [Coro(self.chaos, random.Random(self.rng.random()))]
        thread = threading.Thread(
            target=self.chaos_in_thread, args=(random.Random(self.rng.random()),)
        )
        thread.start()
        deadline = time.monotonic() + ROUND
        try:
            for coro in coros:
                try:
                    coro.result(max(deadline - time.monotonic(), 0.01))
                except BaseException:
                    self.faults.append(f"{coro}: {traceback.format_exc()}")
                    break
        finally:
            self.over = True
            thread.join()
        for coro in coros + chaos:
            if self.faults:
                coro.terminate()
        for stream in self.streams:
            if not self.faults and stream.read != stream.sent:
                self.faults.append(f"{stream.sent} sent, {stream.read} read")
        self.pool.shutdown()
        return self.faults


async def swapped():
    await sleep(0)


async def sleeping(seconds):
    await sleep(seconds)


async def closing(call, seconds):
    await sleep(seconds)
    call.close()


def run(seconds, seed, rounds=None):
    """Runs rounds from `seed` on; returns the faults of the first that fails."""
    faulthandler.enable()
    warnings.simplefilter("ignore", RuntimeWarning)
    warnings.simplefilter("ignore", ResourceWarning)
    asyncoro.logger.setLevel(asyncoro.Logger.CRITICAL)
    unraised = []
    sys.unraisablehook = lambda args: unraised.append(f"{args.exc_value!r} in {args.object!r}")
    end = time.monotonic() + seconds
    done = 0
    while time.monotonic() < end and done != rounds:
        faulthandler.dump_traceback_later(ROUND + 30, exit=True)
        print(f"seed {seed}", end="\r", file=sys.stderr, flush=True)
        faults = Round(seed).run()
        faulthandler.cancel_dump_traceback_later()
        faults += unraised
        if faults:
            print(f"\nseed {seed} fails:", *faults, sep="\n", flush=True)
            return faults
        seed += 1
        done += 1
    print(f"{done} rounds, the last with seed {seed - 1}")
    return []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    print(f"begins with seed {seed}")
    sys.exit(1 if run(options.seconds, seed, options.rounds) else 0)


if __name__ == "__main__":
    main()
