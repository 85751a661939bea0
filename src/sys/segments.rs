//! Which datagrams are sent as one long one that the kernel splits (UDP_SEGMENT, "GSO"), and how
//! long its segments may be.
//!
//! Functions of lengths and addresses, and the memory of what was refused on a socket; the calls
//! are in `batch.rs`. Invariant: the segments are exactly the datagrams.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::addr::Address;

/// Most bytes of a segmented send: they fit into an IP packet with every option.
const MOST_BYTES: usize = 65_000;

/// Returns how many of the first datagrams, given as length and address, can be sent as one that is
/// split: all to one address, all as long as the first, except that the last may be shorter. 1 if
/// the first must be sent alone.
///
/// An empty datagram is sent alone, since no split yields one. `longest` limits the segments.
pub(super) fn run<'a>(
    mut datagrams: impl Iterator<Item = (usize, &'a Address)>,
    longest: usize,
) -> usize {
    let Some((segment, to)) = datagrams.next() else { return 0 };
    if segment == 0 || segment > longest {
        return 1;
    }
    let (mut count, mut bytes) = (1, segment);
    for (len, address) in datagrams {
        bytes += len;
        if len == 0 || len > segment || bytes > MOST_BYTES || address != to {
            break;
        }
        count += 1;
        if len < segment {
            break;
        }
    }
    count
}

/// The longest segment that the kernel splits off for a socket, in one byte, since each socket has
/// one.
///
/// 0: not known yet. n: (n - 1) x [`UNIT`] bytes.
#[derive(Default)]
pub(super) struct Longest(AtomicU8);

/// Unit in bytes; an Ethernet frame's 1,472 are a multiple.
const UNIT: usize = 64;

impl Longest {
    /// Returns the length in bytes, 0 for no splitting; calls `ask` the first time.
    pub(super) fn get(&self, ask: impl FnOnce() -> bool) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => self.set(if ask() { u8::MAX } else { 1 }),
            known => bytes(known),
        }
    }

    /// Notes that the kernel has refused segments of this length; returns the new longest.
    pub(super) fn refuse(&self, segment: usize) -> usize {
        let units = segment.saturating_sub(1) / UNIT;
        self.set(u8::try_from(units + 1).unwrap_or(u8::MAX))
    }

    fn set(&self, known: u8) -> usize {
        // Two threads may store different values at once; either will do.
        self.0.store(known, Ordering::Relaxed);
        bytes(known)
    }
}

fn bytes(known: u8) -> usize {
    (usize::from(known) - 1) * UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(lengths: &[usize], longest: usize) -> Vec<usize> {
        let to: Address = "127.0.0.1:9".parse().unwrap();
        let (mut rest, mut runs) = (lengths, Vec::new());
        while !rest.is_empty() {
            runs.push(run(rest.iter().map(|len| (*len, &to)), longest));
            rest = &rest[runs[runs.len() - 1]..];
        }
        runs
    }

    #[test]
    fn a_run_is_of_one_length_and_ends_with_a_shorter_one() {
        assert_eq!(runs(&[100; 64], 1500), [64]);
        assert_eq!(runs(&[7, 7, 3, 7, 7], 1500), [3, 2]);
        assert_eq!(runs(&[3, 7, 7], 1500), [1, 2]);
        assert_eq!(runs(&[], 1500), []);
    }

    #[test]
    fn empty_and_long_datagrams_go_alone() {
        assert_eq!(runs(&[0, 0, 5, 0, 5, 5, 0], 1500), [1, 1, 1, 1, 2, 1]);
        assert_eq!(runs(&[1501, 1501, 1500, 1500], 1500), [1, 1, 2]);
        assert_eq!(runs(&[5, 5], 0), [1, 1]);
    }

    #[test]
    fn a_run_fits_into_a_packet() {
        assert_eq!(runs(&[13_000; 6], 16_000), [5, 1]);
        assert_eq!(runs(&[65_000, 1], 65_535), [1, 1]);
    }

    #[test]
    fn a_run_ends_where_the_address_changes() {
        let addresses: [Address; 3] =
            ["127.0.0.1:9", "127.0.0.1:9", "127.0.0.1:8"].map(|text| text.parse().unwrap());
        assert_eq!(run(addresses.iter().map(|address| (5, address)), 1500), 2);
    }

    #[test]
    fn what_was_refused_is_remembered_and_shorter_segments_go_on() {
        let longest = Longest::default();
        assert_eq!(longest.get(|| true), 254 * 64);
        assert_eq!(longest.refuse(1473), 1472);
        assert_eq!(longest.get(|| panic!("asked twice")), 1472);
        // Always less than the refused length, so that repeated tries end.
        for segment in 1..70_000 {
            assert!(longest.refuse(segment) < segment);
        }
        assert_eq!(longest.refuse(0), 0);
        assert_eq!(Longest::default().get(|| false), 0);
    }
}
