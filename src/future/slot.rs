//! `Slot`: a place for a future that goes on from one round of a loop to the next.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

pin_project! {
    /// A place for a future that goes on from one round of a loop to the next:
    /// [`race`](super::race()) is given `&mut slot`, or `slot.as_mut()` of a pinned one, and drops
    /// neither.
    ///
    /// It is a future itself. When the one in it is done, the slot gives its value and is empty. An
    /// empty slot waits for ever, so it may be polled again at any time; another future may be put
    /// in.
    ///
    /// A future that is not `Unpin`, as those of `async` blocks are not, makes a slot that must be
    /// pinned: `let mut work = pin!(Slot::new(async { .. }))`, and `work.set(Slot::new(again))` to
    /// fill it again. The crate's sleeps, handles and verbs are `Unpin`.
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    ///
    /// use asyncoro::{
    ///     future::{Slot, Winner, race},
    ///     time::sleep,
    /// };
    ///
    /// asyncoro::run(async {
    ///     let mut ticks = 0;
    ///     let mut tick = Slot::new(sleep(Duration::from_millis(1)));
    ///     let mut once = Slot::new(sleep(Duration::from_millis(2)));
    ///     while ticks < 5 {
    ///         match race(&mut once, &mut tick).await {
    ///             Winner::First(()) => assert!(once.is_empty()), // and never again
    ///             Winner::Second(()) => {
    ///                 ticks += 1;
    ///                 tick.fill(sleep(Duration::from_millis(1)));
    ///             }
    ///         }
    ///     }
    /// });
    /// ```
    #[must_use = "the future in a slot runs when it is awaited"]
    pub struct Slot<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F> Slot<F> {
    /// Makes a slot with a future in it.
    pub fn new(future: F) -> Slot<F> {
        Slot { future: Some(future) }
    }

    /// Makes an empty slot, which waits for ever until it is filled.
    pub fn empty() -> Slot<F> {
        Slot { future: None }
    }

    /// Tells whether no future is in it: none was put in, or it is done.
    pub fn is_empty(&self) -> bool {
        self.future.is_none()
    }
}

impl<F: Unpin> Slot<F> {
    /// Puts a future in, and returns the one that was there.
    pub fn fill(&mut self, future: F) -> Option<F> {
        self.future.replace(future)
    }

    /// Takes the future out and leaves the slot empty.
    pub fn take(&mut self) -> Option<F> {
        self.future.take()
    }
}

impl<F: Future> Future for Slot<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Pending };
        let polled = future.poll(cx);
        if polled.is_ready() {
            this.future.set(None);
        }
        polled
    }
}

impl<F> Default for Slot<F> {
    fn default() -> Slot<F> {
        Slot::empty()
    }
}

impl<F> fmt::Debug for Slot<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.future.is_some() { "Slot(filled)" } else { "Slot(empty)" })
    }
}
