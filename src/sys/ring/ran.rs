//! The outcome of a run of calls.

/// The outcome of a run of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "nothing runs where there is no ring")]
pub(crate) enum Ran {
    /// Every call was made.
    Whole,
    /// Not all of them were, and the ring cannot be used any more.
    Broken,
    /// The same, and the kernel may still use the memory of some.
    Stuck,
}
