//! Choosing steps from a seed: what connects the two ends, what each of them does, how each ends.
//!
//! A plan fixes what would change the rest (kinds, faces, segments, ends); each single step is
//! chosen while the scenario runs, by the generator of whoever makes it. What a seed does not fix
//! is time: a finding that hangs on a race may need the same seed several times.

use std::time::Duration;

/// A small generator (SplitMix64); each actor has one of its own, so that none disturbs another.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// A generator for somebody else, that depends on this one's seed and on `who`.
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

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// `true` once in `times`.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Bytes of a payload; none is [`super::reference::UNTOUCHED`] or belongs to a marker.
    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes().map(|byte| byte % 0xF0));
        }
        bytes.truncate(len);
        bytes
    }

    /// The length of something: mostly short, at times around the bounds that the library knows.
    pub(super) fn len(&mut self) -> usize {
        self.len_above(0)
    }

    /// The same and `more`.
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
        // No byte of a header may look like memory that nobody has written to.
        (0..=len).rev().find(|len| !(*len as u32).to_be_bytes().contains(&0xFF)).unwrap_or(0)
    }

    /// A short time, in milliseconds.
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
    /// In the middle, as STARTTLS.
    Upgrade,
}

/// What it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

pub(super) const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// What a direction carries.
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

/// A part of an end's life, between two conversions.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) face: Face,
    /// Steps of each writer.
    pub(super) steps: usize,
    /// Coroutines that send and that receive, each with a clone.
    pub(super) writers: usize,
    pub(super) readers: usize,
    /// The socket's own timeout.
    pub(super) timeout: Option<Duration>,
    /// Taken apart and put together again afterwards.
    pub(super) through_parts: bool,
}

/// How a socket goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Close,
    Drop,
    /// `into_parts`, then the regular socket is dropped.
    Parts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Ends its direction, receives until the peer's end, goes.
    HalfClose(Last),
    /// Receives until the peer's end, goes with what is still queued.
    AfterPeer(Last),
    /// Goes once its steps are made, whatever is still to come.
    Early(Last),
    /// Is closed by a clone, or ended, while its verbs wait.
    Midway(Last),
}

#[derive(Clone, Debug)]
pub(super) struct EndPlan {
    /// What it sends.
    pub(super) sends: Carries,
    pub(super) segments: Vec<Segment>,
    /// Segments before TLS begins in the middle.
    pub(super) plain: usize,
    pub(super) ending: Ending,
    /// Receives nothing at all.
    pub(super) deaf: bool,
}

/// What a regular socket does that stands for the second end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    /// Honest bytes, in pieces of one byte.
    Crumbs,
    /// Bytes without sense.
    Garbage,
    /// Messages, the last one cut off.
    HalfMessage,
    /// A byte out of band among others.
    Urgent,
    /// As much as goes, for a while.
    Flood,
    /// Nothing, and reads nothing.
    Silence,
}

#[derive(Clone, Debug)]
pub(super) struct Adversary {
    pub(super) attacks: Vec<Attack>,
    /// How it goes: with a reset, or as any socket.
    pub(super) resets: bool,
    /// Reads what comes, now and then.
    pub(super) reads: bool,
    /// What it sends over TLS is said below TLS, so that records break.
    pub(super) breaks_records: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) wire: Wire,
    pub(super) security: Security,
    pub(super) version: Version,
    /// Bytes that the system keeps for sending, if not its own choice.
    pub(super) send_buffer: Option<usize>,
    /// Both ends on one scheduler.
    pub(super) together: bool,
    pub(super) ends: [EndPlan; 2],
    /// Stands for the second end.
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

    /// Whether nobody leaves before everything has come.
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
