//! The hot buffers of a thread, lent to the code that is receiving.
//!
//! A waiting coroutine holds no buffer. Bytes are received into the hot buffer, which stays in the
//! processor's cache, and are copied once into exactly as much memory as they need. The buffer is
//! *taken* while it is used: a callback that receives again gets a new one, and the last one
//! returned is kept. TLS has a second one, for records.

use std::{
    cell::Cell,
    ops::{Deref, DerefMut},
    thread::LocalKey,
};

/// Size of a hot buffer.
pub(crate) const HOT: usize = 64 << 10;

type Place<const N: usize> = LocalKey<Cell<Option<Box<[u8; N]>>>>;

thread_local! {
    static BUFFER: Cell<Option<Box<[u8; HOT]>>> = const { Cell::new(None) };
}

/// A hot buffer in use; the drop returns it.
pub(crate) struct Hot<const N: usize = HOT> {
    buffer: Option<Box<[u8; N]>>,
    place: &'static Place<N>,
}

/// Takes this thread's hot buffer.
pub(crate) fn take() -> Hot {
    Hot::of(&BUFFER)
}

impl<const N: usize> Hot<N> {
    /// Takes the buffer that is kept at a place.
    pub(crate) fn of(place: &'static Place<N>) -> Hot<N> {
        let kept = place.try_with(Cell::take).ok().flatten();
        Hot { buffer: Some(kept.unwrap_or_else(fresh)), place }
    }
}

#[cold]
fn fresh<const N: usize>() -> Box<[u8; N]> {
    vec![0; N].into_boxed_slice().try_into().expect("the length is the array's")
}

impl<const N: usize> Drop for Hot<N> {
    fn drop(&mut self) {
        // While the thread ends the place no longer exists, and the memory is freed.
        let _ = self.place.try_with(|place| place.set(self.buffer.take()));
    }
}

impl<const N: usize> Deref for Hot<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer.as_ref().expect("taken until the drop")[..]
    }
}

impl<const N: usize> DerefMut for Hot<N> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut().expect("taken until the drop")[..]
    }
}
