//! The state behind a channel's lock: the messages that some subscriber has not taken, and who
//! waits for what.
//!
//! A message is there once, in a counted pointer, however many take it. Each subscriber has the
//! position of the message that it takes next. Invariants after every method:
//! - a message has the number of subscribers that take it next, so that who goes is taken off one
//!   message, however many there are; the first message has one at least;
//! - there are at most `capacity` messages, counting the room that was given to waiting senders;
//! - senders wait only while there is no room, and are given it first come, first served.
//!
//! No method runs foreign code: what is to be woken or dropped comes back in an [`After`].

use std::{
    collections::{HashMap, VecDeque},
    mem,
    task::Waker,
};

use super::slow::Slow;
use crate::{
    foreign,
    sync::{
        wait_queue::{WaitQueue, Wakes},
        waiting::Place,
    },
};

pub(super) struct State<P> {
    messages: VecDeque<Message<P>>,
    /// The position of the first message, counted from the channel's beginning.
    first: u64,
    /// How many subscribers have taken all messages.
    at_end: usize,
    capacity: usize,
    slow: Slow,
    pub(super) is_closed: bool,
    pub(super) senders: usize,
    pub(super) subscribers: usize,
    /// Room that was given to senders which have not run since.
    given: usize,
    lost: u64,
    disconnected: u64,
    /// The deliveries that somebody waits for, by their number.
    deliveries: HashMap<u64, Delivery>,
    last_delivery: u64,
    /// Subscribers that wait for a message.
    pub(super) receiving: WaitQueue<()>,
    /// Senders that wait for room.
    pub(super) sending: WaitQueue<()>,
    /// Those that wait for more subscribers.
    pub(super) gathering: WaitQueue<()>,
    /// Those that wait for the end of the channel.
    pub(super) closing: WaitQueue<()>,
}

struct Message<P> {
    value: P,
    /// How many subscribers take it next. Those of a message that was dropped take the next one.
    next_for: usize,
    /// The number of its delivery, if that is watched.
    delivery: Option<u64>,
}

/// How far a message has come.
#[derive(Default)]
struct Delivery {
    taken: usize,
    is_over: bool,
    /// Who waits for the end.
    waker: Option<Waker>,
}

/// What is to be done without the lock.
pub(super) struct After<P> {
    pub(super) wakes: Wakes,
    first: Option<P>,
    rest: Vec<P>,
}

impl<P> Default for After<P> {
    fn default() -> Self {
        Self { wakes: Wakes::default(), first: None, rest: Vec::new() }
    }
}

impl<P> After<P> {
    pub(super) fn with(wakes: Wakes) -> Self {
        Self { wakes, ..Self::default() }
    }

    fn drop_later(&mut self, value: P) {
        match self.first {
            None => self.first = Some(value),
            Some(_) => self.rest.push(value),
        }
    }

    /// Wakes, and drops the messages that nobody takes, on behalf of all.
    pub(super) fn finish(self) {
        self.wakes.wake();
        for message in self.first.into_iter().chain(self.rest) {
            foreign::contain("the drop of a message", || drop(message));
        }
    }
}

/// A message that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// To how many.
    pub(super) subscribers: usize,
    /// The number of its delivery, if that is watched and not over.
    pub(super) delivery: Option<u64>,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// There is no room.
    Full,
    /// There are fewer subscribers than it is for.
    TooFew,
    /// The channel is closed.
    Closed,
}

/// What a subscriber finds.
pub(super) enum Next<P> {
    Message(P),
    /// So many were dropped before it took them.
    Lost(u64),
    Disconnected,
    Closed,
}

/// What `statistics` returns, but for the names.
pub(super) struct Counts {
    pub(super) queued: usize,
    pub(super) lost: u64,
    pub(super) disconnected: u64,
}

impl<P: Clone> State<P> {
    pub(super) fn new(capacity: usize, slow: Slow) -> Self {
        Self {
            messages: VecDeque::new(),
            first: 0,
            at_end: 0,
            capacity,
            slow,
            is_closed: false,
            senders: 1,
            subscribers: 0,
            given: 0,
            lost: 0,
            disconnected: 0,
            deliveries: HashMap::new(),
            last_delivery: 0,
            receiving: WaitQueue::default(),
            sending: WaitQueue::default(),
            gathering: WaitQueue::default(),
            closing: WaitQueue::default(),
        }
    }

