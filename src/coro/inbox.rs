//! The only access from other threads: wakes, new coroutines, questions, and values that come back
//! to be dropped.
//!
//! Each scheduler has one inbox. Another thread adds a post and rings the bell; the scheduler
//! empties the inbox once a turn. A coroutine is in it at most once, however often it is woken, so
//! its length is bounded by the coroutines that live or have left a waker somewhere, and by what
//! other threads start or drop. A closed inbox, whose scheduler has ended, returns what was sent.
//!
//! Wakers are numbers ([`Key`]), so a table of the process maps a scheduler's slot to its inbox.

use std::{
    any::Any,
    collections::HashSet,
    iter, mem,
    pin::Pin,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, Thread},
};

use super::{
    cell::body::Unstarted,
    homebound::{Homebound, this_thread},
    key::Key,
    statistics::Statistics,
};
use crate::{
    driver::Doorbell,
    foreign,
    fork::{self, Global},
    primitives::{Arc, Mutex, lock},
};

/// A request from another thread.
pub(super) enum Post {
    /// Resume this coroutine, if it still exists.
    Wake(Key),
    /// Add a new coroutine.
    Start(Unstarted),
    /// Drop a value of this thread, whose owner has dropped it on another one.
    Drop(Homebound<Pin<Box<dyn Any>>>),
    /// Answer when only daemons are left.
    TellIdle(Answer<()>),
    /// End all coroutines; with `stop`, also the scheduler, which then has a thread of its own.
    EndAll { stop: bool, done: Answer<()> },
    /// Answer with the counts of the scheduler.
    Statistics(Answer<Statistics>),
    /// End the scheduler, which has a thread of its own, once its coroutines have ended.
    Stop,
}

/// The channel for the answer to a waiting thread. If it is dropped, the thread learns that there
/// is no answer.
pub(super) struct Answer<T>(SyncSender<T>);

/// Makes the channel for an answer: the scheduler's end and the caller's end.
pub(super) fn answer<T>() -> (Answer<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    (Answer(sender), receiver)
}

impl<T> Answer<T> {
    /// Sends the answer, if the caller still waits.
    pub(super) fn give(self, value: T) {
        let _ = self.0.send(value);
    }
}

/// Drops what has come back, on its own thread; a panic is logged, since its owner is elsewhere.
pub(super) fn drop_caught(value: Homebound<Pin<Box<dyn Any>>>) {
    debug_assert!(value.is_home(), "an inbox is read on the thread of its scheduler");
    foreign::contain("the drop of a value that has come back to its thread", || drop(value));
}

struct Mail {
    open: bool,
    posts: Vec<Post>,
    /// Keys with a wake in `posts`.
    woken: HashSet<usize>,
}

/// The requests from other threads to a scheduler, until it reads them.
pub(crate) struct Inbox {
    mail: Mutex<Mail>,
    bell: Arc<Doorbell>,
    /// The thread of the scheduler.
    owner: Thread,
    /// The process of the scheduler. In a child of it the inbox is closed, and its lock, which
    /// another thread may have held at the fork, is left alone.
    process: u32,
}

impl Inbox {
    pub(super) fn new(bell: Arc<Doorbell>) -> Inbox {
        let mail = Mail { open: true, posts: Vec::new(), woken: HashSet::new() };
        let (owner, process) = (thread::current(), fork::generation());
        Inbox { mail: Mutex::new(mail), bell, owner, process }
    }

    /// Tells whether this process is a child that inherited the inbox by fork(2).
    pub(super) fn is_inherited(&self) -> bool {
        self.process != fork::generation()
    }

    /// Tells whether waiting for an answer would block the scheduler itself: it belongs to this
    /// thread, entered or not, and has not ended.
    pub(super) fn is_own(&self) -> bool {
        !self.is_inherited() && self.owner.id() == this_thread() && lock(&self.mail).open
    }

    /// Returns the thread of the scheduler.
    pub(super) fn owner(&self) -> &Thread {
        &self.owner
    }

    /// Adds a post and rings the bell; returns the post if the scheduler has ended.
    pub(super) fn send(&self, post: Post) -> Result<(), Post> {
        if self.is_inherited() {
            return Err(post);
        }
        let mut mail = lock(&self.mail);
        if !mail.open {
            return Err(post);
        }
        if let Post::Wake(key) = post
            && !mail.woken.insert(key.pack())
        {
            return Ok(());
        }
        mail.posts.push(post);
        drop(mail);
        self.bell.ring();
        Ok(())
    }

    /// Tells whether something was sent since the last [`Inbox::take`].
    pub(super) fn has_mail(&self) -> bool {
        self.bell.is_rung()
    }

    /// Moves the posts to `into`, if the bell was rung.
    pub(super) fn take(&self, into: &mut Vec<Post>) {
        if self.bell.answer() {
            let mut mail = lock(&self.mail);
            mem::swap(&mut mail.posts, into);
            mail.woken.clear();
        }
    }

    /// Closes the inbox and returns the posts left.
    pub(super) fn close(&self) -> Vec<Post> {
        let mut mail = lock(&self.mail);
        mail.open = false;
        mem::take(&mut mail.posts)
    }
}

/// Inboxes by slot. A slot is reused after its scheduler has ended, but only after the other slots
/// of the round. A waker older than that then wakes another coroutine needlessly, as [`Key`]
/// allows.
struct Slots {
    inboxes: Vec<Option<Arc<Inbox>>>,
    /// The slot at which the next search begins.
    next: usize,
}

