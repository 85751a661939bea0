//! What stands behind a mailbox's lock: queued messages, who waits to send, who waits to receive.
//!
//! Each method is one move, done in a few instructions, that runs no code of others: whom to wake
//! and what to drop is returned, wakers come in already cloned. What must stay true after every
//! move:
//! - the queue is never longer than the capacity;
//! - senders wait only while the queue is full (or the mailbox is closed: then they are on their
//!   way to take their messages back), because whoever makes room fills it with the first of them;
//! - while receivers wait, at least as many others as messages are queued were called and have not
//!   acted yet: each message that comes calls one, and one that is dropped after its call passes
//!   the call on.

use std::{collections::VecDeque, mem, task::Waker};

use crate::sync::line::{Line, Place, Renewed, Ticket};

use super::error::{TryReceiveError, TrySendError};

pub(super) struct State<T> {
    pub(super) queue: VecDeque<T>,
    capacity: usize,
    closed: bool,
    senders: usize,
    /// Who waits for room, each with its message.
    sending: Line<T>,
    /// Who waits for a message.
    receiving: Line<()>,
}

/// A message taken out of the mailbox.
pub(super) struct Taken<T> {
    pub(super) value: T,
    /// The sender whose message went into the room that this made.
    pub(super) accepted: Option<Waker>,
}

/// What became of a message at first.
pub(super) enum Offered<T> {
    /// It is in the mailbox; the receiver is to be woken.
    Accepted(Option<Waker>),
    /// It waits in line.
    Waiting(Ticket),
    /// It should wait, and a clone of the waker is needed: come again with it and one.
    NeedsWaker(T),
    /// Here it is back.
    Closed(T),
}

/// How a message in line stands.
pub(super) enum Sent<T> {
    /// It is in the mailbox.
    Accepted,
    /// It waits, and the waker is the given one.
    Waiting,
    /// It waits, and a clone of the given waker is needed: come again with one.
    NeedsWaker,
    /// Here it is back.
    Closed(Place<T>),
}

/// What a receiver found.
pub(super) enum Received<T> {
    Message(Taken<T>),
    /// Nothing will come any more.
    Over,
    Waiting,
    /// A clone of the given waker is needed to wait: come again with one.
    NeedsWaker,
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            capacity,
            closed: false,
            senders: 1,
            sending: Line::default(),
            receiving: Line::default(),
        }
    }

    /// Whether nothing is taken in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Queues `value` if there is room; returns the receiver to wake.
    pub(super) fn push(&mut self, value: T) -> Result<Option<Waker>, TrySendError<T>> {
        if self.closed {
            return Err(TrySendError::Closed(value));
        }
        if self.queue.len() >= self.capacity {
            return Err(TrySendError::Full(value));
        }
        debug_assert!(self.sending.is_empty(), "there is room, and somebody waits for it");
        self.queue.push_back(value);
        Ok(self.call_receiver())
    }

    /// Queues `value`, or puts it in line for room if there is a waker in `own` to wait with.
    pub(super) fn offer(&mut self, value: T, own: &mut Option<Waker>) -> Offered<T> {
        match self.push(value) {
            Ok(receiver) => Offered::Accepted(receiver),
            Err(TrySendError::Closed(value)) => Offered::Closed(value),
            Err(TrySendError::Full(value)) => match own.take() {
                Some(own) => Offered::Waiting(self.sending.join(value, own)),
                None => Offered::NeedsWaker(value),
            },
        }
    }

    /// How the message with `ticket` stands, whose sender is polled with `waker`; `own` is a clone
    /// of it, if there is one, and what is in `own` afterwards is to be dropped.
    pub(super) fn sent(
        &mut self,
        ticket: Ticket,
        waker: &Waker,
        own: &mut Option<Waker>,
    ) -> Sent<T> {
        if self.closed {
            return self.sending.leave(ticket).map_or(Sent::Accepted, Sent::Closed);
        }
        match self.sending.renew(ticket, waker, own) {
            Renewed::Called => Sent::Accepted,
            Renewed::Waiting => Sent::Waiting,
            Renewed::NeedsWaker => Sent::NeedsWaker,
        }
    }

    /// Takes a message out of line whose sender is dropped; `None` if it was accepted.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<Place<T>> {
        self.sending.leave(ticket)
    }

    /// Takes the first message, and fills its room with the first that waits.
    pub(super) fn take(&mut self) -> Result<Taken<T>, TryReceiveError> {
        let Some(value) = self.queue.pop_front() else {
            let over = self.closed || self.senders == 0;
            return Err(if over { TryReceiveError::Closed } else { TryReceiveError::Empty });
        };
        let next = if self.closed { None } else { self.sending.call() };
        let accepted = next.map(|place| {
            self.queue.push_back(place.value);
            place.waker
        });
        Ok(Taken { value, accepted })
    }

    /// Takes the first message, or waits for one in the place that `ticket` holds; `own` as in
    /// `sent`. Returns the place too, if it was given up for that, to be dropped.
    pub(super) fn receive(
        &mut self,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        own: &mut Option<Waker>,
    ) -> (Received<T>, Option<Place<()>>) {
        let received = match self.take() {
            Ok(taken) => Received::Message(taken),
            Err(TryReceiveError::Closed) => Received::Over,
            Err(TryReceiveError::Empty) => {
                let waits = self.receiving.wait(ticket, waker, own);
                return (if waits { Received::Waiting } else { Received::NeedsWaker }, None);
            }
        };
        (received, ticket.take().and_then(|ticket| self.receiving.leave(ticket)))
    }

    /// Gives up the place of a receiver that is dropped. Returns its waker, to be dropped, or the
    /// next receiver's, to be woken, if this one was called for a message that is still there.
    pub(super) fn stop_receiving(&mut self, ticket: Ticket) -> Result<Waker, Option<Waker>> {
        match self.receiving.leave(ticket) {
            Some(place) => Ok(place.waker),
            None if self.queue.is_empty() => Err(None),
            None => Err(self.call_receiver()),
        }
    }

    /// Closes the mailbox; returns whom to wake.
    pub(super) fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        let mut waiting = self.receiving.alarm();
        waiting.append(&mut self.sending.alarm());
        waiting
    }

    /// Closes the mailbox and empties it; returns what was in it and whom to wake.
    pub(super) fn abandon(&mut self) -> (VecDeque<T>, Vec<Waker>) {
        (mem::take(&mut self.queue), self.close())
    }

    pub(super) fn add_sender(&mut self) {
        self.senders += 1;
    }

    /// Notes that a sender is gone; returns whom to wake because it was the last.
    pub(super) fn remove_sender(&mut self) -> Vec<Waker> {
        self.senders -= 1;
        if self.senders == 0 { self.receiving.alarm() } else { Vec::new() }
    }

    fn call_receiver(&mut self) -> Option<Waker> {
        self.receiving.call().map(|place| place.waker)
    }
}
