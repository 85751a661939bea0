//! Passes the lines of the crate's log to the package's, `asyncoro.logger`.
//!
//! A line may come from anywhere in the crate, which works on its state at that moment. So no code
//! of Python's runs there: the line is queued, and the scheduler's own future passes it on
//! (`engine.rs`). Only a thread that waits in a verb of a blocking socket passes its line on at
//! once. A guest of asyncio's passes lines of its own on after a turn or a call. Where nobody would
//! pass it on, before the first coroutine say, it goes to standard error, as in Rust.

use std::{
    env, fmt,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use pyo3::prelude::*;
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

use crate::{engine, gil, hooks};

/// The lines that the scheduler will pass on.
struct Queue {
    lines: Vec<(Level, String)>,
    /// Wakes the scheduler's own future, if there is a scheduler.
    waker: Option<Waker>,
}

/// It is only tried, and never waited for: the child of a fork may find it locked for ever.
static QUEUE: Mutex<Queue> = Mutex::new(Queue { lines: Vec::new(), waker: None });

/// The most lines that are queued; the crate writes 20 of a level in a second.
const MOST_LINES: usize = 256;

/// Takes the crate's warnings and errors from now on.
pub(crate) fn subscribe() {
    // Another interpreter of this process may have done it.
    let _ = tracing::dispatcher::set_global_default(Dispatch::new(ToPackage));
}

/// Passes queued lines on, and has `waker` woken for the next one; called by the scheduler.
pub(crate) fn pass_on(py: Python<'_>, waker: Option<&Waker>) {
    let Ok(lines) = QUEUE.try_lock().map(|mut queue| {
        queue.waker = waker.cloned();
        std::mem::take(&mut queue.lines)
    }) else {
        return;
    };
    for (level, text) in lines {
        tell(py, level, &text);
    }
}

/// Whether a guest of asyncio's has queued lines.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Passes on what a guest of asyncio's has queued; called by guests.
#[inline]
pub(crate) fn pass_on_left(py: Python<'_>) {
    if LEFT.load(Ordering::Relaxed) {
        pass_on_all_left(py);
    }
}

#[cold]
fn pass_on_all_left(py: Python<'_>) {
    LEFT.store(false, Ordering::Relaxed);
    let lines = QUEUE.try_lock().map(|mut queue| std::mem::take(&mut queue.lines));
    for (level, text) in lines.unwrap_or_default() {
        tell(py, level, &text);
    }
}

/// Forgets the parent's scheduler in the child of a fork.
pub(crate) fn after_fork() {
    if let Ok(mut queue) = QUEUE.try_lock() {
        queue.waker = None;
        queue.lines.clear();
    }
}

fn tell(py: Python<'_>, level: Level, text: &str) {
    if level == Level::ERROR { hooks::error(py, text) } else { hooks::warn(py, text) }
}

fn write(level: Level, text: String) {
    if !engine::is_here() && gil::is_let_go() {
        let told = Python::try_attach(|py| tell(py, level, &text));
        return if told.is_none() {
            to_stderr(&text)
        };
    }
    let is_guests = engine::is_here() && !engine::in_scheduler();
    if let Ok(mut queue) = QUEUE.try_lock()
        && queue.lines.len() < MOST_LINES
        && (is_guests || queue.waker.is_some())
    {
        queue.lines.push((level, text));
        let waker = queue.waker.clone();
        drop(queue);
        if is_guests {
            LEFT.store(true, Ordering::Relaxed);
        }
        return waker.into_iter().for_each(Waker::wake);
    }
    to_stderr(&text);
}

/// Writes a line in one piece, without the lock of `std`, which the child of a fork may find taken.
fn to_stderr(text: &str) {
    static OFF: OnceLock<bool> = OnceLock::new();
    let is_off = || env::var_os("ASYNCORO_LOG").is_some_and(|it| it == "off" || it == "0");
    if !*OFF.get_or_init(is_off) {
        let written = io::stderr().as_fd().try_clone_to_owned().map(|own| {
            // Closed or full: the line is lost.
            let _ = File::from(own).write_all(format!("asyncoro: {text}\n").as_bytes());
        });
        drop(written);
    }
}

/// A subscriber for the crate's warnings and errors.
struct ToPackage;

impl Subscriber for ToPackage {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "asyncoro" && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        write(*event.metadata().level(), message.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The text of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
