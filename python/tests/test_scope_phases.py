"""Tests the soft and the hard phase of scopes, and their deadlines."""

import time

import pytest

import asyncoro
from asyncoro import Coro
from harness import WAIT, also_await, go
from scopes import fails, forever


# ---- Soft and hard


@also_await
def test_stop_is_seen_far_below_and_in_scopes_within():
    notes = []

    def polite(name):
        assert not asyncoro.is_stopping()
        yield asyncoro.stopping()
        assert asyncoro.is_stopping()
        notes.append(name)

    def within(s):
        s.spawn(polite, "inner")
        yield polite("inner body")

    def nested():
        yield asyncoro.scope(within)

    def body(s):
        s.spawn(polite, "outer")
        s.spawn(nested)
        yield asyncoro.sleep(0.02)
        assert not s.is_stopping()
        s.stop()
        assert s.is_stopping()
        yield s.stopping()

    def main(coro=None):
        assert not asyncoro.is_stopping()
        yield asyncoro.scope(body)
        assert not asyncoro.is_stopping()

    go(main)
    assert sorted(notes) == ["inner", "inner body", "outer"]


@also_await
def test_without_a_grace_stop_only_asks():
    def stubborn():
        yield asyncoro.sleep(0.05)
        return "done"

    def body(s):
        child = s.spawn(stubborn)
        s.stop()
        return (yield child.finish())

    def main(coro=None):
        return (yield asyncoro.scope(body))

    assert go(main) == "done"


@also_await
def test_with_a_grace_the_hard_phase_follows(caplog):
    notes = []

    def body(s):
        s.spawn(forever, notes, "stubborn")
        s.stop()
        yield asyncoro.sleep(0)
        return "value"

    def main(coro=None):
        return (yield asyncoro.scope(body, grace=0.02))

    assert go(main) == "value"
    assert notes == ["stubborn"]
    assert "forever" in caplog.text


@also_await
def test_a_body_that_does_not_stop_is_cut_off():
    def body(s):
        s.stop()
        yield asyncoro.sleep(None)

    def main(coro=None):
        with pytest.raises(TimeoutError):
            yield asyncoro.scope(body, grace=0.02)
        return "on"

    assert go(main) == "on"


@also_await
def test_an_error_begins_the_soft_phase_if_there_is_a_grace():
    notes = []

    def polite():
        yield asyncoro.stopping()
        yield asyncoro.sleep(0.01)
        notes.append("polite")

    def body(s):
        s.spawn(polite)
        s.spawn(fails, KeyError("bad"), 0.01)
        yield asyncoro.stopping()
        notes.append("body")

    def main(coro=None):
        with pytest.raises(KeyError):
            yield asyncoro.scope(body, grace=WAIT)

    go(main)
    assert notes == ["body", "polite"]


# ---- Deadlines


@also_await
def test_a_timeout_ends_all_and_is_raised():
    notes = []

    def body(s):
        s.spawn(forever, notes, "child")
        try:
            yield asyncoro.sleep(None)
        finally:
            notes.append("body")

    def main(coro=None):
        with pytest.raises(TimeoutError):
            yield asyncoro.scope(body, timeout=0.02)
        return sorted(notes)

    assert go(main) == ["body", "child"]


@also_await
def test_a_timeout_that_is_not_reached_does_nothing():
    def body(s):
        s.spawn(asyncoro.sleep(0.01))
        yield asyncoro.sleep(0)
        return "value"

    def main(coro=None):
        value = yield asyncoro.scope(body, timeout=WAIT)
        yield asyncoro.sleep(0.01)
        return value

    assert go(main) == "value"


@also_await
def test_the_soft_phase_begins_the_grace_before_the_deadline():
    def body(s):
        yield asyncoro.stopping()
        return s.deadline - time.monotonic()

    def main(coro=None):
        return (yield asyncoro.scope(body, timeout=10, grace=9.98))

    assert 5 < go(main) <= 9.99


@also_await
def test_deadlines_are_inherited_and_only_shortened():
    def deadline(s):
        yield asyncoro.sleep(0)
        return s.deadline

    def body(outer):
        longer = yield asyncoro.scope(deadline, timeout=WAIT * 2)
        shorter = yield asyncoro.scope(deadline, timeout=WAIT / 2)
        none = yield asyncoro.scope(deadline)
        below = yield outer.spawn(asyncoro.scope(deadline)).finish()
        return outer.deadline, longer, shorter, none, below

    def main(coro=None):
        free = yield asyncoro.scope(deadline)
        return (free, *(yield asyncoro.scope(body, timeout=WAIT)))

    free, outer, longer, shorter, none, below = go(main)
    assert free is None and longer == none == below == outer and shorter < outer


@also_await
def test_a_coroutine_that_is_started_without_the_scope_is_in_none():
    def detached():
        yield asyncoro.sleep(0)
        return asyncoro.is_stopping()

    def body(s):
        s.stop()
        return (yield Coro(detached).finish()), (yield s.spawn(detached).finish())

    def main(coro=None):
        return (yield asyncoro.scope(body))

    assert go(main) == (False, True)
