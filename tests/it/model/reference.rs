//! The reference: determines what must have arrived at both ends.
//!
//! A direction records each piece that its sender passed to a verb, with its fate by the verb's
//! documentation (`docs/cancel.md`), and all bytes that its receivers got. Where a dropped future
//! leaves two outcomes both are allowed, and the rest of the stream shows which it was: so the
//! reference follows all possible positions.

use std::{collections::BTreeSet, fmt};

/// The content of memory that no verb has written to; no byte of a stream has this value.
pub(super) const UNTOUCHED: u8 = 0xFF;

/// Marks the end of a part of a stream, where both sides must know that nothing follows yet.
pub(super) const MARKER: [u8; 12] = [0xF5; 12];

/// The fate of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of it arrives.
    All,
    /// All of it or nothing.
    AllOrNothing,
    /// This many bytes from its front arrive.
    Exactly(usize),
    /// Any number of bytes from its front.
    Some,
}

/// One direction.
#[derive(Default)]
pub(super) struct Stream {
    pieces: Vec<(Vec<u8>, Fate)>,
    received: Vec<u8>,
    frames: Frames,
    /// The bytes that `peek` has returned, and their position.
    peeked: Vec<(usize, Vec<u8>)>,
    /// Why not all of it needs to arrive, for example an error that the sender got.
    pub(super) excuse: Option<String>,
    /// Whether the receiver got a clean end of the stream.
    pub(super) ended: bool,
    /// Whether the receiver got an error.
    pub(super) failed: bool,
    /// Whether it does not, or no longer, consist of messages that a verb could receive.
    pub(super) nonsense: bool,
    /// Where the marker ends in what was received.
    pub(super) marked: Option<usize>,
    /// Urgent bytes that were sent.
    urgent: usize,
}

impl Stream {
    /// Records what was passed to a verb, and its fate.
    pub(super) fn sent(&mut self, bytes: &[u8], fate: Fate) {
        if !bytes.is_empty() && fate != Fate::Exactly(0) {
            self.pieces.push((bytes.to_vec(), fate));
        }
    }

    /// Records an urgent byte. `peek` skips it and returns what follows; if another urgent byte
    /// overtakes it before it is passed, it arrives like any other byte.
    pub(super) fn sent_urgent(&mut self, byte: u8) {
        self.urgent += 1;
        self.sent(&[byte], Fate::AllOrNothing);
    }

    /// Returns the most bytes that may arrive in total.
    pub(super) fn most_sent(&self) -> usize {
        let most = |(bytes, fate): &(Vec<u8>, Fate)| match fate {
            Fate::Exactly(count) => *count,
            _ => bytes.len(),
        };
        self.pieces.iter().map(most).sum()
    }

    /// Returns how many bytes were received.
    pub(super) fn count(&self) -> usize {
        self.received.len()
    }

    /// Records what a verb has received.
    pub(super) fn got(&mut self, bytes: &[u8]) {
        let before = self.received.len();
        self.received.extend_from_slice(bytes);
        self.frames.follow(bytes);
        let from = before.saturating_sub(MARKER.len() - 1);
        let found = self.received[from..].windows(MARKER.len()).position(|part| part == MARKER);
        if let Some(at) = found {
            self.marked = Some(from + at + MARKER.len());
        }
    }

    /// Records what `peek` has returned of what the next verb will receive.
    pub(super) fn saw(&mut self, bytes: &[u8]) {
        self.peeked.push((self.received.len(), bytes.to_vec()));
    }

    /// Returns how many bytes are missing of the message whose front raw verbs have received; 0
    /// between two messages.
    pub(super) fn missing(&self) -> usize {
        self.frames.missing
    }

    /// Judges the stream; if `whole`, everything must have come.
    pub(super) fn judge(&self, whole: bool) -> Result<(), Fault> {
        let shows_what_comes = self.urgent < 2;
        for (at, shown) in self.peeked.iter().filter(|_| shows_what_comes) {
            let came = &self.received[*at..self.received.len().min(at + shown.len())];
            if !shown.starts_with(came) {
                return Err(Fault::Peek { at: *at });
            }
        }
        let mut at = BTreeSet::from([0]);
        let mut furthest = 0;
        // The stream may be over within a piece, or where another one would have begun.
        let mut may_be_cut = self.received.is_empty();
        for (index, (bytes, fate)) in self.pieces.iter().enumerate() {
            let mut next = BTreeSet::new();
            for from in at {
                let rest = &self.received[from..];
                let same = same(rest, bytes);
                furthest = furthest.max(from + same);
                may_be_cut |= from + same == self.received.len();
                match *fate {
                    Fate::All if same == bytes.len() => drop(next.insert(from + same)),
                    Fate::All => {}
                    Fate::AllOrNothing => {
                        next.insert(from);
                        if same == bytes.len() {
                            next.insert(from + same);
                        }
                    }
                    Fate::Exactly(count) if same >= count => drop(next.insert(from + count)),
                    Fate::Exactly(_) => {}
                    Fate::Some => next.extend((0..=same).map(|count| from + count)),
                }
            }
            if next.is_empty() && may_be_cut && !whole {
                return Ok(());
            }
            if next.is_empty() {
                let (received, len) = (self.received.len(), bytes.len());
                let fate = *fate;
                return Err(Fault::Differs { furthest, received, index, len, fate });
            }
            at = next;
        }
        if at.contains(&self.received.len()) {
            return Ok(());
        }
        if may_be_cut && !whole {
            return Ok(());
        }
        Err(Fault::Extra { furthest, received: self.received.len() })
    }
}

