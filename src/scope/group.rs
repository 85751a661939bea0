//! `Group`: the soft phase of coroutines that are told to end together, as the children of a scope
//! are, but each with a turn and an end of its own.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{
    nest::Nest,
    phase::{self, Core},
};

/// A soft phase: around a future it is what [`stopping`](super::stopping) and
/// [`is_stopping`](super::is_stopping) mean there. It begins with that of the scope or group in
/// which it was made.
#[derive(Clone)]
pub(crate) struct Group {
    core: Rc<Core>,
}

impl Group {
    /// Makes one within the scope or group that is being polled.
    pub(crate) fn new() -> Group {
        // Nobody polls children for it.
        let nobody = Nest::<dyn Future<Output = ()>>::new();
        Group { core: Core::new(None, nobody.yard()) }
    }

    /// Begins the soft phase, here and in all within.
    pub(crate) fn stop(&self) {
        self.core.stop();
    }

    /// Waits until the soft phase begins.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + use<> {
        self.core.stopping()
    }

    /// Wraps a future, in which this is the innermost scope.
    pub(crate) fn around<F: Future>(&self, future: F) -> Around<F> {
        Around { future, group: self.clone() }
    }
}

pin_project! {
    /// The future of [`Group::around`].
    pub(crate) struct Around<F> {
        #[pin]
        future: F,
        group: Group,
    }
}

impl<F: Future> Future for Around<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = phase::enter(&this.group.core);
        this.future.poll(cx)
    }
}
