//! The operations that receive from a stream or a datagram socket, with one read or several.

use std::{io::IoSliceMut, mem::MaybeUninit};

use bytes::Bytes;

use super::operation::{Lend, Needs, Op};
use crate::{
    error,
    socket::{
        hot::{self, HOT},
        link::Link,
        settings::Settings,
        side::{Lent, Piece, Progress, ReadSide, Share, Want},
    },
};

/// Length from which `recv_bytes` receives directly into its own allocation.
const DIRECT_BYTES: usize = 4 << 10;

/// Most buffers of one vectored receive on a stream; the system takes 1,024.
const PARTS: usize = 64;

/// Most bytes that one `recv_bytes` receives.
const LONGEST_BYTES: usize = 1 << 20;

/// Tells whether `bytes` is at least 1 and at most a step's share, with one comparison.
fn is_usual(bytes: usize) -> bool {
    bytes.wrapping_sub(1) < Share::BYTES
}

/// `recv`: reads once into the caller's buffer.
pub(crate) struct Recv<'a>(pub(crate) &'a mut [u8]);

impl Op for Recv<'_> {
    type Side = ReadSide;
    type Output = usize;
    const VERB: &'static str = "recv";
    const NEEDS: Needs = Needs::Any;

    // Part of the verb also where a poll method has it too.
    #[inline(always)]
    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<usize> {
        let held = side.copy_front(self.0);
        if held > 0 {
            return Progress::Done(Ok(held));
        }
        let mut buffer = &mut *self.0;
        if !is_usual(buffer.len()) && link.kind().is_stream() {
            // On a stream an empty read is done at once; on other sockets it takes a datagram.
            if buffer.is_empty() {
                return Progress::Done(Ok(0));
            }
            // A part of the buffer is enough on a stream, and one call must be bounded.
            buffer = &mut buffer[..Share::BYTES];
        }
        side.read(link, buffer.len(), |link| link.recv(buffer))
    }

    fn weight(&self, got: &usize) -> usize {
        *got
    }

    fn is_nothing(&self, got: &usize) -> bool {
        *got == 0 && !self.0.is_empty()
    }
}

/// `peek`: copies what `recv` would get and leaves it in place.
pub(crate) struct Peek<'a>(pub(crate) &'a mut [u8]);

impl Op for Peek<'_> {
    type Side = ReadSide;
    type Output = usize;
    const VERB: &'static str = "peek";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<usize> {
        let held = side.held();
        if !held.is_empty() {
            let count = held.len().min(self.0.len());
            self.0[..count].copy_from_slice(&held[..count]);
            return Progress::Done(Ok(count));
        }
        if self.0.is_empty() && link.kind().is_stream() {
            return Progress::Done(Ok(0));
        }
        // Nothing is taken, so a short answer tells nothing about what is left.
        side.read(link, 0, |link| link.peek(self.0))
    }

    fn is_nothing(&self, got: &usize) -> bool {
        *got == 0 && !self.0.is_empty()
    }
}

/// `recv_bytes`: reads once into memory of its own.
pub(crate) struct RecvBytes(pub(crate) usize);

impl Op for RecvBytes {
    type Side = ReadSide;
    type Output = Bytes;
    const VERB: &'static str = "recv_bytes";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<Bytes> {
        // "At most" allows less, and bytes that may never arrive do not justify more memory.
        let max = self.0.min(LONGEST_BYTES);
        let held = side.take_front(max);
        if !held.is_empty() {
            return Progress::Done(Ok(held));
        }
        if max < DIRECT_BYTES {
            if max == 0 && link.kind().is_stream() {
                return Progress::Done(Ok(held));
            }
            let mut hot = hot::take();
            let read = side.read(link, max, |link| link.recv(&mut hot[..max]));
            return read.map(|got| Bytes::copy_from_slice(&hot[..got]));
        }
        let mut own = Vec::new();
        let read = side.read(link, max, |link| {
            own.reserve_exact(max);
            link.recv_spare(&mut own, max)
        });
        read.map(|got| {
            // Copying costs less than keeping a long buffer for a short answer.
            if got < max / 2 { Bytes::copy_from_slice(&own) } else { Bytes::from(own) }
        })
    }

    fn weight(&self, got: &Bytes) -> usize {
        got.len()
    }

    fn is_nothing(&self, got: &Bytes) -> bool {
        got.is_empty() && self.0 > 0
    }
}

/// `recv_with`: reads once into the hot buffer and lends it; `recv_with_limit` has a limit.
pub(crate) struct RecvLent<const LIMITED: bool>(usize);

impl RecvLent<false> {
    /// Reads as much as the hot buffer has room for.
    pub(crate) fn all() -> RecvLent<false> {
        RecvLent(usize::MAX)
    }
}

