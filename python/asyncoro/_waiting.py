"""Waits of threads."""

import threading
import time

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
    if threading.current_thread() is not threading.main_thread():
        return lock.acquire(True, left)
    deadline = time.monotonic() + left
    interval = _FIRST
    while left > interval:
        if lock.acquire(True, interval):
            return True
        left = deadline - time.monotonic()
        interval = min(2 * interval, _LONGEST)
    return lock.acquire(True, max(0.0, left))


def join(thread):
    """Waits until a thread has ended, as above."""
    interval = _FIRST
    while True:
        thread.join(interval)
        if not thread.is_alive():
            return
        interval = min(2 * interval, _LONGEST)
