//! Who waits for which descriptor: readers and writers of the program's, and calls of `sock_recv`
//! and the like.
//!
//! The kernel is told of a reader at once, so that a descriptor may be closed after `remove_reader`
//! and its number used anew. For a call it reports once, and is told for each: so a number may have
//! become another socket's since the last one, by close(2) or dup2(2), and the open file of one
//! that was closed may live on under another number, or in another process.

use std::{
    cell::{Cell, RefCell},
    io, mem,
    os::fd::RawFd,
    task::Waker,
};

use pyo3::prelude::*;

use super::{
    epoll::{Epoll, Events, ONCE, READ, WRITE},
    handle::is_cancelled,
};
use crate::guest;

/// What one waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Direction {
    fn bit(self) -> u32 {
        match self {
            Direction::Read => READ,
            Direction::Write => WRITE,
        }
    }
}

/// Who waits for a direction of a descriptor.
#[derive(Default)]
struct Half {
    /// The handle of a reader or writer.
    handle: Option<Py<PyAny>>,
    /// Calls, by their numbers.
    calls: Vec<(u64, Waker)>,
}

impl Half {
    fn is_empty(&self) -> bool {
        self.handle.is_none() && self.calls.is_empty()
    }
}

/// A descriptor.
#[derive(Default)]
struct Slot {
    read: Half,
    write: Half,
    /// For what the kernel watches it; 0 also after it has reported once.
    watched: u32,
    /// Whether the kernel has it, as far as is known.
    is_added: bool,
}

impl Slot {
    fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    fn wanted(&self) -> u32 {
        let read = if self.read.is_empty() { 0 } else { READ };
        let write = if self.write.is_empty() { 0 } else { WRITE };
        read | write
    }

    /// Returns whether it has a reader or writer, which are told again and again.
    fn has_handle(&self) -> bool {
        self.read.handle.is_some() || self.write.handle.is_some()
    }
}

/// All descriptors that are waited for.
pub(super) struct Watches {
    epoll: Epoll,
    events: RefCell<Events>,
    /// By their numbers.
    slots: RefCell<Vec<Slot>>,
    /// How many of them the kernel watches.
    count: Cell<usize>,
    /// The number of the last call that has waited.
    last_call: Cell<u64>,
    /// How many forks had led to the process whose instance it is.
    generation: u32,
}

impl Watches {
    pub(super) fn new(py: Python<'_>, epoll: Epoll) -> Watches {
        Watches {
            generation: guest::generation(py),
            epoll,
            events: RefCell::default(),
            slots: RefCell::default(),
            count: Default::default(),
            last_call: Default::default(),
        }
    }

    pub(super) fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    /// Returns the memory for what is reported.
    pub(super) fn events(&self) -> &RefCell<Events> {
        &self.events
    }

    /// Returns whether the kernel watches any descriptor.
    pub(super) fn is_any(&self) -> bool {
        self.count.get() > 0
    }

    /// Tells the kernel for what a descriptor is watched.
    fn tell(&self, py: Python<'_>, fd: RawFd, slot: &mut Slot, wanted: u32) -> io::Result<()> {
        if self.generation != guest::generation(py) {
            // The parent's instance still watches it.
            return Ok(());
        }
        let before = slot.watched;
        let result = if wanted != 0 {
            let once = if slot.has_handle() { 0 } else { ONCE };
            self.epoll.set(fd, slot.is_added, wanted | once)
        } else {
            if before != 0 {
                self.epoll.remove(fd);
                slot.is_added = false;
            }
            Ok(())
        };
        slot.watched = if result.is_ok() { wanted } else { 0 };
        slot.is_added = slot.is_added && result.is_ok() || slot.watched != 0;
        self.counted(before, slot.watched);
        result
    }

    fn counted(&self, before: u32, now: u32) {
        let count = self.count.get();
        self.count.set(count + usize::from(now != 0) - usize::from(before != 0));
    }

    /// Calls `f` with the slot of a descriptor, a new one if it has none, which stays if that is
    /// well: any number may be tried.
    fn with_slot<R>(&self, fd: RawFd, f: impl FnOnce(&mut Slot) -> io::Result<R>) -> io::Result<R> {
        let place = place(fd)?;
        let slots = &mut *self.slots.borrow_mut();
        if let Some(slot) = slots.get_mut(place) {
            return f(slot);
        }
        let mut slot = Slot::default();
        let result = f(&mut slot)?;
        slots.resize_with(place, Slot::default);
        slots.push(slot);
        Ok(result)
    }

    /// Sets the reader or writer of a descriptor; returns the one before.
    pub(super) fn set(
        &self,
        py: Python<'_>,
        fd: RawFd,
        direction: Direction,
        handle: Py<PyAny>,
    ) -> io::Result<Option<Py<PyAny>>> {
        let mut gone = None;
        let result = self.with_slot(fd, |slot| {
            let old = slot.half(direction).handle.replace(handle);
            let wanted = slot.wanted();
            let told = self.tell(py, fd, slot, wanted);
            if told.is_err() {
                gone = slot.half(direction).handle.take();
            }
            told.map(|()| old)
        });
        // A drop may run any code.
        drop(gone);
        result
    }

    /// Removes the reader or writer of a descriptor, and returns it.
    pub(super) fn unset(
        &self,
        py: Python<'_>,
        fd: RawFd,
        direction: Direction,
    ) -> Option<Py<PyAny>> {
        let slots = &mut *self.slots.borrow_mut();
        let slot = slots.get_mut(place(fd).ok()?)?;
        let handle = slot.half(direction).handle.take()?;
        let wanted = slot.wanted();
        // Whoever else waits for it is not told that it is closed, as ever.
        let _ = self.tell(py, fd, slot, wanted);
        Some(handle)
    }

