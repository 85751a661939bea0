//! The number that names a coroutine; a waker holds nothing else.
//!
//! Its 64 bits are the scheduler (16), the place in its table (32), the generation of that place
//! (15), and a lowest bit that is set. A number can outlive its coroutine. Then the generation
//! differs or, once in 32,768 reuses of a place, it names another coroutine.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a waker of asyncoro is a 64-bit number; 32-bit systems are not supported");

/// The name of a coroutine of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The scheduler's slot in the process.
    pub(crate) slot: u16,
    /// Number of earlier coroutines at this place, modulo [`GENERATIONS`].
    pub(crate) generation: u16,
    /// The place in the scheduler's table.
    pub(crate) index: u32,
}

impl Key {
    /// Returns the key of a scheduler without a coroutine: it wakes `run`'s own future, and serves
    /// a coroutine that has no place yet.
    pub(crate) fn of_scheduler(slot: u16) -> Key {
        Key { slot, generation: 0, index: MAIN }
    }

    /// Tells whether a coroutine can have this key.
    pub(crate) fn has_place(self) -> bool {
        self.slot != 0 && self.index != MAIN
    }

    /// Packs the key into one number, which is odd.
    pub(crate) fn pack(self) -> usize {
        debug_assert!(self.generation < GENERATIONS, "a generation has 15 bits");
        let generation = usize::from(self.generation);
        usize::from(self.slot) << 48 | generation << 33 | (self.index as usize) << 1 | 1
    }

    /// Returns the key in a number made by [`Key::pack`].
    pub(crate) fn unpack(number: usize) -> Key {
        Key {
            slot: (number >> 48) as u16,
            generation: (number >> 33) as u16 % GENERATIONS,
            index: (number >> 1) as u32,
        }
    }
}

/// Number of generations of a place before they repeat.
pub(crate) const GENERATIONS: u16 = 1 << 15;

/// The place of `run`'s own future, which is no coroutine and has no entry in the table.
pub(super) const MAIN: u32 = u32::MAX;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{GENERATIONS, Key};

    #[test]
    fn a_key_survives_packing() {
        for key in [
            Key { slot: 1, generation: 0, index: 0 },
            Key { slot: u16::MAX, generation: GENERATIONS - 1, index: u32::MAX },
            Key { slot: 2, generation: 3, index: 4 },
        ] {
            assert_eq!(Key::unpack(key.pack()), key);
            assert_eq!(key.pack() % 2, 1);
        }
    }
}
