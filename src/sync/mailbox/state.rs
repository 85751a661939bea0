//! The state behind a mailbox's lock: queued messages, waiting senders and waiting receivers.
//!
//! No method of the state runs foreign code: each returns what to wake and what to drop, and takes
//! wakers already cloned. Invariants after every method:
//! - the queue is never longer than the capacity;
//! - senders wait only while the queue is full, because `take` refills it with the first of them
//!   (or after the mailbox was closed, until they have taken their messages back);
//! - while receivers wait, at least as many others were woken and have not run yet as messages are
//!   queued: each message wakes one receiver, and one that is dropped after that wakes the next.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Wake, Waker},
};

use crate::{
    coro,
    sync::wait_queue::{Entry, Renewed, Ticket, WaitQueue},
};

use super::error::{TryReceiveError, TrySendError};

pub(in crate::sync) struct State<T> {
    pub(super) queue: VecDeque<T>,
    capacity: usize,
    closed: bool,
    senders: usize,
    /// Waiting senders, each with its message.
    sending: WaitQueue<T>,
    /// Waiting receivers.
    receiving: WaitQueue<Waits>,
    /// Senders that wait for the end of the mailbox.
    pub(super) closing: WaitQueue<()>,
}

/// How a receiver waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// In a future, whose drop ends it.
    AsFuture,
    /// In a method to be polled: its entry stays when it is polled no more. There is one at most.
    AsStream,
}

/// Wakes two.
struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        coro::waker::wake(self.0.clone());
        coro::waker::wake(self.1.clone());
    }
}

/// A message taken out of the mailbox.
pub(super) struct Taken<T> {
    value: T,
    /// The waker of the sender whose message took its space in the queue.
    accepted: Option<Waker>,
    /// The waker of a receiver for that message.
    receiver: Option<Waker>,
}

impl<T> Taken<T> {
    /// Wakes both, without the lock, and returns the message.
    #[inline]
    pub(super) fn finish(self) -> T {
        if let Some(accepted) = self.accepted {
            coro::waker::wake(accepted);
        }
        if let Some(receiver) = self.receiver {
            coro::waker::wake(receiver);
        }
        self.value
    }
}

/// The result of [`State::offer`].
pub(super) enum Offered<T> {
    /// The message is queued; the receiver's waker, if one waits, is to be woken.
    Accepted(Option<Waker>),
    /// The message waits.
    Waiting(Ticket),
    /// The message must wait; call again with it and a clone of the waker.
    NeedsWaker(T),
    /// Here it is back.
    Closed(T),
}

/// The result of [`State::sent`].
pub(super) enum Sent<T> {
    /// The message is queued or was taken.
    Accepted,
    /// The message waits, and its waker is the given one.
    Waiting,
    /// The message waits; call again with a clone of the given waker.
    NeedsWaker,
    /// Here it is back.
    Closed(Entry<T>),
}

/// The result of [`State::receive`].
pub(super) enum Received<T> {
    Message(Taken<T>),
    /// No more messages will come.
    Over,
    Waiting,
    /// There is no message; call again with a clone of the given waker.
    NeedsWaker,
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            capacity,
            closed: false,
            senders: 1,
            sending: WaitQueue::default(),
            receiving: WaitQueue::default(),
            closing: WaitQueue::default(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Queues `value` if the queue is not full; returns the waker of a receiver.
    pub(super) fn push(&mut self, value: T) -> Result<Option<Waker>, TrySendError<T>> {
        if self.closed {
            return Err(TrySendError::Closed(value));
        }
        if self.queue.len() >= self.capacity {
            return Err(TrySendError::Full(value));
        }
        debug_assert!(self.sending.is_empty(), "there is room, and somebody waits for it");
        self.queue.push_back(value);
        Ok(self.pop_receiver())
    }

    /// Queues `value`, or lets it wait if there is a waker in `own`.
    pub(super) fn offer(&mut self, value: T, own: &mut Option<Waker>) -> Offered<T> {
        match self.push(value) {
            Ok(receiver) => Offered::Accepted(receiver),
            Err(TrySendError::Closed(value)) => Offered::Closed(value),
            Err(TrySendError::Full(value)) => match own.take() {
                Some(own) => Offered::Waiting(self.sending.push(value, own)),
                None => Offered::NeedsWaker(value),
            },
        }
    }

    /// Returns the state of the waiting message with `ticket`, whose sender is polled with `waker`;
    /// `own` may hold a clone of it. The caller drops what is in `own` afterwards.
    pub(super) fn sent(
        &mut self,
        ticket: Ticket,
        waker: &Waker,
        own: &mut Option<Waker>,
    ) -> Sent<T> {
        if self.closed {
            return self.sending.remove(ticket).map_or(Sent::Accepted, Sent::Closed);
        }
        match self.sending.renew(ticket, waker, own) {
            Renewed::Removed => Sent::Accepted,
            Renewed::Waiting => Sent::Waiting,
            Renewed::NeedsWaker => Sent::NeedsWaker,
        }
    }

    /// Removes the waiting message of a dropped sender; `None` if it was accepted.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<Entry<T>> {
        self.sending.remove(ticket)
    }

