//! The memory of cells: the blocks of ended coroutines are reused for new ones.
//!
//! Coroutines come and go in large numbers and few sizes. A thread keeps the blocks of small cells
//! that were freed on it in a list for each size, up to [`MOST`] bytes in all. Taking one needs a
//! few instructions, and the allocator's own cache has only a few blocks. All blocks come from the
//! global allocator, each with the layout with which it will be freed, so a block may be taken on
//! one thread and returned on another.
//!
//! Under a sanitizer (`cfg(asan)`, `cfg(tsan)`) and in loom's models nothing is kept, so that the
//! use of a freed cell is detected.
//!
//! Unsafe: blocks as bare pointers. A block in a list belongs to the list alone, which writes its
//! link at the front of it; a block outside belongs to an [`Owned`] or to the code that took it.
#![allow(unsafe_code)]

use std::{
    alloc::{self, Layout},
    cell::Cell,
    mem,
    ops::Deref,
    ptr::{self, NonNull},
};

/// Most bytes of blocks that a thread keeps.
const MOST: usize = 256 << 10;

/// Sizes are multiples of this.
const UNIT: usize = align_of::<Free>();

/// Larger blocks are not kept.
const LARGEST: usize = 512;

/// Number of lists: one for each size, and one for size zero.
const LISTS: usize = LARGEST / UNIT + 1;

/// A block in a list.
struct Free {
    next: *mut Free,
}

struct Store {
    /// The lists, by size in units.
    lists: [Cell<*mut Free>; LISTS],
    bytes: Cell<usize>,
}

thread_local! {
    static STORE: Store = const {
        let empty = [const { Cell::new(ptr::null_mut()) }; LISTS];
        Store { lists: empty, bytes: Cell::new(0) }
    };
}

/// A value in a block of its own, like a box.
pub(super) struct Owned<T: ?Sized>(NonNull<T>);

impl<T> Owned<T> {
    /// Puts a value into a block that the thread keeps, or into a new one.
    #[inline]
    pub(super) fn new(value: T) -> Owned<T> {
        let layout = Layout::new::<T>();
        let place = match list_of(layout).and_then(take) {
            Some(block) => block.cast(),
            None => allocate(layout).cast::<T>(),
        };
        // SAFETY: the block has the layout of a `T`, and only this code uses it.
        unsafe { place.write(value) };
        Owned(place)
    }
}

impl<T: ?Sized> Owned<T> {
    /// Releases the block without freeing it; [`Owned::from_raw`] takes it back.
    pub(super) fn into_raw(self) -> NonNull<T> {
        let place = self.0;
        mem::forget(self);
        place
    }

    /// Takes back a block from [`Owned::into_raw`].
    ///
    /// # Safety
    /// The pointer came from `into_raw`, possibly converted to another type, and nothing else uses
    /// it any more.
    pub(super) unsafe fn from_raw(place: NonNull<T>) -> Owned<T> {
        Owned(place)
    }
}

impl<T: ?Sized> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this owns the value until the drop.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> Drop for Owned<T> {
    #[inline]
    fn drop(&mut self) {
        let layout = Layout::for_value::<T>(self);
        // SAFETY: this owns the value, and nothing uses it afterwards.
        unsafe { self.0.drop_in_place() };
        let kept = list_of(layout).is_some_and(|list| give(list, self.0.cast()));
        if !kept {
            // SAFETY: the block came from the global allocator with this layout, directly or
            // through a list.
            unsafe { alloc::dealloc(self.0.as_ptr().cast(), layout) };
        }
    }
}

#[cold]
fn allocate(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0, "a cell has a head");
    // SAFETY: the size is not zero.
    let block = unsafe { alloc::alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

/// Returns the list of blocks of exactly this layout, if they are kept.
#[inline]
fn list_of(layout: Layout) -> Option<usize> {
    let kept = layout.align() == UNIT && layout.size() <= LARGEST && !WATCHED;
    kept.then_some(layout.size() / UNIT)
}

/// Whether a tool must see each allocation.
const WATCHED: bool = cfg!(any(asan, tsan, loom));

#[inline]
fn take(list: usize) -> Option<NonNull<Free>> {
    // While the thread ends nothing is kept any more.
    STORE.try_with(|store| store.take(list)).ok().flatten()
}

#[inline]
fn give(list: usize, block: NonNull<Free>) -> bool {
    STORE.try_with(|store| store.give(list, block)).unwrap_or(false)
}

impl Store {
    #[inline]
    fn take(&self, list: usize) -> Option<NonNull<Free>> {
        let block = NonNull::new(self.lists[list].get())?;
        // SAFETY: a block in a list belongs to the list and holds its link.
        self.lists[list].set(unsafe { block.as_ref() }.next);
        self.bytes.set(self.bytes.get() - list * UNIT);
        Some(block)
    }

    /// Keeps a block that has no owner, unless enough are kept.
    #[inline]
    fn give(&self, list: usize, block: NonNull<Free>) -> bool {
        let bytes = self.bytes.get() + list * UNIT;
        if bytes > MOST {
            return false;
        }
        // SAFETY: the block has no owner, is aligned for a link, and is no smaller than a cell's
        // head.
        unsafe { block.write(Free { next: self.lists[list].get() }) };
        self.lists[list].set(block.as_ptr());
        self.bytes.set(bytes);
        true
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for list in 0..self.lists.len() {
            while let Some(block) = self.take(list) {
                let layout = Layout::from_size_align(list * UNIT, UNIT).expect("a block had it");
                // SAFETY: each block of this list came from the global allocator with this layout.
                unsafe { alloc::dealloc(block.as_ptr().cast(), layout) };
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{cell::Cell, rc::Rc, thread};

    use super::{MOST, Owned, STORE};

    struct Counts(Rc<Cell<u32>>, [u64; 6]);

    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_block_is_used_again_and_each_value_dropped_once() {
        let drops = Rc::new(Cell::new(0));
        for round in 1..100 {
            let owned = Owned::new(Counts(Rc::clone(&drops), [round.into(); 6]));
            assert_eq!(owned.1, [u64::from(round); 6]);
            drop(owned);
            assert_eq!(drops.get(), round);
        }
    }

    #[test]
    fn what_is_kept_has_a_bound_and_goes_with_its_thread() {
        let count = 2 * MOST / 64;
        let kept = thread::spawn(move || {
            let many: Vec<_> = (0..count).map(|number| Owned::new([number; 8])).collect();
            assert!(many.iter().enumerate().all(|(number, owned)| owned[7] == number));
            drop(many);
            STORE.with(|store| store.bytes.get())
        });
        let kept = kept.join().expect("the thread does not panic");
        assert!(kept <= MOST);
    }

    #[test]
    fn a_block_of_one_thread_may_be_given_on_another() {
        for _ in 0..100 {
            let owned = Owned::new([7_usize; 8]).into_raw().as_ptr() as usize;
            let there = thread::spawn(move || {
                let place = std::ptr::NonNull::new(owned as *mut [usize; 8]);
                // SAFETY: the pointer came from `into_raw`, and the other thread no longer uses it.
                drop(unsafe { Owned::from_raw(place.expect("not null")) });
            });
            there.join().expect("the thread does not panic");
        }
    }
}