/// Returns the length of the common prefix.
fn same(one: &[u8], other: &[u8]) -> usize {
    if one.starts_with(other) {
        return other.len();
    }
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Follows the messages in a stream.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    /// Missing bytes of the current message, or of its header.
    missing: usize,
    in_payload: bool,
}

impl Frames {
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.in_payload {
                let count = self.missing.min(bytes.len());
                bytes = &bytes[count..];
                self.missing -= count;
                self.in_payload = self.missing > 0;
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            self.missing = 4 - self.header.len();
            if let Ok(header) = <[u8; 4]>::try_from(&self.header[..]) {
                self.missing = u32::from_be_bytes(header) as usize;
                self.in_payload = self.missing > 0;
                self.header.clear();
            }
        }
    }
}

/// What is wrong with a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It differs from what was sent, or lacks something, from this position on.
    Differs { furthest: usize, received: usize, index: usize, len: usize, fate: Fate },
    /// More came than was sent.
    Extra { furthest: usize, received: usize },
    /// What `peek` returned is not what came.
    Peek { at: usize },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Differs { furthest, received, index, len, fate } => write!(
                f,
                "of {received} bytes that came only the first {furthest} are what was sent; piece \
                 {index} ({len} bytes, {fate:?}) is lost, cut or out of order"
            ),
            Fault::Extra { furthest, received } => {
                write!(f, "{received} bytes came, of which only {furthest} were sent")
            }
            Fault::Peek { at } => write!(f, "peek showed something else than came at byte {at}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pieces: &[(&str, Fate)], received: &str) -> Stream {
        let mut stream = Stream::default();
        for (bytes, fate) in pieces {
            stream.sent(bytes.as_bytes(), *fate);
        }
        stream.got(received.as_bytes());
        stream
    }

    #[test]
    fn what_was_accepted_comes_in_order_and_once() {
        let pieces = [("one", Fate::All), ("two", Fate::All)];
        assert_eq!(stream(&pieces, "onetwo").judge(true), Ok(()));
        for wrong in ["one", "onetw", "twoone", "onetwoo", "oneone", "onttwo"] {
            assert!(stream(&pieces, wrong).judge(true).is_err(), "{wrong}");
        }
        for cut in ["", "on", "one", "onet"] {
            assert_eq!(stream(&pieces, cut).judge(false), Ok(()), "{cut}");
        }
        for wrong in ["two", "onetwoo", "ox"] {
            assert!(stream(&pieces, wrong).judge(false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_given_up_may_have_gone_as_far_as_its_verb_allows() {
        let of = |fate| [("ab", Fate::All), ("abc", fate), ("xy", Fate::All)];
        for (fate, right) in [
            (Fate::AllOrNothing, &["abxy", "ababcxy"][..]),
            (Fate::Some, &["abxy", "abaxy", "ababxy", "ababcxy"]),
            (Fate::Exactly(1), &["abaxy"]),
        ] {
            for all in ["abxy", "abaxy", "ababxy", "ababcxy", "ababcx"] {
                let expected = right.contains(&all);
                assert_eq!(stream(&of(fate), all).judge(true).is_ok(), expected, "{fate:?} {all}");
            }
        }
    }

    #[test]
    fn messages_are_followed_through_any_pieces() {
        let mut stream = Stream::default();
        for (byte, missing) in [(0, 3), (0, 2), (0, 1), (2, 2), (9, 1), (9, 0), (0, 3)] {
            stream.got(&[byte]);
            assert_eq!(stream.missing(), missing);
        }
    }

    #[test]
    fn a_look_must_show_what_comes() {
        let mut stream = stream(&[("abc", Fate::All)], "a");
        stream.saw(b"bx");
        stream.got(b"bc");
        assert_eq!(stream.judge(true), Err(Fault::Peek { at: 1 }));
    }

    #[test]
    fn a_look_may_leave_out_an_urgent_byte_that_comes_later() {
        let mut stream = Stream::default();
        stream.sent_urgent(b'!');
        stream.sent(b"abc", Fate::All);
        stream.saw(b"abc");
        stream.sent_urgent(b'!');
        stream.got(b"!abc");
        assert_eq!(stream.judge(true), Ok(()));
    }
}