    /// The position of the next message to be sent.
    pub(super) fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    pub(super) fn counts(&self) -> Counts {
        let Self { lost, disconnected, .. } = *self;
        Counts { queued: self.messages.len(), lost, disconnected }
    }

    /// Sends the message in `value`, if it is for at least `least` subscribers; `place` is that of
    /// the sender among those who wait for room.
    pub(super) fn send(
        &mut self,
        value: &mut Option<P>,
        least: usize,
        is_watched: bool,
        place: Place,
        after: &mut After<P>,
    ) -> Result<Sent, Unsent> {
        let had_room = place == Place::Chosen;
        if had_room {
            self.given -= 1;
        }
        let sent = self.try_send(value, least, is_watched, had_room, after);
        if had_room {
            // What it did not use is for the next.
            self.give_room(after);
        }
        sent
    }

    fn try_send(
        &mut self,
        value: &mut Option<P>,
        least: usize,
        is_watched: bool,
        had_room: bool,
        after: &mut After<P>,
    ) -> Result<Sent, Unsent> {
        if self.is_closed {
            return Err(Unsent::Closed);
        }
        if self.subscribers < least {
            return Err(Unsent::TooFew);
        }
        if self.messages.len() + self.given >= self.capacity {
            match self.slow {
                Slow::Wait => return Err(Unsent::Full),
                Slow::DropOldest => self.drop_oldest(after),
                Slow::Disconnect => {
                    self.disconnect_slowest(after);
                    if self.subscribers < least {
                        return Err(Unsent::TooFew);
                    }
                }
            }
        } else if !had_room && !self.sending.is_empty() {
            return Err(Unsent::Full);
        }
        let Some(value) = value.take() else { unreachable!("a sender has its message") };
        if self.subscribers == 0 {
            after.drop_later(value);
            return Ok(Sent { subscribers: 0, delivery: None });
        }
        let delivery = is_watched.then(|| {
            self.last_delivery += 1;
            self.deliveries.insert(self.last_delivery, Delivery::default());
            self.last_delivery
        });
        self.messages.push_back(Message { value, next_for: mem::take(&mut self.at_end), delivery });
        self.receiving.drain(&mut after.wakes);
        Ok(Sent { subscribers: self.subscribers, delivery })
    }

    fn drop_oldest(&mut self, after: &mut After<P>) {
        let missed = self.messages.front().map_or(0, |message| message.next_for);
        self.lost += missed as u64;
        self.remove_first(after);
        *self.next_for_at(0) += missed;
    }

    /// Disconnects those who have not taken the first message, and so none of the others.
    fn disconnect_slowest(&mut self, after: &mut After<P>) {
        let slow = self.messages.front().map_or(0, |message| message.next_for);
        self.disconnected += slow as u64;
        self.subscribers -= slow;
        self.remove_first(after);
        self.remove_taken(after);
    }

    /// Returns the number of subscribers for which the message at `index` is next, or whose next
    /// message was not sent yet.
    fn next_for_at(&mut self, index: usize) -> &mut usize {
        self.messages.get_mut(index).map_or(&mut self.at_end, |message| &mut message.next_for)
    }

    /// Takes the next message for a subscriber at `position`.
    pub(super) fn take(&mut self, position: &mut u64, after: &mut After<P>) -> Option<Next<P>> {
        if *position < self.first {
            if self.slow == Slow::Disconnect {
                return Some(Next::Disconnected);
            }
            let lost = self.first - *position;
            *position = self.first;
            return Some(Next::Lost(lost));
        }
        let index = (*position - self.first) as usize;
        let Some(message) = self.messages.get_mut(index) else {
            return self.is_closed.then_some(Next::Closed);
        };
        message.next_for -= 1;
        let is_last = index == 0 && message.next_for == 0;
        let value = (!is_last).then(|| message.value.clone());
        let delivery = message.delivery.and_then(|number| self.deliveries.get_mut(&number));
        delivery.into_iter().for_each(|delivery| delivery.taken += 1);
        *self.next_for_at(index + 1) += 1;
        *position += 1;
        if let Some(value) = value {
            return Some(Next::Message(value));
        }
        let value = self.pop_first(&mut after.wakes)?;
        self.give_room(after);
        Some(Next::Message(value))
    }