impl RecvLent<true> {
    pub(crate) fn limited(max: usize) -> RecvLent<true> {
        RecvLent(max)
    }
}

impl<const LIMITED: bool> Op for RecvLent<LIMITED> {
    type Side = ReadSide;
    type Output = Lent;
    const VERB: &'static str = if LIMITED { "recv_with_limit" } else { "recv_with" };
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<Lent> {
        let held = side.take_front(self.0);
        if !held.is_empty() {
            return Progress::Done(Ok(Lent::Own(held)));
        }
        let max = self.0.min(HOT);
        if max == 0 && link.kind().is_stream() {
            return Progress::Done(Ok(Lent::Own(held)));
        }
        let mut hot = hot::take();
        side.read(link, max, |link| link.recv(&mut hot[..max])).map(|got| Lent::Hot(hot, got))
    }

    fn weight(&self, got: &Lent) -> usize {
        got.bytes().len()
    }

    fn is_nothing(&self, got: &Lent) -> bool {
        got.bytes().is_empty() && self.0 > 0
    }
}

/// `recv_uninit`: reads once into memory that the caller makes when it is needed.
pub(crate) struct RecvUninit<F>(pub(crate) F);

impl<F, B> Op for RecvUninit<F>
where
    F: FnMut() -> B,
    B: AsMut<[MaybeUninit<u8>]>,
{
    type Side = ReadSide;
    type Output = (B, usize);
    const VERB: &'static str = "recv_uninit";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, _: &Link, _: Settings, _: &mut ReadSide) -> Progress<(B, usize)> {
        unreachable!("its attempts are made of other steps")
    }

    fn attempt(&mut self, lend: &mut impl Lend<ReadSide>) -> Option<Progress<(B, usize)>> {
        match lend.step(&mut Look)? {
            Progress::Done(Ok(())) => {}
            Progress::Done(Err(error)) => return Some(Progress::Done(Err(error))),
            Progress::Wait => return Some(Progress::Wait),
            Progress::Again => return Some(Progress::Again),
        }
        let mut made = (self.0)();
        let buffer = made.as_mut();
        if lend.is_closed() {
            return Some(Progress::Done(Err(error::closed())));
        }
        let filled = lend.step(&mut Fill(buffer))?;
        Some(filled.map(|count| (made, count)))
    }

    fn is_nothing(&self, (_, got): &(B, usize)) -> bool {
        *got == 0
    }
}

/// Tests whether a read may be made, before memory is made for it.
struct Look;

impl Op for Look {
    type Side = ReadSide;
    type Output = ();
    const VERB: &'static str = "recv_uninit";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, _: &Link, _: Settings, side: &mut ReadSide) -> Progress<()> {
        if side.held().is_empty() && side.is_drained() {
            return Progress::Wait;
        }
        Progress::Done(Ok(()))
    }
}

/// Reads once into uninitialised memory.
pub(crate) struct Fill<'a>(pub(crate) &'a mut [MaybeUninit<u8>]);

impl Op for Fill<'_> {
    type Side = ReadSide;
    type Output = usize;
    const VERB: &'static str = "recv_uninit";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<usize> {
        if self.0.is_empty() && link.kind().is_stream() {
            return Progress::Done(Ok(0));
        }
        if !side.held().is_empty() {
            let held = side.take_front(self.0.len());
            for (place, byte) in self.0.iter_mut().zip(&held[..]) {
                place.write(*byte);
            }
            return Progress::Done(Ok(held.len()));
        }
        let mut buffer = &mut *self.0;
        if !is_usual(buffer.len()) && link.kind().is_stream() {
            // A part of the memory is enough on a stream, and one call must be bounded.
            buffer = &mut buffer[..Share::BYTES];
        }
        side.read(link, buffer.len(), |link| link.recv_uninit(buffer))
    }

    fn weight(&self, got: &usize) -> usize {
        *got
    }
}

/// `recv_vectored`: reads once into several buffers.
pub(crate) struct RecvVectored<'a, 'b>(pub(crate) &'a mut [IoSliceMut<'b>]);

impl Op for RecvVectored<'_, '_> {
    type Side = ReadSide;
    type Output = usize;
    const VERB: &'static str = "recv_vectored";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<usize> {
        if !side.held().is_empty() {
            let copied = self.0.iter_mut().map(|buffer| side.copy_front(buffer)).sum();
            return Progress::Done(Ok(copied));
        }
        let asked = self.0.iter().map(|buffer| buffer.len()).sum();
        if asked == 0 && link.kind().is_stream() {
            return Progress::Done(Ok(0));
        }
        if self.0.len() > PARTS && link.kind().is_stream() {
            // Those that are empty are left out, or a call with room for nothing might be made.
            let filled = self.0.iter_mut().filter(|buffer| !buffer.is_empty()).take(PARTS);
            let mut parts: Vec<IoSliceMut> = filled.map(|part| IoSliceMut::new(part)).collect();
            let asked = parts.iter().map(|buffer| buffer.len()).sum();
            return side.read(link, asked, |link| link.recv_vectored(&mut parts));
        }
        side.read(link, asked, |link| link.recv_vectored(self.0))
    }

    fn weight(&self, got: &usize) -> usize {
        *got
    }

    fn is_nothing(&self, got: &usize) -> bool {
        *got == 0
    }
}