    /// Takes the first message, and queues the first waiting one in its place. Who waits to receive
    /// leaves the queue before: it must not be chosen for that one.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Result<Taken<T>, TryReceiveError> {
        let Some(value) = self.queue.pop_front() else {
            let over = self.closed || self.senders == 0;
            return Err(if over { TryReceiveError::Closed } else { TryReceiveError::Empty });
        };
        let next = if self.closed { None } else { self.sending.pop() };
        let Some(entry) = next else {
            return Ok(Taken { value, accepted: None, receiver: None });
        };
        self.queue.push_back(entry.value);
        Ok(Taken { value, accepted: Some(entry.waker), receiver: self.pop_receiver() })
    }

    /// Takes the first message, or waits for one in the entry that `ticket` names; `own` as in
    /// `sent`. Also returns that entry, to be dropped, if it was removed.
    pub(super) fn receive(
        &mut self,
        waits: Waits,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        own: &mut Option<Waker>,
    ) -> (Received<T>, Option<Entry<Waits>>) {
        if self.queue.is_empty() && !self.closed && self.senders > 0 {
            let waits = self.receiving.wait(waits, ticket, waker, own);
            return (if waits { Received::Waiting } else { Received::NeedsWaker }, None);
        }
        let left = ticket.take().and_then(|ticket| self.receiving.remove(ticket));
        (self.take().map_or(Received::Over, Received::Message), left)
    }

    /// Removes the entry of a dropped receiver. Returns its waker, to be dropped, or the next
    /// receiver's, to be woken, if this one was woken for a message that is still queued.
    pub(super) fn stop_receiving(&mut self, ticket: Ticket) -> Result<Waker, Option<Waker>> {
        match self.receiving.remove(ticket) {
            Some(entry) => Ok(entry.waker),
            None if self.queue.is_empty() => Err(None),
            None => Err(self.pop_receiver()),
        }
    }

    /// Removes the entry of a stream, which ends with its receiver.
    pub(super) fn stop_streaming(&mut self, ticket: Ticket) -> Option<Entry<Waits>> {
        self.receiving.remove(ticket)
    }

    /// Closes the mailbox; returns the wakers of all who wait.
    pub(super) fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        let mut waiting = self.receiving.take_wakers();
        waiting.append(&mut self.sending.take_wakers());
        waiting.append(&mut self.closing.take_wakers());
        waiting
    }

    /// Closes the mailbox and empties it; returns its messages and the wakers of all who wait.
    pub(super) fn abandon(&mut self) -> (VecDeque<T>, Vec<Waker>) {
        (mem::take(&mut self.queue), self.close())
    }

    pub(super) fn add_sender(&mut self) {
        self.senders += 1;
    }

    /// Counts a sender that is gone; if it was the last, returns the wakers of the receivers.
    pub(super) fn remove_sender(&mut self) -> Vec<Waker> {
        self.senders -= 1;
        if self.senders == 0 { self.receiving.take_wakers() } else { Vec::new() }
    }

    /// Returns the waker of the first receiver: with that of a stream, which perhaps nobody polls
    /// any more, also the next one's.
    #[inline(always)]
    fn pop_receiver(&mut self) -> Option<Waker> {
        let Entry { value: waits, waker } = self.receiving.pop()?;
        if waits == Waits::AsStream { self.pop_next_too(waker) } else { Some(waker) }
    }

    #[cold]
    fn pop_next_too(&mut self, waker: Waker) -> Option<Waker> {
        match self.receiving.pop() {
            Some(next) => Some(Arc::new(Both(waker, next.waker)).into()),
            None => Some(waker),
        }
    }
}
