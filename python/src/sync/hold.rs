//! What one coroutine at a time has, perhaps several times over; the others wait in a line.
//!
//! Whoever frees it gives it to the first in line before that one runs, so that nobody overtakes.
//! It is tied to the coroutine that has it (`coro/ties.rs`): when that ends, it is freed.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{fork::Ours, line::Line, stand::Kind};
use crate::{
    call,
    coro::{Coro, Tie},
    gil, guest, hooks,
};

/// A coroutine, and how many times over it has, or wants, what is held.
pub(super) struct Holder {
    pub(super) coro: Py<Coro>,
    pub(super) depth: usize,
}

#[derive(Default)]
pub(super) struct State {
    holder: Option<Holder>,
    /// The place in the line of the one that was given it and has not run since.
    given_to: Option<usize>,
    pub(super) line: Line<Holder>,
    /// Those that were ended while they waited in a condition, by their keys, and how many times
    /// over they had it: they go on without it, and need not free it.
    excused: Vec<(usize, usize)>,
    /// How many coroutines have ended while they had it.
    pub(super) cut_off: u64,
}

pub(super) struct Hold(RefCell<Ours<State>>);

/// What taking it at once comes to.
pub(super) enum Taken {
    Now,
    /// Another coroutine has it.
    Held,
    /// This coroutine has it, and it cannot be taken twice.
    Own,
}

impl Hold {
    pub(super) fn new() -> Rc<Hold> {
        Rc::new(Hold(RefCell::default()))
    }

    /// Calls `f` with the state; it may run no foreign code.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(self.0.borrow_mut().get())
    }

    /// Takes it if nobody has it, or if `coro` has it and it is `reentrant`.
    pub(super) fn take(
        self: &Rc<Self>,
        py: Python<'_>,
        coro: &Py<Coro>,
        depth: usize,
        reentrant: bool,
    ) -> Taken {
        let taken = self.with(|state| match &mut state.holder {
            None => {
                state.holder = Some(Holder { coro: coro.clone_ref(py), depth });
                None
            }
            Some(holder) if holder.coro.is(coro) && reentrant => {
                holder.depth += depth;
                Some(Taken::Now)
            }
            Some(holder) if holder.coro.is(coro) => Some(Taken::Own),
            Some(_) => Some(Taken::Held),
        });
        taken.unwrap_or_else(|| {
            self.tie(py, coro);
            Taken::Now
        })
    }

    /// Returns whether `coro` has it.
    pub(super) fn is_held_by(&self, coro: &Py<Coro>) -> bool {
        self.with(|state| state.holder.as_ref().is_some_and(|holder| holder.coro.is(coro)))
    }

    fn tie(self: &Rc<Self>, py: Python<'_>, coro: &Py<Coro>) {
        let tie: Weak<Hold> = Rc::downgrade(self);
        coro.get().tie(py, |ties| ties.add(tie));
    }

    /// Returns the coroutine that has it.
    pub(super) fn holder(&self, py: Python<'_>) -> Option<Py<Coro>> {
        self.with(|state| state.holder.as_ref().map(|holder| holder.coro.clone_ref(py)))
    }

    pub(super) fn depth(&self) -> usize {
        self.with(|state| state.holder.as_ref().map_or(0, |holder| holder.depth))
    }

    /// Frees it once for the coroutine that runs; RuntimeError if that has it not.
    pub(super) fn release(self: &Rc<Self>, py: Python<'_>, name: &str) -> PyResult<()> {
        let holder = self.holder(py);
        match &holder {
            Some(coro) if Coro::runs_here(coro.bind(py)) => {}
            _ if self.use_excuse(py) => return Ok(()),
            _ => return Err(not_held(py, name, holder.as_ref())),
        }
        let is_last = self.with(|state| match &mut state.holder {
            Some(holder) => {
                holder.depth -= 1;
                holder.depth == 0
            }
            None => false,
        });
        if is_last {
            self.give_up(py);
        }
        Ok(())
    }

    /// Frees it whoever has it, and however many times over.
    pub(super) fn give_up(self: &Rc<Self>, py: Python<'_>) {
        let old = self.with(|state| {
            state.given_to = None;
            state.holder.take()
        });
        while let Some((place, waker, next)) = self.with(|state| state.line.tell_first()) {
            // The coroutine for which another one waits may have ended.
            let has_ended = next.coro.get().has_ended(py);
            if !has_ended {
                self.tie(py, &next.coro);
                self.with(|state| {
                    state.given_to = Some(place);
                    state.holder = Some(next);
                });
            }
            waker.wake();
            if !has_ended {
                break;
            }
        }
        if let Some(old) = old {
            old.coro.get().tie(py, |ties| ties.remove(self));
            drop(old);
        }
    }

    /// Lets the coroutine that runs go on without it, which had it `depth` times over: its releases
    /// do nothing. If nobody has it, the coroutine has it again instead.
    pub(super) fn excuse(self: &Rc<Self>, py: Python<'_>, coro: &Py<Coro>, depth: usize) {
        if coro.get().has_ended(py) || self.is_held_by(coro) {
            return;
        }
        if matches!(self.take(py, coro, depth, false), Taken::Now) {
            return;
        }
        let key = coro.get().key();
        self.with(|state| state.excused.push((key, depth)));
        self.tie(py, coro);
    }

    fn use_excuse(&self, py: Python<'_>) -> bool {
        if self.with(|state| state.excused.is_empty()) {
            return false;
        }
        let Some(coro) = call::current_coro(py) else { return false };
        let Ok(coro) = coro.into_bound(py).cast_into::<Coro>() else { return false };
        let key = coro.get().key();
        self.with(|state| {
            let excused = &mut state.excused;
            let Some(place) = excused.iter().position(|(other, _)| *other == key) else {
                return false;
            };
            excused[place].1 -= 1;
            if excused[place].1 == 0 {
                excused.swap_remove(place);
            }
            true
        })
    }
}

