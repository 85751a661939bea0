//! Writes lines to the log, for events that no caller is told of.
//!
//! A line goes to the thread's `tracing` subscriber. Where there is none, warnings and errors go to
//! standard error, unless `ASYNCORO_LOG=off`. Rules:
//! - writing a line never panics, blocks on no lock of ours and works anywhere: in a drop while the
//!   thread unwinds, in the destructor of a thread-local variable, in the child of a fork;
//! - at most [`MAX_LINES`] lines of a level are written in a second, since a peer may cause them;
//!   the next line, or [`settle`], reports how many were left out;
//! - the caller formats values (such as a user's error), since it knows what to do if that panics.
//!
//! The clock is the kernel's, in seconds, since this module is below `Driver`.

use std::{
    cell::Cell,
    env, fmt, io, mem,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

use rustix::{
    io::Errno,
    time::{ClockId, clock_gettime},
};
use tracing::{dispatcher, subscriber::NoSubscriber};

/// How many lines of a level are written in a second, to a subscriber and to standard error each.
const MAX_LINES: u64 = 20;

/// The environment variable that turns off lines on standard error.
const VARIABLE: &str = "ASYNCORO_LOG";

/// How much a line matters to the reader of the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Something of this program is wrong.
    Error,
    /// Something was lost, or will be.
    Warn,
    /// A peer misbehaved.
    Info,
    /// Normal behaviour of peers, such as a reset.
    Debug,
}

/// Logs that something is wrong in this program.
#[cold]
pub(crate) fn error(line: fmt::Arguments<'_>) {
    write(Level::Error, line);
}

/// Logs that something was lost, or will be.
#[cold]
pub(crate) fn warn(line: fmt::Arguments<'_>) {
    write(Level::Warn, line);
}

/// Logs that a peer misbehaved.
#[cold]
pub(crate) fn info(line: fmt::Arguments<'_>) {
    write(Level::Info, line);
}

/// Logs normal behaviour of a peer.
#[cold]
pub(crate) fn debug(line: fmt::Arguments<'_>) {
    write(Level::Debug, line);
}

/// Reports how many lines were left out, unless that was reported already.
pub(crate) fn settle() {
    for (level, meters) in LEVELS.into_iter().zip(&METERS) {
        for (to_subscriber, meter) in [(true, &meters.subscriber), (false, &meters.stderr)] {
            if meter.left_out.load(Ordering::Relaxed) > 0 && has_subscriber() == to_subscriber {
                tell_left_out(level, to_subscriber, meter.left_out.swap(0, Ordering::Relaxed));
            }
        }
    }
}

fn write(level: Level, line: fmt::Arguments<'_>) {
    // A subscriber may call this again.
    if WRITING.replace(true) {
        return if is_stderr_wanted(level) {
            to_stderr(line)
        };
    }
    let _written = Written;
    let to_subscriber = has_subscriber();
    let wanted = if to_subscriber { is_enabled(level) } else { is_stderr_wanted(level) };
    if wanted {
        let meters = &METERS[level as usize];
        let meter = if to_subscriber { &meters.subscriber } else { &meters.stderr };
        if let Some(left_out) = meter.admit(now()) {
            tell_left_out(level, to_subscriber, left_out);
            put(level, to_subscriber, line);
        }
    }
}

/// Marks, when dropped, that this thread has finished writing its line.
struct Written;

impl Drop for Written {
    fn drop(&mut self) {
        WRITING.set(false);
    }
}

fn tell_left_out(level: Level, to_subscriber: bool, left_out: u64) {
    if left_out > 0 {
        put(
            level,
            to_subscriber,
            format_args!("{left_out} lines were left out, of more than {MAX_LINES} in a second"),
        );
    }
}

/// Gives a line to the subscriber; if that panics or there is none, writes it to standard error.
fn put(level: Level, to_subscriber: bool, line: fmt::Arguments<'_>) {
    // Also without a subscriber: `tracing`'s macros may pass lines to the crate `log`.
    if !ENDING.get() {
        match panic::catch_unwind(AssertUnwindSafe(|| to_tracing(level, line))) {
            Ok(()) if to_subscriber => return,
            Ok(()) => {}
            // Dropping the payload might panic again.
            Err(payload) => mem::forget(payload),
        }
    }
    to_stderr(line);
}

/// Tells whether this thread has a subscriber.
fn has_subscriber() -> bool {
    !ENDING.get() && dispatcher::get_default(|dispatch| !dispatch.is::<NoSubscriber>())
}

fn is_enabled(level: Level) -> bool {
    let enabled = || match level {
        Level::Error => tracing::enabled!(target: "asyncoro", tracing::Level::ERROR),
        Level::Warn => tracing::enabled!(target: "asyncoro", tracing::Level::WARN),
        Level::Info => tracing::enabled!(target: "asyncoro", tracing::Level::INFO),
        Level::Debug => tracing::enabled!(target: "asyncoro", tracing::Level::DEBUG),
    };
    // If the filter panics, the line goes to standard error.
    panic::catch_unwind(enabled).unwrap_or_else(|payload| {
        mem::forget(payload);
        true
    })
}

