//! The only way in from other threads: wakes, new coroutines and questions.
//!
//! Each scheduler has one inbox. Whoever is on another thread puts a post in and rings; the
//! scheduler empties it once a turn. A coroutine stands in it at most once, however often it is
//! woken, so its length is bounded by what lives in the scheduler or has left a waker somewhere. A
//! closed inbox (its scheduler has ended) takes nothing and gives back what was to be sent.
//!
//! Wakers are numbers ([`Key`]), so a table of the process finds the inbox of a scheduler's slot.

use std::{
    collections::HashSet,
    iter, mem,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, ThreadId},
};

use super::{cell::body::Unstarted, key::Key, statistics::Statistics};
use crate::{
    driver::Doorbell,
    fork::{self, Global},
    primitives::{Arc, Mutex, lock},
};

/// What another thread sends.
pub(super) enum Post {
    /// Resume this coroutine, if it is still there.
    Wake(Key),
    /// Take in a new coroutine.
    Start(Unstarted),
    /// Tell when no coroutine is left but daemons.
    TellIdle(Answer<()>),
    /// End all coroutines, and with `stop` the scheduler, which then has a thread of its own.
    EndAll { stop: bool, done: Answer<()> },
    /// Tell what the scheduler has done and holds.
    Statistics(Answer<Statistics>),
    /// End the scheduler, which has a thread of its own, once its coroutines have ended.
    Stop,
}

/// The way back to a thread that has asked something and waits. One that is dropped tells it that
/// there will be no answer.
pub(super) struct Answer<T>(SyncSender<T>);

/// Makes a way back, and the end at which the answer comes out.
pub(super) fn answer<T>() -> (Answer<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    (Answer(sender), receiver)
}

impl<T> Answer<T> {
    /// Gives the answer. Whoever has asked may have gone.
    pub(super) fn give(self, value: T) {
        let _ = self.0.send(value);
    }
}

struct Mail {
    open: bool,
    posts: Vec<Post>,
    /// Who stands in `posts` already.
    woken: HashSet<usize>,
}

/// What other threads send to a scheduler, until it is read.
pub(crate) struct Inbox {
    mail: Mutex<Mail>,
    bell: Arc<Doorbell>,
    /// The thread of the scheduler.
    owner: ThreadId,
    /// The process of the scheduler. In a child of it the inbox is closed, and its lock, which
    /// another thread may have held at the fork, is left alone.
    process: u32,
}

impl Inbox {
    pub(super) fn new(bell: Arc<Doorbell>) -> Inbox {
        let mail = Mail { open: true, posts: Vec::new(), woken: HashSet::new() };
        let (owner, process) = (thread::current().id(), fork::generation());
        Inbox { mail: Mutex::new(mail), bell, owner, process }
    }

    /// Tells whether this process is a child that inherited the inbox by fork(2).
    pub(super) fn is_inherited(&self) -> bool {
        self.process != fork::generation()
    }

    /// Tells whether waiting in this thread for an answer would be waiting for oneself: the
    /// scheduler is this thread's, entered now or not, and has not ended.
    pub(super) fn is_own(&self) -> bool {
        !self.is_inherited() && self.owner == thread::current().id() && lock(&self.mail).open
    }

    /// Puts a post in and rings; gives it back if the scheduler has ended.
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

    /// Takes no more; returns what was left.
    pub(super) fn close(&self) -> Vec<Post> {
        let mut mail = lock(&self.mail);
        mail.open = false;
        mem::take(&mut mail.posts)
    }
}

/// Inboxes by slot. A slot is used again after its scheduler has ended, but only when the others
/// have had their round; a waker that is older than that then wakes a stranger for nothing, as
/// [`Key`] allows.
struct Slots {
    inboxes: Vec<Option<Arc<Inbox>>>,
    /// Where the next search begins.
    next: usize,
}

static SLOTS: Global<RwLock<Slots>> = Global::new();

/// Slots that were given out, in this process and those that it was forked from: a child begins
/// behind them, so that a waker of its parent's finds nobody there.
static GIVEN: AtomicUsize = AtomicUsize::new(0);

fn slots() -> &'static RwLock<Slots> {
    SLOTS.of_this_process(|_| {
        let given = GIVEN.load(Ordering::Relaxed);
        let inboxes = iter::repeat_with(|| None).take(given).collect();
        RwLock::new(Slots { inboxes, next: given })
    })
}

/// Slots in a round, if no more schedulers than that run at once: 32 KiB in a long-lived process.
const ROUND: usize = 4096;

/// Gives an inbox a slot, from 1 on; `None` when 65,535 schedulers run in this process.
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

/// Asks [`Inbox::is_own`] of the scheduler that has this slot now.
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

    /// Reads mail as a scheduler does, sleeping in between, until `count` wakes have come.
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
