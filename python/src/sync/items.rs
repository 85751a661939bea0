//! What is in a queue, and who waits for it.
//!
//! Whoever waits for an item is promised one when it is told, and takes it when it is resumed; so
//! does whoever waits for room. So one that is dropped has taken nothing, and put nothing in.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, task::Waker};

use pyo3::prelude::*;

use super::{fork::Ours, line::Line, stand::Kind};

/// Why a queue was shut down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shut {
    /// Somebody wanted that.
    Asked,
    /// It was full when a channel had something to put in.
    Slow,
}

/// The lines of a queue.
#[derive(Default)]
struct Lines {
    getters: Line,
    putters: Line,
    joiners: Line,
}

struct State {
    items: VecDeque<Py<PyAny>>,
    /// No limit: `usize::MAX`.
    maxsize: usize,
    lines: Ours<Lines>,
    /// How many items were put in and are not done.
    unfinished: usize,
    shut: Option<Shut>,
    /// How many were dropped since there was no room.
    lost: u64,
}

/// What a queue is doing.
pub(super) struct Counts {
    pub(super) size: usize,
    pub(super) maxsize: usize,
    pub(super) getting: usize,
    pub(super) putting: usize,
    pub(super) unfinished: usize,
    pub(super) lost: u64,
    pub(super) is_shut: bool,
}

/// What putting something in comes to.
pub(super) enum Put {
    Done,
    Full,
    Shut(Shut),
}

/// What taking something out comes to.
pub(super) enum Got {
    Item(Py<PyAny>),
    Empty,
    Shut(Shut),
}

/// What is in a queue.
pub(super) struct Items(RefCell<State>);

impl State {
    fn lines(&mut self) -> &mut Lines {
        self.lines.get()
    }

    /// Returns whether there is an item that was promised to nobody.
    fn has_item(&mut self) -> bool {
        self.items.len() > self.lines().getters.told()
    }

    /// Returns whether there is room that was promised to nobody.
    fn has_room(&mut self) -> bool {
        self.items.len() + self.lines().putters.told() < self.maxsize
    }

    /// Returns the next one to wake.
    fn next_told(&mut self) -> Option<Waker> {
        let (is_shut, is_done) = (self.shut.is_some(), self.unfinished == 0);
        let mut told = None;
        if is_shut || self.has_item() {
            told = self.lines().getters.tell_first();
        }
        if told.is_none() && (is_shut || self.has_room()) {
            told = self.lines().putters.tell_first();
        }
        if told.is_none() && is_done {
            told = self.lines().joiners.tell_first();
        }
        told.map(|(_, waker, ())| waker)
    }
}

impl Items {
    pub(super) fn new(maxsize: usize) -> Rc<Items> {
        Rc::new(Items(RefCell::new(State {
            items: VecDeque::new(),
            maxsize,
            lines: Ours::default(),
            unfinished: 0,
            shut: None,
            lost: 0,
        })))
    }

    /// Calls `f` with the state; it may run no foreign code. Then wakes those whose turn has come.
    fn change<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let (result, mut told) = {
            let state = &mut *self.0.borrow_mut();
            (f(state), state.next_told())
        };
        while let Some(waker) = told {
            waker.wake();
            told = self.0.borrow_mut().next_told();
        }
        result
    }

    /// Takes the first item; `is_promised` if the caller was told of it.
    pub(super) fn get(&self, is_promised: bool) -> Got {
        self.change(|state| {
            if (is_promised || state.has_item())
                && let Some(item) = state.items.pop_front()
            {
                return Got::Item(item);
            }
            match state.shut {
                Some(shut) => Got::Shut(shut),
                None => Got::Empty,
            }
        })
    }

    /// Puts an item in, and leaves it in `item` if it cannot; `is_promised` if the caller was told
    /// of room.
    pub(super) fn put(&self, item: &mut Option<Py<PyAny>>, is_promised: bool) -> Put {
        self.change(|state| {
            if let Some(shut) = state.shut {
                return Put::Shut(shut);
            }
            if !is_promised && !state.has_room() {
                return Put::Full;
            }
            state.items.extend(item.take());
            state.unfinished += 1;
            Put::Done
        })
    }

    /// Puts an item in, in place of the oldest one if there is no room; returns that.
    pub(super) fn force(&self, item: Py<PyAny>) -> Option<Py<PyAny>> {
        self.change(|state| {
            if state.shut.is_some() {
                return Some(item);
            }
            let old = if state.has_room() { None } else { state.items.pop_front() };
            state.lost += u64::from(old.is_some());
            state.unfinished += usize::from(old.is_none());
            state.items.push_back(item);
            old
        })
    }

    /// Notes that an item is done; `false` if there was none to be done.
    pub(super) fn task_done(&self) -> bool {
        self.change(|state| {
            let left = state.unfinished.checked_sub(1);
            state.unfinished = left.unwrap_or(0);
            left.is_some()
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.borrow().unfinished == 0
    }

    /// Shuts it down: nothing more comes in. Returns what was in it if that is not to be taken out.
    pub(super) fn shut(&self, why: Shut, immediately: bool) -> VecDeque<Py<PyAny>> {
        self.change(|state| {
            state.shut.get_or_insert(why);
            if !immediately {
                return VecDeque::new();
            }
            let left = std::mem::take(&mut state.items);
            state.unfinished = state.unfinished.saturating_sub(left.len());
            left
        })
    }

    pub(super) fn counts(&self) -> Counts {
        let state = &mut *self.0.borrow_mut();
        let lines = state.lines.get();
        Counts {
            size: state.items.len(),
            maxsize: state.maxsize,
            getting: lines.getters.waiting(),
            putting: lines.putters.waiting(),
            unfinished: state.unfinished,
            lost: state.lost,
            is_shut: state.shut.is_some(),
        }
    }

    /// Calls `f` with each item, for the collector; with none while the state is in use.
    pub(super) fn visit<E>(&self, f: impl FnMut(&Py<PyAny>) -> Result<(), E>) -> Result<(), E> {
        match self.0.try_borrow() {
            Ok(state) => state.items.iter().try_for_each(f),
            Err(_) => Ok(()),
        }
    }

    /// Takes all items out, for the collector.
    pub(super) fn clear(&self) -> VecDeque<Py<PyAny>> {
        self.0
            .try_borrow_mut()
            .map_or_else(|_| VecDeque::new(), |mut state| std::mem::take(&mut state.items))
    }
}

/// Defines one of the lines of a queue.
macro_rules! line {
    ($kind:ident, $line:ident) => {
        pub(super) struct $kind;

        impl Kind for $kind {
            type Core = Items;
            type Left = ();

            fn line<R>(items: &Items, f: impl FnOnce(&mut Line) -> R) -> R {
                f(&mut items.0.borrow_mut().lines().$line)
            }

            fn pass_on(items: &Rc<Items>, _place: usize) {
                items.change(|_| ());
            }
        }
    };
}

line!(Getters, getters);
line!(Putters, putters);
line!(Joiners, joiners);
