//! One who stands in a line, in a future.

use std::{rc::Rc, task::Context};

use pyo3::prelude::*;

use super::line::{Left, Line};

/// A kind of line.
pub(super) trait Kind: 'static {
    /// What has the line.
    type Core;
    /// What those in the line have left there.
    type Left;

    /// Calls `f` with the line; it may run no foreign code.
    fn line<R>(core: &Self::Core, f: impl FnOnce(&mut Line<Self::Left>) -> R) -> R;

    /// Notes that the one at `place` takes what it was told of.
    fn taken(_core: &Self::Core, _place: usize) {}

    /// Passes on what the one at `place` was told of and does not take.
    fn pass_on(core: &Rc<Self::Core>, place: usize);
}

/// A place in a line, which is left when this is dropped.
pub(super) struct Stand<K: Kind> {
    pub(super) core: Rc<K::Core>,
    place: Option<usize>,
}

impl<K: Kind> Unpin for Stand<K> {}

impl<K: Kind> Stand<K> {
    /// Makes one that is in no line yet.
    pub(super) fn new(core: &Rc<K::Core>) -> Stand<K> {
        Stand { core: Rc::clone(core), place: None }
    }

    /// Returns whether its turn has come, which it takes; else it stands in the line, and is woken
    /// when that changes. It joins with what `left` makes.
    pub(super) fn is_told(&mut self, cx: &Context<'_>, left: impl FnOnce() -> K::Left) -> bool {
        let Some(place) = self.place else {
            let left = left();
            self.place = Some(K::line(&self.core, |line| line.join(cx.waker(), left)));
            return false;
        };
        match K::line(&self.core, |line| line.look(place, cx.waker())) {
            Ok(()) => {
                self.place = None;
                K::taken(&self.core, place);
                true
            }
            Err(old) => {
                drop(old);
                false
            }
        }
    }
}

impl<K: Kind> Drop for Stand<K> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let left = K::line(&self.core, |line| line.leave(place));
        if matches!(left, Left::Told) {
            K::pass_on(&self.core, place);
        }
        // Here, where the line is not borrowed: what was left may be the last reference.
        drop(left);
    }
}

/// Makes a Python bool.
pub(super) fn bool_of(py: Python<'_>, value: bool) -> PyResult<Py<PyAny>> {
    Ok(value.into_pyobject(py)?.to_owned().into_any().unbind())
}