impl Tie for Hold {
    fn coro_ended(
        self: Rc<Self>,
        py: Python<'_>,
        key: usize,
        has_returned: bool,
    ) -> Option<&'static str> {
        let is_holder = self.with(|state| {
            state.excused.retain(|(other, _)| *other != key);
            let holder = state.holder.as_ref();
            let is_holder = holder.is_some_and(|holder| holder.coro.get().key() == key);
            state.cut_off += u64::from(is_holder);
            is_holder
        });
        if is_holder {
            self.give_up(py);
        }
        (is_holder && has_returned).then_some("has ended with a lock that it has not released")
    }
}

/// The line of those who want it.
pub(super) struct Wanting;

impl Kind for Wanting {
    type Core = Hold;
    type Left = Holder;

    fn line<R>(hold: &Hold, f: impl FnOnce(&mut Line<Holder>) -> R) -> R {
        hold.with(|state| f(&mut state.line))
    }

    fn taken(hold: &Hold, place: usize) {
        hold.with(|state| state.given_to = state.given_to.filter(|given_to| *given_to != place));
    }

    fn pass_on(hold: &Rc<Hold>, place: usize) {
        // It may have been freed since, by the end of the coroutine that it was for.
        if hold.with(|state| state.given_to == Some(place)) {
            hold.give_up(gil::py());
        }
    }
}

/// Returns the coroutine, or what stands for the task of asyncio's, that makes a call now; `None`
/// in a thread that runs neither.
#[inline]
pub(super) fn maker(py: Python<'_>) -> PyResult<Option<Py<Coro>>> {
    match call::maker(py) {
        Some(coro) => Ok(Some(coro.into_bound(py).cast_into::<Coro>()?.unbind())),
        None if guest::running_loop(py).is_some() => in_task(py),
        None => Ok(None),
    }
}

/// Returns for whom a call is started now that `maker` has made: another one, if that has ended or
/// is none.
pub(super) fn owner(py: Python<'_>, maker: Option<Py<Coro>>) -> PyResult<Py<Coro>> {
    if let Some(maker) = maker.filter(|maker| !maker.get().has_ended(py)) {
        return Ok(maker);
    }
    let starter = match call::on_behalf(py) {
        Some(coro) => Some(coro.into_bound(py).cast_into::<Coro>()?.unbind()),
        None => in_task(py)?,
    };
    starter.ok_or_else(|| {
        let text = "a lock is taken by a coroutine, or by a task of asyncio's, and none runs here";
        PyRuntimeError::new_err(text)
    })
}

fn in_task(py: Python<'_>) -> PyResult<Option<Py<Coro>>> {
    let coro = hooks::hook(py, "current_in_task")?.call0()?;
    Ok(coro.cast_into::<Coro>().ok().map(Bound::unbind))
}

/// Makes the error of freeing what one has not.
#[cold]
pub(super) fn not_held(py: Python<'_>, name: &str, holder: Option<&Py<Coro>>) -> PyErr {
    let holder = holder.map_or_else(|| "nobody".to_owned(), |coro| coro.get().label(py));
    let text = format!("{name} is for the coroutine that has the lock, and {holder} has it");
    PyRuntimeError::new_err(text)
}
