//! Chooses steps from a seed: what connects the two ends, what each does, how each closes.
//!
//! A plan fixes what affects everything else (kinds, faces, segments, ends); each actor chooses its
//! steps while the scenario runs, by its own generator. A seed does not fix the timing, so a race
//! may need the same seed several times.

use std::time::Duration;

/// A small generator (SplitMix64); each actor has its own, so that none affects another.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// Makes a generator that depends on this one's state and on `who`.
    pub(super) fn fork(&self, who: u64) -> Rng {
        let mut other = Rng(self.0 ^ who.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        Rng(other.next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Returns `true` once in `times`.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Makes bytes of a payload; none is [`super::reference::UNTOUCHED`] or belongs to a marker,
    /// and none is a carriage return, which `recv_line` may or may not take off.
    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes().map(|byte| match byte % 0xF0 {
                b'\r' => b'\n',
                byte => byte,
            }));
        }
        bytes.truncate(len);
        bytes
    }

    /// Returns a length: mostly short, sometimes near the library's bounds.
    pub(super) fn len(&mut self) -> usize {
        self.len_above(0)
    }

    /// Returns such a length plus `more`.
    pub(super) fn len_above(&mut self, more: usize) -> usize {
        let len = more
            + match self.below(20) {
                0..7 => self.below(24),
                7..12 => self.below(700),
                12..15 => (4 << 10) - 8 + self.below(16),
                15..17 => (16 << 10) - 40 + self.below(80),
                17..19 => (64 << 10) - 8 + self.below(16),
                _ => self.below(300_000),
            };
        // No byte of a header may look like memory that nobody has written to, or like the end of a
        // line.
        let fits = |len: &usize| !(*len as u32).to_be_bytes().iter().any(|b| b"\xFF\r".contains(b));
        (0..=len).rev().find(fits).unwrap_or(0)
    }

    /// Returns a short time, in milliseconds.
    pub(super) fn moment(&mut self, most: usize) -> Duration {
        Duration::from_micros(200 + self.below(most * 1000) as u64)
    }
}

/// What connects the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Tcp4,
    Tcp6,
    Unix,
}

/// Whether and when TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    Plain,
    /// From the start.
    Tls,
    /// On the open connection, as STARTTLS.
    Upgrade,
}

/// The version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

pub(super) const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// What a direction transmits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// Bytes, sent and received by any verb.
    Bytes,
    /// Messages, sent whole or in pieces, received by both kinds of verbs.
    Messages,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    Async,
    Blocking,
}

/// A part of an end's life between two conversions.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) face: Face,
    /// Steps of each writer.
    pub(super) steps: usize,
    /// How many coroutines send and receive, each with a clone.
    pub(super) writers: usize,
    pub(super) readers: usize,
    /// The socket's own timeout.
    pub(super) timeout: Option<Duration>,
    /// Whether the socket is taken apart and made anew afterwards.
    pub(super) through_parts: bool,
}

/// How a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Close,
    Drop,
    /// `into_parts`, then the regular socket is dropped.
    Parts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Ends its direction, receives until the peer's end, closes.
    HalfClose(Last),
    /// Receives until the peer's end, closes with what is still queued.
    AfterPeer(Last),
    /// Closes once its steps are made, whatever is still to come.
    Early(Last),
    /// Is closed by a clone, or terminated, while its verbs wait.
    Midway(Last),
}

#[derive(Clone, Debug)]
pub(super) struct EndPlan {
    /// What it sends.
    pub(super) sends: Carries,
    pub(super) segments: Vec<Segment>,
    /// How many segments come before start_tls.
    pub(super) plain: usize,
    pub(super) ending: Ending,
    /// Whether it receives nothing at all.
    pub(super) deaf: bool,
}

/// What the adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    /// Sends valid bytes, in pieces of one byte.
    Crumbs,
    /// Sends random bytes.
    Garbage,
    /// Sends messages, the last one cut off.
    HalfMessage,
    /// Sends a byte out of band among others.
    Urgent,
    /// Sends as much as possible, for a while.
    Flood,
    /// Sends nothing and reads nothing.
    Silence,
}