    /// Adds a subscriber; returns its position.
    pub(super) fn subscribe(&mut self, wakes: &mut Wakes) -> u64 {
        self.subscribers += 1;
        self.at_end += 1;
        self.gathering.drain(wakes);
        self.end()
    }

    /// Tells whether the subscriber at `position` was disconnected.
    pub(super) fn is_disconnected(&self, position: u64) -> bool {
        position < self.first && self.slow == Slow::Disconnect
    }

    /// Returns how many messages there are for a subscriber.
    pub(super) fn unread(&self, position: u64) -> usize {
        if self.is_disconnected(position) {
            return 0;
        }
        (self.end() - position.max(self.first)) as usize
    }

    /// Removes a subscriber.
    pub(super) fn unsubscribe(&mut self, position: u64, after: &mut After<P>) {
        if self.is_disconnected(position) {
            return;
        }
        self.subscribers -= 1;
        *self.next_for_at((position.max(self.first) - self.first) as usize) -= 1;
        self.remove_taken(after);
        self.give_room(after);
    }

    /// Closes the channel: what is there can still be taken.
    pub(super) fn close(&mut self, wakes: &mut Wakes) {
        self.is_closed = true;
        for queue in
            [&mut self.receiving, &mut self.sending, &mut self.gathering, &mut self.closing]
        {
            queue.take_wakers().into_iter().for_each(|waker| wakes.add(waker));
        }
    }

    /// A sender was dropped that had been given room, or waited for it.
    pub(super) fn sender_left(&mut self, place: Place, after: &mut After<P>) {
        if place == Place::Chosen {
            self.given -= 1;
            self.give_room(after);
        }
    }

    /// Returns how many have taken the message of a delivery if it is over; if not, swaps `waker`
    /// with the one that waits for its end.
    pub(super) fn end_of_delivery(
        &mut self,
        number: u64,
        waker: &mut Option<Waker>,
    ) -> Option<usize> {
        let delivery = self.deliveries.get_mut(&number)?;
        if !delivery.is_over {
            mem::swap(&mut delivery.waker, waker);
        }
        delivery.is_over.then_some(delivery.taken)
    }

    /// Returns how many have taken the message of a delivery so far.
    pub(super) fn taken(&self, number: u64) -> usize {
        self.deliveries.get(&number).map_or(0, |delivery| delivery.taken)
    }

    /// Nobody waits for this delivery any more; returns its waker, to be dropped.
    pub(super) fn forget_delivery(&mut self, number: u64) -> Option<Waker> {
        self.deliveries.remove(&number)?.waker
    }

    fn give_room(&mut self, after: &mut After<P>) {
        while !self.is_closed
            && self.messages.len() + self.given < self.capacity
            && let Some(entry) = self.sending.pop()
        {
            self.given += 1;
            after.wakes.add(entry.waker);
        }
    }

    fn remove_taken(&mut self, after: &mut After<P>) {
        while self.messages.front().is_some_and(|message| message.next_for == 0) {
            self.remove_first(after);
        }
    }

    fn remove_first(&mut self, after: &mut After<P>) {
        if let Some(value) = self.pop_first(&mut after.wakes) {
            after.drop_later(value);
        }
    }

    fn pop_first(&mut self, wakes: &mut Wakes) -> Option<P> {
        let Message { value, delivery, .. } = self.messages.pop_front()?;
        if let Some(delivery) = delivery.and_then(|number| self.deliveries.get_mut(&number)) {
            delivery.is_over = true;
            delivery.waker.take().into_iter().for_each(|waker| wakes.add(waker));
        }
        self.first += 1;
        Some(value)
    }
}
