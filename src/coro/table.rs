//! The coroutines of a scheduler by place, and the queue of those that are ready.
//!
//! Each coroutine has a place (an index), and its place a generation, which a wake must match. The
//! queue links places in the order in which they became ready. A place is in it at most once, so
//! the link is a part of the entry and queueing allocates nothing.

use std::mem;

use super::{
    cell::body::Body,
    key::{GENERATIONS, Key, MAIN},
    who::Who,
};

/// Bits of an entry.
mod flags {
    /// It is in the queue; or its body is out, being resumed, and the engine notes its wakes.
    pub(super) const QUEUED: u8 = 1;
    /// `run` does not wait for it.
    pub(super) const DAEMON: u8 = 8;
    /// It has something that few have: a name, local values, a clean-up.
    pub(super) const EXTRA: u8 = 16;
    /// It is the clean-up of one that has ended, and goes on while the scheduler ends.
    pub(super) const CLEANS_UP: u8 = 32;
}

struct Entry {
    body: Option<Body>,
    /// The next place: in the queue, or in the free list.
    next: u32,
    generation: u16,
    flags: u8,
}

impl Entry {
    /// Tells whether it is ended with all that are clean-ups, or with the others.
    fn is_ended_with(&self, cleans_up: bool) -> bool {
        self.body.is_some() && (self.flags & flags::CLEANS_UP != 0) == cleans_up
    }

    /// Tells whether its body is out, being resumed.
    fn is_out(&self) -> bool {
        self.body.is_none() && self.flags & flags::QUEUED != 0
    }
}

/// Facts about a coroutine that was removed.
pub(super) struct Removed {
    /// Whether it has extras, which must be removed.
    pub(super) has_extra: bool,
}

/// The next to be resumed.
pub(super) enum Next {
    /// `run`'s own future.
    Main,
    /// A coroutine, whose body is out until it is put back or removed.
    Coroutine { index: u32, generation: u16, body: Body },
}

/// The coroutines of a scheduler, and the queue of the ready ones.
pub(super) struct Table {
    entries: Vec<Entry>,
    free: u32,
    alive: usize,
    daemons: usize,
    /// How many are clean-ups.
    cleaning: usize,
    queue: Queue,
}

/// The ends of the queue, and the link of the one place without an entry.
struct Queue {
    head: u32,
    tail: u32,
    main_next: u32,
    main_queued: bool,
}

/// The end of the queue: less than [`MAIN`], more than any index.
const END: u32 = u32::MAX - 1;

impl Queue {
    const EMPTY: Queue = Queue { head: END, tail: END, main_next: END, main_queued: false };

    #[inline]
    fn push(&mut self, entries: &mut [Entry], index: u32) {
        match mem::replace(&mut self.tail, index) {
            END => self.head = index,
            MAIN => self.main_next = index,
            tail => entries[tail as usize].next = index,
        }
    }

    #[inline]
    fn pop(&mut self, entries: &[Entry]) -> Option<u32> {
        let index = self.head;
        self.head = match index {
            END => return None,
            MAIN => self.main_next,
            index => entries[index as usize].next,
        };
        if self.tail == index {
            (self.head, self.tail) = (END, END);
        }
        Some(index)
    }
}

impl Table {
    pub(super) fn new() -> Table {
        let queue = Queue::EMPTY;
        Table { entries: Vec::new(), free: NONE, alive: 0, daemons: 0, cleaning: 0, queue }
    }

    /// Returns the number of coroutines that have not ended.
    pub(super) fn alive(&self) -> usize {
        self.alive
    }

    /// Returns the number of those that are daemons.
    pub(super) fn daemons(&self) -> usize {
        self.daemons
    }

    /// Returns the number of those that are clean-ups.
    pub(super) fn cleaning(&self) -> usize {
        self.cleaning
    }

    /// Marks a coroutine that was just added as the clean-up of another one.
    pub(super) fn set_cleans_up(&mut self, index: u32) {
        if let Some(entry) = self.living(index) {
            entry.flags |= flags::CLEANS_UP;
            self.cleaning += 1;
        }
    }

