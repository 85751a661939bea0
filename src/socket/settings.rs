//! The user's settings of a socket, in two words.

use std::time::Duration;

use crate::frame;

/// Default limit of bytes queued before a sender waits; a payload of this size or more is not
/// copied.
pub(crate) const QUEUE_LIMIT: usize = 64 << 10;

const KIB: usize = 1 << 10;

const _: () = assert!(size_of::<Settings>() == 16, "each socket keeps them");

/// The user's settings of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Longest wait without progress, in nanoseconds; zero for no limit.
    timeout_ns: u64,
    message_limit: u32,
    /// Most bytes queued, in KiB, so that the field fits beside the others.
    queue_limit_kib: u16,
    /// Whether small messages wait for the end of the turn.
    pub(crate) coalescing: bool,
}

impl Settings {
    /// Returns the defaults: no timeout, messages of at most 64 MiB, 64 KiB queued, coalescing.
    pub(crate) fn new() -> Settings {
        let message_limit = frame::DEFAULT_LIMIT as u32;
        let queue_limit_kib = (QUEUE_LIMIT / KIB) as u16;
        Settings { timeout_ns: 0, message_limit, queue_limit_kib, coalescing: true }
    }

    /// Returns the settings of an accepted socket: all but the timeout are inherited.
    pub(crate) fn inherited(self) -> Settings {
        Settings { timeout_ns: 0, ..self }
    }

    pub(crate) fn timeout(self) -> Option<Duration> {
        (self.timeout_ns > 0).then(|| Duration::from_nanos(self.timeout_ns))
    }

    /// Sets the timeout; one of more than 584 years means none.
    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        let nanoseconds = timeout.unwrap_or_default().as_nanos();
        self.timeout_ns = u64::try_from(nanoseconds).unwrap_or(0);
    }

    pub(crate) fn message_limit(self) -> usize {
        self.message_limit as usize
    }

    /// Sets the longest payload; a header cannot express more than 32 bits.
    pub(crate) fn set_message_limit(&mut self, max: usize) {
        self.message_limit = u32::try_from(max).unwrap_or(u32::MAX);
    }

    #[inline]
    pub(crate) fn queue_limit(self) -> usize {
        usize::from(self.queue_limit_kib) * KIB
    }

    /// Sets the limit in whole KiB, from 1 KiB to just under 64 MiB.
    pub(crate) fn set_queue_limit(&mut self, max: usize) {
        let kib = max.div_ceil(KIB).max(1);
        self.queue_limit_kib = u16::try_from(kib).unwrap_or(u16::MAX);
    }
}