/// `recv_all`: fills the caller's buffer.
pub(crate) struct RecvAll<'a> {
    pub(crate) buffer: &'a mut [u8],
    pub(crate) got: usize,
}

impl Op for RecvAll<'_> {
    type Side = ReadSide;
    type Output = ();
    const VERB: &'static str = "recv_all";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<()> {
        self.got += side.copy_front(&mut self.buffer[self.got..]);
        let mut share = Share::new();
        while self.got < self.buffer.len() {
            let rest = &mut self.buffer[self.got..];
            let asked = rest.len().min(Share::BYTES);
            let rest = &mut rest[..asked];
            match side.read(link, rest.len(), |link| link.recv(rest)) {
                Progress::Done(Ok(0)) => {
                    return Progress::Done(Err(error::incomplete(self.got, self.buffer.len())));
                }
                Progress::Done(Ok(got)) => {
                    self.got += got;
                    if !share.goes_on(got) && self.got < self.buffer.len() {
                        return Progress::Again;
                    }
                }
                Progress::Done(Err(error)) => return Progress::Done(Err(error)),
                Progress::Wait => return Progress::Wait,
                Progress::Again => return Progress::Again,
            }
        }
        Progress::Done(Ok(()))
    }

    fn moved(&self) -> usize {
        self.got
    }

    fn weight(&self, (): &()) -> usize {
        self.got
    }
}

/// `recv_all_bytes` and `recv_until`: gather in the reading side; unfinished bytes stay readable.
pub(crate) struct Gather<const UNTIL: bool> {
    want: Want,
    have: usize,
}

impl Gather<false> {
    pub(crate) fn exactly(count: usize) -> Gather<false> {
        Gather { want: Want::Exactly(count), have: 0 }
    }
}

impl Gather<true> {
    pub(crate) fn until(delimiter: &[u8], max: usize) -> Gather<true> {
        Gather { want: Want::Until { delimiter: delimiter.into(), max, searched: 0 }, have: 0 }
    }
}

impl<const UNTIL: bool> Op for Gather<UNTIL> {
    type Side = ReadSide;
    type Output = Bytes;
    const VERB: &'static str = if UNTIL { "recv_until" } else { "recv_all_bytes" };
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<Bytes> {
        let progress = side.gather(link, &mut self.want, &mut |piece| match piece {
            Piece::Lent(bytes) => Bytes::copy_from_slice(bytes),
            Piece::Own(bytes) => bytes,
        });
        self.have = side.held().len();
        match progress {
            Progress::Done(Ok(Some(bytes))) => Progress::Done(Ok(bytes)),
            Progress::Done(Ok(None)) => Progress::Done(Err(self.want.ended(&[]))),
            Progress::Done(Err(error)) => Progress::Done(Err(error)),
            Progress::Wait => Progress::Wait,
            Progress::Again => Progress::Again,
        }
    }

    fn moved(&self) -> usize {
        self.have
    }

    fn weight(&self, got: &Bytes) -> usize {
        got.len()
    }
}

/// `recv_line`: gathers like `recv_until`, and takes the end of the line off.
pub(crate) struct RecvLine {
    want: Want,
    have: usize,
}

impl RecvLine {
    pub(crate) fn within(max: usize) -> RecvLine {
        RecvLine { want: Want::Line { max, searched: 0 }, have: 0 }
    }
}

impl Op for RecvLine {
    type Side = ReadSide;
    type Output = Option<Bytes>;
    const VERB: &'static str = "recv_line";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<Option<Bytes>> {
        let progress = side.gather(link, &mut self.want, &mut |piece| match piece {
            Piece::Lent(line) => Bytes::copy_from_slice(&line[..len_without_end(line)]),
            Piece::Own(mut line) => {
                line.truncate(len_without_end(&line));
                line
            }
        });
        self.have = side.held().len();
        progress
    }

    fn moved(&self) -> usize {
        self.have
    }

    fn weight(&self, got: &Option<Bytes>) -> usize {
        got.as_ref().map_or(0, Bytes::len)
    }

    fn is_nothing(&self, got: &Option<Bytes>) -> bool {
        got.is_none()
    }
}

/// Returns the length of a line without `\n` or `\r\n` at its end.
fn len_without_end(line: &[u8]) -> usize {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line).len()
}
