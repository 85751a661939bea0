//! The way of a message through a channel, and the channels that have subscribed to it.
//!
//! A message comes to each channel once, on the first way that leads there: so circles of channels
//! end, and nobody gets it twice.

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
};

use pyo3::prelude::*;

use super::{
    channel::{Channel, Core, Slow, Subscriber},
    items::{Items, Put, Shut},
};
use crate::{coro::Coro, gil, hooks};

/// What is done with those who have no room.
pub(super) trait Slows {
    /// A coroutine's mailbox is full.
    fn coro(&mut self, coro: &Py<Coro>, message: Py<PyAny>);

    /// A queue is full; returns whether it has got the message, and what was dropped, which is for
    /// the caller to drop.
    fn queue(
        &mut self,
        items: &Rc<Items>,
        slow: Slow,
        message: Py<PyAny>,
    ) -> (bool, Option<Py<PyAny>>);
}

/// Sends a message to all whom a channel leads to; returns how many have got it.
pub(super) fn broadcast(
    py: Python<'_>,
    core: &Rc<Core>,
    message: Py<PyAny>,
    slows: &mut impl Slows,
) -> usize {
    let mut received = 0;
    let mut seen = HashSet::new();
    let mut next = Some((Rc::clone(core), message));
    let mut later = VecDeque::new();
    while let Some((core, message)) = next.take().or_else(|| later.pop_front()) {
        let Some(message) = transformed(py, &core, message) else { continue };
        let mut channels = Vec::new();
        let mut dropped = Vec::new();
        let mut gone = Vec::new();
        core.members(|members| {
            for (number, subscriber) in members.iter() {
                match subscriber {
                    Subscriber::Coro(coro) if coro.get().has_ended(py) => gone.push(number),
                    Subscriber::Coro(coro) => {
                        let mut message = Some(message.clone_ref(py));
                        match coro.get().admit(py, &mut message, &mut None) {
                            true => received += 1,
                            false => message.into_iter().for_each(|it| slows.coro(coro, it)),
                        }
                    }
                    Subscriber::Channel(channel) => channels.push(channel.clone_ref(py)),
                    Subscriber::Queue(items, slow) => {
                        let mut message = Some(message.clone_ref(py));
                        let Some(items) = items.upgrade() else {
                            gone.push(number);
                            continue;
                        };
                        match items.put(&mut message, false) {
                            Put::Done => received += 1,
                            Put::Shut(_) => gone.push(number),
                            Put::Full => {
                                let message = message.expect("it was not put in");
                                let (has_got_it, old) = slows.queue(&items, *slow, message);
                                received += usize::from(has_got_it);
                                dropped.extend(old);
                            }
                        }
                    }
                }
            }
        });
        drop(dropped);
        if !gone.is_empty() {
            core.forget(gone);
        }
        if channels.is_empty() {
            continue;
        }
        seen.insert(Rc::as_ptr(&core));
        for channel in channels {
            let child = Rc::clone(channel.get().core.get(py));
            if !child.is_closed() && seen.insert(Rc::as_ptr(&child)) {
                later.push_back((child, message.clone_ref(py)));
            }
        }
    }
    received
}

/// Returns what a channel makes of a message; `None` if it drops it.
fn transformed(py: Python<'_>, core: &Core, message: Py<PyAny>) -> Option<Py<PyAny>> {
    let Some((name, transform)) = core.transform(py) else { return Some(message) };
    match transform.call1(py, (name, message)) {
        Ok(message) => Some(message).filter(|message| !message.is_none(py)),
        Err(error) => {
            hooks::report(py, &format!("the transform of {}", core.label(py)), &error);
            None
        }
    }
}

/// Waits for nobody: a coroutine without room is noted, a queue without room treated as it wants.
#[derive(Default)]
struct WaitsForNobody {
    full: Vec<Py<Coro>>,
}

impl Slows for WaitsForNobody {
    fn coro(&mut self, coro: &Py<Coro>, message: Py<PyAny>) {
        drop(message);
        self.full.push(coro.clone_ref(gil::py()));
    }

    fn queue(
        &mut self,
        items: &Rc<Items>,
        slow: Slow,
        message: Py<PyAny>,
    ) -> (bool, Option<Py<PyAny>>) {
        match slow {
            Slow::Drop => (true, items.force(message)),
            Slow::Disconnect => {
                items.shut(Shut::Slow, false);
                (false, Some(message))
            }
        }
    }
}

#[pymethods]
impl Channel {
    /// Sends a message to all subscribers: 0, or -1 if the channel is closed. Any thread may.
    /// MailboxFull if a coroutine has no room for it; all others have got it then.
    #[pyo3(signature = (message))]
    pub(super) fn send(&self, py: Python<'_>, message: Py<PyAny>) -> PyResult<i32> {
        let core = self.core.get(py);
        if core.is_closed() {
            return Ok(-1);
        }
        let mut slows = WaitsForNobody::default();
        broadcast(py, core, message, &mut slows);
        if slows.full.is_empty() {
            return Ok(0);
        }
        let full: Vec<_> = slows.full.iter().map(|coro| coro.get().label(py)).collect();
        let text = format!("{}: no room in the mailboxes of {}", core.label(py), full.join(", "));
        Err(hooks::full(py, &text))
    }
}