static SLOTS: Global<RwLock<Slots>> = Global::new();

/// Number of slots assigned in this process and in those from which it was forked. A child begins
/// after them, so that a waker of its parent finds no scheduler there.
static GIVEN: AtomicUsize = AtomicUsize::new(0);

fn slots() -> &'static RwLock<Slots> {
    SLOTS.of_this_process(|_| {
        let given = GIVEN.load(Ordering::Relaxed);
        let inboxes = iter::repeat_with(|| None).take(given).collect();
        RwLock::new(Slots { inboxes, next: given })
    })
}

/// Slots in a round, unless more schedulers run at once: 32 KiB in a long-lived process.
const ROUND: usize = 4096;

/// Assigns a slot, from 1 on, to an inbox; `None` when 65,535 schedulers run in this process.
pub(super) fn register(inbox: &Arc<Inbox>) -> Option<u16> {
    let mut slots = slots().write().unwrap_or_else(PoisonError::into_inner);
    let Slots { inboxes, next } = &mut *slots;
    let mut round = (*next..inboxes.len()).chain(0..*next);
    let free = if inboxes.len() < ROUND { None } else { round.find(|&at| inboxes[at].is_none()) };
    let place = free.unwrap_or(inboxes.len());
    let slot = u16::try_from(place + 1).ok()?;
    if place == inboxes.len() {
        inboxes.push(None);
        GIVEN.store(inboxes.len(), Ordering::Relaxed);
    }
    inboxes[place] = Some(Arc::clone(inbox));
    *next = place + 1;
    Some(slot)
}

/// Frees a slot.
pub(super) fn unregister(slot: u16) {
    let mut slots = slots().write().unwrap_or_else(PoisonError::into_inner);
    slots.inboxes[usize::from(slot) - 1] = None;
}

/// Returns [`Inbox::is_own`] of the scheduler that has this slot now.
pub(super) fn is_own(slot: u16) -> bool {
    let slots = slots().read().unwrap_or_else(PoisonError::into_inner);
    let inbox = slots.inboxes.get(usize::from(slot).wrapping_sub(1));
    inbox.and_then(Option::as_ref).is_some_and(|inbox| inbox.is_own())
}

/// Wakes a coroutine of a scheduler on another thread, or of one that is not running now.
pub(super) fn wake(key: Key) {
    let slots = slots().read().unwrap_or_else(PoisonError::into_inner);
    if let Some(Some(inbox)) = slots.inboxes.get(usize::from(key.slot).wrapping_sub(1)) {
        let _ = inbox.send(Post::Wake(key));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::sync::atomic::{AtomicUsize as Plain, Ordering};

    use loom::{
        sync::{Arc, Notify},
        thread,
    };

    use super::{Inbox, Key, Post};
    use crate::driver::Doorbell;

    fn wake(index: u32) -> Post {
        Post::Wake(Key { slot: 1, generation: 0, index })
    }

    fn inbox() -> (Arc<Inbox>, Arc<Notify>) {
        let kernel = Arc::new(Notify::new());
        let wake = Arc::clone(&kernel);
        let bell = Arc::new(Doorbell::new(move || wake.notify()));
        (Arc::new(Inbox::new(bell)), kernel)
    }

    /// Reads posts as a scheduler does, with sleeps, until `count` wakes have arrived.
    fn receive(inbox: &Inbox, kernel: &Notify, count: usize) -> Vec<u32> {
        let mut seen = Vec::new();
        let mut posts = Vec::new();
        while seen.len() < count {
            inbox.take(&mut posts);
            let was_empty = posts.is_empty();
            seen.extend(posts.drain(..).map(|post| match post {
                Post::Wake(key) => key.index,
                _ => unreachable!("only wakes are sent"),
            }));
            if was_empty && inbox.bell.fall_asleep() {
                kernel.wait();
                inbox.bell.wake_up();
            }
        }
        seen
    }

    #[test]
    fn loom_wakes_from_two_threads_all_arrive() {
        loom::model(|| {
            let (inbox, kernel) = inbox();
            let threads = [1, 2].map(|index| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || assert!(inbox.send(wake(index)).is_ok()))
            });
            let mut seen = receive(&inbox, &kernel, 2);
            seen.sort_unstable();
            assert_eq!(seen, [1, 2]);
            for thread in threads {
                thread.join().expect("sender");
            }
        });
    }

    #[test]
    fn loom_a_wake_after_a_take_is_not_swallowed_by_the_one_before() {
        loom::model(|| {
            let (inbox, kernel) = inbox();
            let sender = thread::spawn({
                let inbox = Arc::clone(&inbox);
                move || {
                    assert!(inbox.send(wake(7)).is_ok());
                    thread::yield_now();
                    assert!(inbox.send(wake(8)).is_ok());
                }
            });
            assert_eq!(receive(&inbox, &kernel, 2), [7, 8]);
            sender.join().expect("sender");
        });
    }

    #[test]
    fn loom_a_post_is_either_left_at_close_or_given_back() {
        loom::model(|| {
            let (inbox, _kernel) = inbox();
            let back = std::sync::Arc::new(Plain::new(0));
            let sender = thread::spawn({
                let (inbox, back) = (Arc::clone(&inbox), std::sync::Arc::clone(&back));
                move || {
                    if inbox.send(wake(1)).is_err() {
                        back.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            let left = inbox.close().len();
            sender.join().expect("sender");
            assert_eq!(left + back.load(Ordering::Relaxed), 1);
        });
    }
}
