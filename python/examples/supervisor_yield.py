"""A supervisor: starts workers, restarts those that fail, later and later, gives up on one that
fails too often, and stops the others softly.

Run it with `python python/examples/supervisor_yield.py`; it needs no port. Of three workers one is
well, one fails at first, and one always fails.
"""

import asyncoro

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 1  # seconds before a restart: the first, and the most
MOST_FAILURES = 5  # after which a worker is given up
GRACE = 2  # seconds that all may take to stop


def serve(cleaned_up):
    """Works until it is terminated, and then says good-bye, which takes a while."""
    try:
        yield asyncoro.sleep(None)
    finally:
        yield asyncoro.sleep(0.001)
        cleaned_up.append(True)


def shaky(attempts, cleaned_up):
    attempts.append(True)
    if len(attempts) < 3:
        raise OSError("attempt %d failed" % len(attempts))
    yield serve(cleaned_up)


def hopeless():
    yield asyncoro.sleep(0)
    raise RuntimeError("it never works")


def supervise(name, work, *arguments):
    """Runs a worker in a coroutine of its own, whose failure ends it alone, again and again, until
    the scope is to stop."""
    pause = FIRST_PAUSE
    for failures in range(1, MOST_FAILURES + 1):
        worker = asyncoro.Coro(work, *arguments)
        try:
            place, _ = yield asyncoro.first(worker, asyncoro.stopping())
            if place == 1:
                yield worker.finish()  # it was terminated, and cleans up
                return "stopped"
            return "ended"
        except Exception as error:
            print("%s, failure %d: %s" % (name, failures, error))
        place, _ = yield asyncoro.first(asyncoro.sleep(pause), asyncoro.stopping())
        if place == 1:
            return "stopped"
        pause = min(2 * pause, LONGEST_PAUSE)
    return "given up"


def main():
    attempts, cleaned_up = [], []

    def block(s):
        well = s.spawn(supervise, "well", serve, cleaned_up)
        restarted = s.spawn(supervise, "shaky", shaky, attempts, cleaned_up)
        given_up = s.spawn(supervise, "hopeless", hopeless)
        ends = [(yield given_up.finish())]
        s.stop()
        for coro in (well, restarted):
            ends.append((yield coro.finish()))
        return ends

    ends = yield asyncoro.scope(block, grace=GRACE)
    assert ends == ["given up", "stopped", "stopped"], ends
    assert len(cleaned_up) == 2
    print("ok: one worker was given up, two were stopped and have cleaned up")


if __name__ == "__main__":
    asyncoro.run(main())
