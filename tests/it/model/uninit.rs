//! Memory for `recv_uninit`.
//!
//! Unsafe: reading what the verb says it has written. The memory is this value's own, nobody else
//! looks at it, and a debug build of the library would have written less only if the verb lied.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Room that is not initialised.
pub(super) struct Room(Box<[MaybeUninit<u8>]>);

impl Room {
    pub(super) fn new(len: usize) -> Room {
        Room(Box::new_uninit_slice(len))
    }

    /// The first `count` bytes, as `recv_uninit` has counted them.
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
