//! Memory for `recv_uninit`.
//!
//! Unsafe: reading what the verb reports as written. This value owns the memory, and nobody else
//! accesses it.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Memory that is not initialised.
pub(super) struct Room(Box<[MaybeUninit<u8>]>);

impl Room {
    pub(super) fn new(len: usize) -> Room {
        Room(Box::new_uninit_slice(len))
    }

    /// Returns the first `count` bytes, as counted by `recv_uninit`.
    pub(super) fn filled(self, count: usize) -> Vec<u8> {
        // SAFETY: `recv_uninit` promises that these are initialised.
        self.0[..count].iter().map(|byte| unsafe { byte.assume_init() }).collect()
    }
}

impl AsMut<[MaybeUninit<u8>]> for Room {
    fn as_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        &mut self.0
    }
}
