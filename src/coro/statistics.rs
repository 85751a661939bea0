//! `Statistics`: the counts of a scheduler.

/// Counts of a scheduler since it was made, and its present contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Coroutines that have not ended, daemons included.
    pub coroutines: usize,
    /// Daemons among them.
    pub daemons: usize,
    /// Timers that are armed.
    pub timers: usize,
    /// Sockets registered with the driver.
    pub sockets: usize,
    /// Coroutines ever started.
    pub spawned: u64,
    /// Times a coroutine was resumed.
    pub resumes: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that found no coroutine ready and waited.
    pub sleeps: u64,
    /// Events from the driver.
    pub events: u64,
    /// Flushes of sockets at the end of a turn.
    pub flushes: u64,
    /// Batches of calls that were made ahead of their verbs, since several sockets were ready.
    pub batches: u64,
    /// The name of the driver: `epoll` or `poll`.
    pub driver: &'static str,
}