    /// Returns the reader and the writer of a descriptor.
    pub(super) fn handles(
        &self,
        py: Python<'_>,
        fd: RawFd,
    ) -> (Option<Py<PyAny>>, Option<Py<PyAny>>) {
        let slots = self.slots.borrow();
        let Some(slot) = place(fd).ok().and_then(|place| slots.get(place)) else {
            return (None, None);
        };
        let copy = |half: &Half| half.handle.as_ref().map(|handle| handle.clone_ref(py));
        (copy(&slot.read), copy(&slot.write))
    }

    /// Returns the numbers of all descriptors that have a reader or writer.
    pub(super) fn all(&self) -> Vec<RawFd> {
        let slots = self.slots.borrow();
        let has = |slot: &Slot| slot.read.handle.is_some() || slot.write.handle.is_some();
        let all = slots.iter().enumerate().filter(|(_, slot)| has(slot));
        all.map(|(fd, _)| fd as RawFd).collect()
    }

    /// Returns whether a descriptor may be a transport's: that has a reader or writer, as a rule,
    /// and has had one before a call for it could wait.
    pub(super) fn may_be_a_transports(&self, fd: RawFd) -> bool {
        let slots = self.slots.borrow();
        let slot = place(fd).ok().and_then(|place| slots.get(place));
        slot.is_none_or(|slot| slot.has_handle() || !slot.is_added)
    }

    /// Lets a call wait; returns its number.
    pub(super) fn begin(
        &self,
        py: Python<'_>,
        fd: RawFd,
        direction: Direction,
        waker: &Waker,
    ) -> io::Result<u64> {
        let number = self.last_call.get() + 1;
        self.last_call.set(number);
        let waker = waker.clone();
        self.with_slot(fd, |slot| {
            self.tell(py, fd, slot, slot.wanted() | direction.bit())?;
            slot.half(direction).calls.push((number, waker));
            Ok(number)
        })
    }

    /// Lets a call wake another waker; `false` if it was woken.
    pub(super) fn again(
        &self,
        fd: RawFd,
        direction: Direction,
        number: u64,
        waker: &Waker,
    ) -> bool {
        let slots = &mut *self.slots.borrow_mut();
        let Some(slot) = place(fd).ok().and_then(|place| slots.get_mut(place)) else {
            return false;
        };
        let mut calls = slot.half(direction).calls.iter_mut();
        let Some((_, kept)) = calls.find(|(other, _)| *other == number) else { return false };
        kept.clone_from(waker);
        true
    }

    /// Ends the wait of a call that was not woken.
    pub(super) fn end(&self, py: Python<'_>, fd: RawFd, direction: Direction, number: u64) {
        let gone = {
            let slots = &mut *self.slots.borrow_mut();
            let Some(slot) = place(fd).ok().and_then(|place| slots.get_mut(place)) else { return };
            let calls = &mut slot.half(direction).calls;
            let at = calls.iter().position(|(other, _)| *other == number);
            let gone = at.map(|at| calls.swap_remove(at));
            let wanted = slot.wanted();
            if gone.is_some() && wanted != slot.watched {
                let _ = self.tell(py, fd, slot, wanted);
            }
            gone
        };
        drop(gone);
    }

    /// Takes in what the last wait has brought: wakes calls, and passes the handles of readers and
    /// writers on. Returns whether the scheduler's descriptor is ready, and handles that were
    /// cancelled, to be dropped with nothing borrowed.
    pub(super) fn take_in(
        &self,
        py: Python<'_>,
        own: RawFd,
        mut ready: impl FnMut(Py<PyAny>),
        woken: &mut Vec<Waker>,
    ) -> (bool, Vec<Py<PyAny>>) {
        let mut is_own = false;
        let mut cancelled = Vec::new();
        let events = self.events.borrow();
        let slots = &mut *self.slots.borrow_mut();
        for event in events.iter() {
            if event.fd == own {
                is_own = true;
                continue;
            }
            let Some(slot) = slots.get_mut(event.fd as usize) else { continue };
            let has_handle = slot.has_handle();
            // Errors and the end are for both.
            for (half, bits) in
                [(&mut slot.read, event.bits & !WRITE), (&mut slot.write, event.bits & !READ)]
            {
                if bits == 0 {
                    continue;
                }
                match &half.handle {
                    Some(handle) if is_cancelled(handle.bind(py)) => {
                        cancelled.extend(half.handle.take());
                    }
                    Some(handle) => ready(handle.clone_ref(py)),
                    None => {}
                }
                woken.extend(half.calls.drain(..).map(|(_, waker)| waker));
            }
            if !has_handle {
                // It has reported once.
                self.counted(slot.watched, 0);
                slot.watched = 0;
            }
            let wanted = slot.wanted();
            if wanted != slot.watched {
                let _ = self.tell(py, event.fd, slot, wanted);
            }
        }
        drop(events);
        (is_own, cancelled)
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) -> Vec<Py<PyAny>> {
        let slots = mem::take(&mut *self.slots.borrow_mut());
        self.count.set(0);
        let handles = slots.into_iter().flat_map(|slot| [slot.read.handle, slot.write.handle]);
        handles.flatten().collect()
    }

    pub(super) fn with_handles(&self, mut f: impl FnMut(&Py<PyAny>) -> bool) {
        let Ok(slots) = self.slots.try_borrow() else { return };
        let handles = slots.iter().flat_map(|slot| [&slot.read.handle, &slot.write.handle]);
        handles.flatten().all(&mut f);
    }
}

/// Returns the place of a descriptor.
fn place(fd: RawFd) -> io::Result<usize> {
    usize::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))
}