#[derive(Clone, Debug)]
pub(super) struct Adversary {
    pub(super) attacks: Vec<Attack>,
    /// Whether it closes with a reset.
    pub(super) resets: bool,
    /// Whether it reads now and then.
    pub(super) reads: bool,
    /// Whether it writes below TLS, so that records break.
    pub(super) breaks_records: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) wire: Wire,
    pub(super) security: Security,
    pub(super) version: Version,
    /// The size of the send buffer, unless it is the system's default.
    pub(super) send_buffer: Option<usize>,
    /// Whether both ends are on one scheduler.
    pub(super) together: bool,
    pub(super) ends: [EndPlan; 2],
    /// Replaces the second end.
    pub(super) adversary: Option<Adversary>,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let wire = rng.pick(&[Wire::Tcp4, Wire::Tcp4, Wire::Tcp6, Wire::Unix]);
        let mut security = rng.pick(&[Security::Plain, Security::Plain, Security::Tls]);
        if rng.one_in(6) {
            security = Security::Upgrade;
        }
        if !cfg!(feature = "tls") {
            security = Security::Plain;
        }
        let send_buffer = rng.pick(&[None, Some(4 << 10), Some(32 << 10)]);
        let adversary = rng.one_in(5).then(|| adversary(&mut rng));
        if adversary.is_some() && security == Security::Upgrade {
            security = Security::Plain;
        }
        let endings = endings(&mut rng, adversary.is_some());
        let ends = endings.map(|ending| end(&mut rng, security, ending));
        let together = rng.one_in(2);
        let version = rng.pick(&VERSIONS);
        Plan { wire, security, version, send_buffer, together, ends, adversary }
    }

    /// Tells whether no end closes before everything has come.
    pub(super) fn is_orderly(&self) -> bool {
        let orderly =
            |end: &EndPlan| matches!(end.ending, Ending::HalfClose(_) | Ending::AfterPeer(_));
        self.adversary.is_none() && self.ends.iter().all(orderly)
    }
}

fn endings(rng: &mut Rng, alone: bool) -> [Ending; 2] {
    let last = |rng: &mut Rng| rng.pick(&[Last::Close, Last::Drop, Last::Parts]);
    let half = Ending::HalfClose(last(rng));
    let other = match rng.below(6) {
        0 => Ending::Early(last(rng)),
        1 => Ending::Midway(rng.pick(&[Last::Close, Last::Drop])),
        2 if !alone => Ending::HalfClose(last(rng)),
        _ => Ending::AfterPeer(last(rng)),
    };
    if alone || rng.one_in(2) { [other, half] } else { [half, other] }
}

fn end(rng: &mut Rng, security: Security, ending: Ending) -> EndPlan {
    let mut segments: Vec<_> = (0..1 + rng.below(3)).map(|_| segment(rng)).collect();
    let plain = if security == Security::Upgrade { rng.below(segments.len()) } else { 0 };
    let sends = rng.pick(&[Carries::Bytes, Carries::Messages]);
    let leaves = matches!(ending, Ending::Early(_) | Ending::Midway(_));
    let deaf = leaves && security != Security::Upgrade && rng.one_in(3);
    if deaf {
        // In haste, so that it may be gone before the peer has come to anything.
        segments.truncate(1);
        segments[0].steps = 1 + rng.below(3);
    }
    EndPlan { sends, segments, plain, ending, deaf }
}

fn segment(rng: &mut Rng) -> Segment {
    let face = rng.pick(&[Face::Async, Face::Async, Face::Blocking]);
    // Threads that share a direction would tell nobody in which order they were served.
    let several = |rng: &mut Rng| if face == Face::Async && rng.one_in(4) { 2 } else { 1 };
    Segment {
        face,
        steps: 1 + rng.below(12),
        writers: several(rng),
        readers: several(rng),
        timeout: rng.one_in(3).then(|| rng.moment(20)),
        through_parts: rng.one_in(4),
    }
}

fn adversary(rng: &mut Rng) -> Adversary {
    let kinds = [
        Attack::Crumbs,
        Attack::Garbage,
        Attack::HalfMessage,
        Attack::Urgent,
        Attack::Flood,
        Attack::Silence,
    ];
    Adversary {
        attacks: (0..1 + rng.below(3)).map(|_| rng.pick(&kinds)).collect(),
        resets: rng.one_in(2),
        reads: !rng.one_in(4),
        breaks_records: rng.one_in(3),
    }
}
