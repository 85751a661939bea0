//! Whose turn it is: one verb at a time uses a direction of a file, first come, first served.
//!
//! A verb that ends in any way, dropped ones among them, passes its turn to the next in line. As
//! each verb begins here, this also spends the budget of its coroutine.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    coro::current,
    sync::wait_queue::{Renewed, Ticket, WaitQueue},
};

/// The line of those who wait for their turn.
#[derive(Default)]
pub(crate) struct Line {
    taken: Cell<bool>,
    waiting: RefCell<WaitQueue<()>>,
}

/// A verb's turn; the drop passes it on.
pub(crate) struct Turn<'a>(&'a Line);

/// The future of a turn; made by [`Line::turn`].
pub(crate) struct Waiting<'a> {
    line: &'a Line,
    ticket: Option<Ticket>,
    has_stepped_back: bool,
}

impl Line {
    /// Waits for a turn.
    pub(crate) fn turn(&self) -> Waiting<'_> {
        Waiting { line: self, ticket: None, has_stepped_back: false }
    }

    /// Passes the turn to the next in line, if there is one.
    fn pass(&self) {
        let next = self.waiting.borrow_mut().pop();
        match next {
            Some(next) => next.waker.wake(),
            None => self.taken.set(false),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.pass();
    }
}

impl<'a> Future for Waiting<'a> {
    type Output = Turn<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn<'a>> {
        let line = self.line;
        let Some(ticket) = self.ticket else {
            let may_go = current::with(|engine| engine.spend()).unwrap_or(true);
            if !may_go && !self.has_stepped_back {
                self.has_stepped_back = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !line.taken.replace(true) {
                return Poll::Ready(Turn(line));
            }
            let waker = cx.waker().clone();
            self.ticket = Some(line.waiting.borrow_mut().push((), waker));
            return Poll::Pending;
        };
        let mut own = None;
        let mut renewed = line.waiting.borrow_mut().renew(ticket, cx.waker(), &mut own);
        if renewed == Renewed::NeedsWaker {
            own = Some(cx.waker().clone());
            renewed = line.waiting.borrow_mut().renew(ticket, cx.waker(), &mut own);
        }
        // The drop of the former waker may run foreign code.
        drop(own);
        if renewed == Renewed::Removed {
            self.ticket = None;
            return Poll::Ready(Turn(line));
        }
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let own = self.line.waiting.borrow_mut().remove(ticket);
        if own.is_none() {
            // The turn was passed to this verb, which has not noticed.
            self.line.pass();
        }
    }
}