fn to_tracing(level: Level, line: fmt::Arguments<'_>) {
    match level {
        Level::Error => tracing::error!(target: "asyncoro", "{line}"),
        Level::Warn => tracing::warn!(target: "asyncoro", "{line}"),
        Level::Info => tracing::info!(target: "asyncoro", "{line}"),
        Level::Debug => tracing::debug!(target: "asyncoro", "{line}"),
    }
    // See `Ending`.
    let _ = AFTER_SUBSCRIBER.try_with(|_| ());
}

/// Writes a line in one piece, without `std`'s lock, which the child of a fork might find taken.
fn to_stderr(line: fmt::Arguments<'_>) {
    let text = format!("asyncoro: {line}\n");
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(io::stderr(), rest) {
            Ok(0) => return,
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            // Closed or full: the line is lost.
            Err(_) => return,
        }
    }
}

const LEVELS: [Level; 4] = [Level::Error, Level::Warn, Level::Info, Level::Debug];

impl Level {
    fn is_for_stderr(self) -> bool {
        matches!(self, Level::Error | Level::Warn)
    }
}

/// Tells whether lines of this level go to standard error; reads the environment once.
fn is_stderr_wanted(level: Level) -> bool {
    const UNKNOWN: u8 = 0;
    const ON: u8 = 1;
    const OFF: u8 = 2;
    static ANSWER: AtomicU8 = AtomicU8::new(UNKNOWN);
    if !level.is_for_stderr() {
        return false;
    }
    if ANSWER.load(Ordering::Relaxed) == UNKNOWN {
        let off = env::var_os(VARIABLE).is_some_and(|value| value == "off" || value == "0");
        ANSWER.store(if off { OFF } else { ON }, Ordering::Relaxed);
    }
    ANSWER.load(Ordering::Relaxed) == ON
}

thread_local! {
    /// Whether this thread is writing a line.
    static WRITING: Cell<bool> = const { Cell::new(false) };
    /// Whether the subscriber's thread-locals may be gone.
    static ENDING: Cell<bool> = const { Cell::new(false) };
    static AFTER_SUBSCRIBER: Ending = const { Ending };
}

/// Marks that the thread ends, before the subscriber's thread-locals are destroyed: destructors run
/// in reverse order of creation, and this one is created after the first line that a subscriber
/// took.
struct Ending;

impl Drop for Ending {
    fn drop(&mut self) {
        ENDING.set(true);
    }
}

/// Bounds the lines of a level, for each destination.
struct Meters {
    subscriber: Meter,
    stderr: Meter,
}

static METERS: [Meters; LEVELS.len()] =
    [const { Meters { subscriber: Meter::new(), stderr: Meter::new() } }; LEVELS.len()];

/// Counts the lines of the current second, without a lock.
struct Meter {
    /// The second in the upper 32 bits, the count of its lines in the lower ones.
    window: AtomicU64,
    left_out: AtomicU64,
}

impl Meter {
    const fn new() -> Meter {
        Meter { window: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Counts a line; returns how many were left out before it, or `None` if this one is to be left
    /// out.
    fn admit(&self, second: u32) -> Option<u64> {
        let start = u64::from(second) << 32;
        let next = |window: u64| {
            if window < start {
                return Some(start | 1);
            }
            // Another thread may have started the next second already.
            (window & u64::from(u32::MAX) < MAX_LINES).then_some(window + 1)
        };
        match self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Some(self.left_out.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

/// Returns the kernel's seconds, truncated, plus one: 0 is the initial state of a [`Meter`].
fn now() -> u32 {
    (clock_gettime(ClockId::Monotonic).tv_sec as u32).wrapping_add(1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{MAX_LINES, Meter};

    #[test]
    fn a_meter_admits_so_many_lines_of_a_second_and_counts_the_others() {
        let meter = Meter::new();
        for _ in 0..MAX_LINES {
            assert_eq!(meter.admit(7), Some(0));
        }
        for _ in 0..3 {
            assert_eq!(meter.admit(7), None);
        }
        assert_eq!(meter.admit(8), Some(3), "the next second tells what was left out");
        assert_eq!(meter.admit(8), Some(0));
    }

    #[test]
    fn a_meter_bounds_all_threads_together() {
        let meter = Meter::new();
        let admitted: usize = std::thread::scope(|scope| {
            let counting = [(); 4]
                .map(|()| scope.spawn(|| (0..1000).filter(|_| meter.admit(1).is_some()).count()));
            counting.map(|thread| thread.join().unwrap()).into_iter().sum()
        });
        assert_eq!(admitted as u64, MAX_LINES);
        assert_eq!(meter.admit(2), Some(4000 - MAX_LINES));
    }
}