    /// Tells whether none is ready.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.head == END
    }

    /// Adds a coroutine like [`Table::insert`], which has one caller that is fast.
    #[cold]
    #[inline(never)]
    pub(super) fn insert_rarely(&mut self, slot: u16, body: Body) -> Key {
        self.insert(slot, body)
    }

    /// Adds a coroutine and makes it ready, behind all others.
    #[inline]
    pub(super) fn insert(&mut self, slot: u16, body: Body) -> Key {
        let index = self.free_entry();
        let entry = &mut self.entries[index as usize];
        let key = Key { slot, generation: entry.generation, index };
        body.place(key.pack());
        entry.body = Some(body);
        entry.flags = flags::QUEUED;
        self.alive += 1;
        self.queue.push(&mut self.entries, index);
        key
    }

    /// Makes the coroutine of `key` ready if it still exists.
    #[inline]
    pub(super) fn wake(&mut self, key: Key) {
        if key.index == MAIN {
            self.wake_main();
        } else if self.entry(key.index).is_some_and(|entry| entry.generation == key.generation) {
            self.wake_place(key.index);
        }
    }

    /// Makes the coroutine at this place ready.
    #[inline]
    pub(super) fn wake_place(&mut self, index: u32) {
        if index == MAIN {
            return self.wake_main();
        }
        let Some(entry) = self.entry(index) else { return };
        if entry.body.is_some() && entry.flags & flags::QUEUED == 0 {
            entry.flags |= flags::QUEUED;
            self.queue.push(&mut self.entries, index);
        }
    }

    fn wake_main(&mut self) {
        if !self.queue.main_queued {
            self.queue.main_queued = true;
            self.queue.push(&mut self.entries, MAIN);
        }
    }

    /// Takes the next ready one out of the queue.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Next> {
        loop {
            let index = self.queue.pop(&self.entries)?;
            if index == MAIN {
                self.queue.main_queued = false;
                return Some(Next::Main);
            }
            if let Some((body, generation)) = self.begin(index) {
                return Some(Next::Coroutine { index, generation, body });
            }
        }
    }

    /// Takes out the body at a place, to be resumed, and the generation of its key.
    #[inline]
    pub(super) fn begin(&mut self, index: u32) -> Option<(Body, u16)> {
        let entry = self.entry(index)?;
        let body = entry.body.take()?;
        debug_assert!(entry.flags & flags::QUEUED != 0, "who is begun was ready, or all are ended");
        Some((body, entry.generation))
    }

    /// Puts back a body that has not ended; if it was `woken` meanwhile, it is ready again.
    #[inline]
    pub(super) fn put_back(&mut self, index: u32, body: Body, woken: bool) {
        let entry = &mut self.entries[index as usize];
        debug_assert!(entry.is_out(), "only what was begun is put back");
        entry.body = Some(body);
        if woken {
            self.queue.push(&mut self.entries, index);
        } else {
            entry.flags &= !flags::QUEUED;
        }
    }

    /// Frees the place of a coroutine that was resumed and has ended.
    pub(super) fn remove(&mut self, index: u32) -> Removed {
        let entry = &mut self.entries[index as usize];
        debug_assert!(entry.is_out(), "only what was begun is removed");
        let removed = Removed { has_extra: entry.flags & flags::EXTRA != 0 };
        if entry.flags & flags::CLEANS_UP != 0 {
            self.cleaning -= 1;
        }
        if entry.flags & flags::DAEMON != 0 {
            self.daemons -= 1;
        }
        entry.flags = 0;
        entry.generation = (entry.generation + 1) % GENERATIONS;
        entry.next = self.free;
        self.free = index;
        self.alive -= 1;
        removed
    }

    /// Returns the first place, from `from` on, of a coroutine that is not being resumed, and
    /// that is a clean-up or is not; for the end of the scheduler.
    pub(super) fn any_from(&self, from: u32, cleans_up: bool) -> Option<u32> {
        let ends = |entry: &Entry| entry.is_ended_with(cleans_up);
        let mut rest = self.entries.iter().enumerate().skip(from as usize);
        rest.find(|(_, entry)| ends(entry)).map(|(index, _)| index as u32)
    }

    /// Empties the queue before coroutines are ended, those that are clean-ups or the others, and
    /// keeps wakes from queueing them again. `run`'s own future is not affected, and those that are
    /// not ended are ready.
    pub(super) fn stop_queueing(&mut self, cleans_up: bool) {
        let main_queued = self.queue.main_queued;
        self.queue = Queue::EMPTY;
        self.queue.main_queued = false;
        for index in 0..self.entries.len() {
            let entry = &mut self.entries[index];
            if entry.body.is_some() {
                entry.flags |= flags::QUEUED;
                if !entry.is_ended_with(cleans_up) {
                    self.queue.push(&mut self.entries, index as u32);
                }
            }
        }
        if main_queued {
            self.wake_main();
        }
    }

    /// Sets or clears the mark of a daemon.
    pub(super) fn set_daemon(&mut self, index: u32, daemon: bool) {
        let Some(entry) = self.living(index) else { return };
        let is = entry.flags & flags::DAEMON != 0;
        if daemon && !is {
            entry.flags |= flags::DAEMON;
            self.daemons += 1;
        } else if is && !daemon {
            entry.flags &= !flags::DAEMON;
            self.daemons -= 1;
        }
    }

    /// Marks that a coroutine has extras; `false` if it has ended.
    pub(super) fn set_extra(&mut self, key: Key) -> bool {
        let lives = self.lives(key);
        if lives && let Some(entry) = self.living(key.index) {
            entry.flags |= flags::EXTRA;
        }
        lives
    }

    /// Tells whether the coroutine of a key has not ended; `run`'s own future never has.
    pub(super) fn lives(&mut self, key: Key) -> bool {
        let generation = key.generation;
        let living = self.living(key.index).is_some_and(|entry| entry.generation == generation);
        living || key.index == MAIN
    }

    /// Returns the key of the coroutine at this place.
    pub(super) fn key(&self, slot: u16, index: u32) -> Key {
        let generation = self.entries.get(index as usize).map_or(0, |entry| entry.generation);
        Key { slot, generation, index }
    }

    /// Returns the log's name for a coroutine without one, unless it is being resumed.
    pub(super) fn who(&self, index: u32) -> Option<Who<'static>> {
        self.entries.get(index as usize)?.body.as_ref().map(|body| body.who(None))
    }

    /// Returns the places of all living coroutines that are no daemons.
    pub(super) fn non_daemons(&self) -> Vec<u32> {
        let alive = |entry: &Entry| entry.body.is_some() || entry.is_out();
        let found = self.entries.iter().enumerate();
        found
            .filter(|(_, entry)| alive(entry) && entry.flags & flags::DAEMON == 0)
            .map(|(index, _)| index as u32)
            .collect()
    }

    /// Returns the entry of a coroutine that has not ended.
    fn living(&mut self, index: u32) -> Option<&mut Entry> {
        let lives = |entry: &&mut Entry| entry.body.is_some() || entry.is_out();
        self.entry(index).filter(lives)
    }

    fn entry(&mut self, index: u32) -> Option<&mut Entry> {
        self.entries.get_mut(index as usize)
    }

    fn free_entry(&mut self) -> u32 {
        if self.free != NONE {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            return index;
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|&index| index < END);
        let index = index.expect("fewer than 4 billion coroutines");
        reserve_an_eighth(&mut self.entries);
        self.entries.push(Entry { body: None, next: NONE, generation: 0, flags: 0 });
        index
    }
}

/// Grows a full table by an eighth; a vector would double. The table is as long as the program has
/// connections, and an empty half would add to the memory of each.
pub(super) fn reserve_an_eighth<T>(table: &mut Vec<T>) {
    if table.len() == table.capacity() {
        table.reserve_exact((table.len() / 8).max(16));
    }
}

/// Marks the end of the free list.
const NONE: u32 = u32::MAX;
