"""Waits of threads."""

import threading

#: How often the main thread looks for signals while it waits: the first and the longest interval,
#: in seconds.
_FIRST, _LONGEST = 0.05, 1.0


def acquire(lock, timeout=None):
    """Acquires a lock; False after `timeout` seconds.

    A signal ends no wait if it comes after CPython has looked for one and before the system waits
    for the lock, nor if another thread gets it: its handler would run when the lock is there,
    which may be never. So the main thread waits again and again.
    """
    left = threading.TIMEOUT_MAX
    if timeout is not None:
        left = min(max(0.0, timeout), left)
    if _handles_signals():
        # Without a look at a clock, which a test may have replaced.
        for interval in _intervals():
            if left <= interval:
                break
            if lock.acquire(True, interval):
                return True
            left -= interval
    return lock.acquire(True, left)


def join(thread):
    """Waits until a thread has ended, as above."""
    if _handles_signals():
        for interval in _intervals():
            thread.join(interval)
            if not thread.is_alive():
                return
    thread.join()


def _handles_signals():
    # Not by `current_thread`, which makes an object for a thread that `threading` has not started.
    return threading.get_ident() == threading.main_thread().ident


def _intervals():
    interval = _FIRST
    while True:
        yield interval
        interval = min(2 * interval, _LONGEST)
