"""A supervisor: starts workers, restarts those that fail, later and later, gives up on one that
fails too often, and stops the others softly.

Run it with `python python/examples/supervisor_await.py`; it needs no port. Of three workers one is
well, one fails at first, and one always fails.
"""

import asyncoro

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 1  # seconds before a restart: the first, and the most
MOST_FAILURES = 5  # after which a worker is given up
GRACE = 2  # seconds that all may take to stop


async def serve(cleaned_up):
    """Works until it is terminated, and then says good-bye, which takes a while."""
    try:
        await asyncoro.sleep(None)
    finally:
        await asyncoro.sleep(0.001)
        cleaned_up.append(True)


async def shaky(attempts, cleaned_up):
    attempts.append(True)
    if len(attempts) < 3:
        raise OSError("attempt %d failed" % len(attempts))
    await serve(cleaned_up)


async def hopeless():
    raise RuntimeError("it never works")


async def supervise(name, work, *arguments):
    """Runs a worker in a coroutine of its own, whose failure ends it alone, again and again, until
    the scope is to stop."""
    pause = FIRST_PAUSE
    for failures in range(1, MOST_FAILURES + 1):
        worker = asyncoro.Coro(work, *arguments)
        try:
            place, _ = await asyncoro.first(worker, asyncoro.stopping())
            if place == 1:
                await worker.finish()  # it was terminated, and cleans up
                return "stopped"
            return "ended"
        except Exception as error:
            print("%s, failure %d: %s" % (name, failures, error))
        place, _ = await asyncoro.first(asyncoro.sleep(pause), asyncoro.stopping())
        if place == 1:
            return "stopped"
        pause = min(2 * pause, LONGEST_PAUSE)
    return "given up"


async def main():
    attempts, cleaned_up = [], []
    async with asyncoro.scope(grace=GRACE) as s:
        well = s.spawn(supervise, "well", serve, cleaned_up)
        restarted = s.spawn(supervise, "shaky", shaky, attempts, cleaned_up)
        given_up = s.spawn(supervise, "hopeless", hopeless)
        ends = [await given_up]
        s.stop()
        ends += [await well, await restarted]
    assert ends == ["given up", "stopped", "stopped"], ends
    assert len(cleaned_up) == 2
    print("ok: one worker was given up, two were stopped and have cleaned up")


if __name__ == "__main__":
    asyncoro.run(main())
