//! The hot receive buffer: one per thread, lent to whoever is receiving right now.
//!
//! A waiting coroutine holds no buffer. Bytes are received into this one, which stays in the
//! processor's cache, and copied out once into exactly as much memory as they need. It is *taken*
//! while it is used: a callback that receives again gets a fresh one, and the last to be given back
//! stays.

use std::{
    cell::Cell,
    ops::{Deref, DerefMut},
};

/// Bytes in a hot buffer.
pub(crate) const HOT: usize = 64 << 10;

thread_local! {
    static BUFFER: Cell<Option<Box<[u8; HOT]>>> = const { Cell::new(None) };
}

/// A hot buffer in use; dropping it gives it back.
pub(crate) struct Hot(Option<Box<[u8; HOT]>>);

/// Takes this thread's hot buffer.
pub(crate) fn take() -> Hot {
    let kept = BUFFER.try_with(Cell::take).ok().flatten();
    Hot(Some(kept.unwrap_or_else(fresh)))
}

#[cold]
fn fresh() -> Box<[u8; HOT]> {
    vec![0; HOT].into_boxed_slice().try_into().expect("the length is the array's")
}

impl Drop for Hot {
    fn drop(&mut self) {
        // Where the thread is ending there is no place left, and the memory is freed.
        let _ = BUFFER.try_with(|place| place.set(self.0.take()));
    }
}

impl Deref for Hot {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.as_ref().expect("taken until the drop")[..]
    }
}

impl DerefMut for Hot {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0.as_mut().expect("taken until the drop")[..]
    }
}
