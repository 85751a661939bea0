//! Regular files, block devices and folders: they are always ready, and a call waits for the disk.
//!
//! A read takes what is in the system's cache on this thread, if the system can say so (Linux,
//! `RWF_NOWAIT`); all else runs on the pool. The position is the file's own, so that it moves when
//! a verb is done and not when a thread has got round to it. A call that has begun belongs to the
//! file: if its verb is dropped, the next verb first waits for its end, so that no two calls of a
//! file run at the same time.
//!
//! Standard streams are the exception: other processes go on where they have stopped, so the
//! position is that of the descriptor (`Place::Shared`), and bytes that a dropped read has moved it
//! over are kept for the next.

use std::{
    cell::{Cell, RefCell},
    fs::{File, Metadata},
    future::{Future, poll_fn},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use rustix::fs::OFlags;

use super::ahead::Ahead;
use crate::{
    fork, log,
    pool::{self, Call},
};

/// How much one call on the pool moves, so that a waiting verb holds no more than that.
const PIECE: usize = 1024 * 1024;

/// How much is read from the cache at once, so that the scheduler's thread is not held up.
const CACHED: usize = 256 * 1024;

/// Whose position it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Own,
    Shared,
}

/// A file whose calls run on the pool.
pub(super) struct Pooled {
    /// Shared with the call that runs.
    file: Arc<File>,
    place: Place,
    /// What was read and not taken; shared with the owner of this.
    ahead: Rc<RefCell<Ahead>>,
    appends: bool,
    /// Where the next byte is read or written; of the file's own place only.
    position: Cell<u64>,
    running: RefCell<Option<Call<Outcome>>>,
    /// The process that has made that call.
    process: Cell<u32>,
    /// The error of a call whose verb was dropped.
    failed: RefCell<Option<io::Error>>,
}

/// The result of a call, which another verb than its own may get.
enum Outcome {
    Read(io::Result<Vec<u8>>),
    Wrote(io::Result<Wrote>),
    Sought(io::Result<u64>),
    Facts(io::Result<Metadata>),
    Done(io::Result<()>),
}

struct Wrote {
    count: usize,
    /// Where the system has appended it to.
    end: Option<u64>,
}

impl Pooled {
    pub(super) fn new(file: File, place: Place, ahead: Rc<RefCell<Ahead>>) -> io::Result<Pooled> {
        let appends = rustix::fs::fcntl_getfl(&file)?.contains(OFlags::APPEND);
        // A folder, or a device without one, has no position, and its verbs say what they lack.
        let position = if place == Place::Own { (&file).stream_position().unwrap_or(0) } else { 0 };
        Ok(Pooled {
            file: Arc::new(file),
            place,
            ahead,
            appends,
            position: Cell::new(position),
            running: RefCell::default(),
            process: Cell::new(fork::generation()),
            failed: RefCell::default(),
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Tells whether a read says itself where, so that one in vain has moved nothing.
    pub(super) fn is_positional(&self) -> bool {
        self.place == Place::Own
    }

    /// Waits for the call of a dropped verb.
    pub(super) async fn settle(&self) {
        if self.process.replace(fork::generation()) != fork::generation() {
            // The parent's; it runs there.
            drop(self.running.take());
        }
        if self.running.borrow().is_some() {
            match self.outcome().await {
                Outcome::Read(Ok(bytes)) if self.place == Place::Shared => {
                    self.ahead.borrow_mut().append(bytes);
                }
                Outcome::Wrote(wrote) => match wrote {
                    Ok(wrote) => self.moved(&wrote),
                    Err(error) => *self.failed.borrow_mut() = Some(error),
                },
                Outcome::Done(Err(error)) => *self.failed.borrow_mut() = Some(error),
                Outcome::Read(_) | Outcome::Sought(_) | Outcome::Facts(_) | Outcome::Done(_) => {}
            }
        }
    }

    /// Takes the error of a write that nobody has awaited.
    pub(super) fn failure(&self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Reads behind the bytes that were read ahead, in place if the cache has it; `offset` is from
    /// the position.
    pub(super) async fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let part = buffer.len().min(CACHED);
        if let Some(count) = self.read_cached(offset, &mut buffer[..part]) {
            return Ok(count);
        }
        let bytes = self.read_piece(offset, buffer.len()).await?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Appends what it reads to the bytes that were read ahead.
    pub(super) async fn fill(&self, room: usize) -> io::Result<usize> {
        let offset = self.ahead.borrow().len() as u64;
        let bytes = self.read_piece(offset, room.max(64 * 1024)).await?;
        let count = bytes.len();
        self.ahead.borrow_mut().append(bytes);
        Ok(count)
    }

    async fn read_piece(&self, offset: u64, count: usize) -> io::Result<Vec<u8>> {
        let (place, at) = (self.place, self.position.get() + offset);
        let count = count.min(PIECE);
        let read = move |file: &File| Outcome::Read(read_at(file, place, at, count));
        match self.call(read).await {
            Outcome::Read(read) => read,
            _ => unreachable!("the call reads"),
        }
    }

    #[cfg(target_os = "linux")]
    fn read_cached(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        use rustix::io::{ReadWriteFlags, preadv2};

        use crate::coro::current;

        let at = match self.place {
            Place::Own => self.position.get() + offset,
            // The descriptor's.
            Place::Shared => u64::MAX,
        };
        let into = &mut [io::IoSliceMut::new(buffer)];
        // Nothing may mean "nothing without waiting", by faults of some kernels: the pool knows.
        let count = preadv2(&*self.file, into, at, ReadWriteFlags::NOWAIT).ok().filter(|&n| n > 0);
        if let Some(count) = count {
            current::with(|engine| engine.charge(count));
        }
        count
    }

    #[cfg(not(target_os = "linux"))]
    fn read_cached(&self, _offset: u64, _buffer: &mut [u8]) -> Option<usize> {
        None
    }

    /// Moves the position over bytes that a verb has handed out.
    pub(super) fn advance(&self, count: usize) {
        self.position.set(self.position.get() + count as u64);
    }

    /// Reads all that there is behind the bytes that were read ahead.
    pub(super) async fn read_rest(&self) -> io::Result<()> {
        let offset = self.ahead.borrow().len() as u64;
        let (place, at) = (self.place, self.position.get() + offset);
        let read = move |file: &File| Outcome::Read(read_rest(file, place, at));
        match self.call(read).await {
            Outcome::Read(read) => self.ahead.borrow_mut().append(read?),
            _ => unreachable!("the call reads"),
        }
        Ok(())
    }

    /// Writes at the position, or at the end if the file appends; returns how much.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.failure()?;
        let bytes = bytes[..bytes.len().min(PIECE)].to_vec();
        let unread = self.ahead.borrow().len();
        self.ahead.borrow_mut().clear();
        let (place, at, appends) = (self.place, self.position.get(), self.appends);
        let write = move |file: &File| {
            Outcome::Wrote(match place {
                Place::Own if appends => append(file, &bytes),
                Place::Own => write_at(file, at, &bytes),
                Place::Shared => write_on(file, unread, &bytes),
            })
        };
        let Outcome::Wrote(wrote) = self.call(write).await else { unreachable!("the call writes") };
        let wrote = wrote?;
        self.moved(&wrote);
        Ok(wrote.count)
    }

    fn moved(&self, wrote: &Wrote) {
        self.position.set(wrote.end.unwrap_or(self.position.get() + wrote.count as u64));
    }

    /// Moves the position; what was read ahead is forgotten.
    pub(super) async fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        let unread = self.ahead.borrow().len() as i64;
        let to = match (self.place, to) {
            (Place::Own, SeekFrom::Start(position)) => {
                let position = within_files(position)?;
                self.ahead.borrow_mut().clear();
                self.position.set(position);
                return Ok(position);
            }
            (Place::Own, SeekFrom::Current(by)) => {
                let position = self.position.get().checked_add_signed(by);
                let position = within_files(position.ok_or(io::ErrorKind::InvalidInput)?)?;
                if by != 0 {
                    self.ahead.borrow_mut().clear();
                }
                self.position.set(position);
                return Ok(position);
            }
            (Place::Shared, SeekFrom::Current(by)) => SeekFrom::Current(by - unread),
            (_, to) => to,
        };
        let place = self.place;
        let seek = move |mut file: &File| {
            Outcome::Sought(match (place, to) {
                (Place::Own, SeekFrom::End(by)) => from_end(file, by),
                _ => file.seek(to),
            })
        };
        if self.place == Place::Shared {
            // Where a dropped seek has moved it to, these are not.
            self.ahead.borrow_mut().clear();
        }
        let Outcome::Sought(sought) = self.call(seek).await else { unreachable!("the call seeks") };
        let position = sought?;
        self.ahead.borrow_mut().clear();
        self.position.set(position);
        Ok(position)
    }

    /// Returns the position, where the next byte is taken.
    pub(super) async fn position(&self) -> io::Result<u64> {
        if self.place == Place::Own {
            return Ok(self.position.get());
        }
        match self.call(|mut file: &File| Outcome::Sought(file.stream_position())).await {
            Outcome::Sought(at) => Ok(at?.saturating_sub(self.ahead.borrow().len() as u64)),
            _ => unreachable!("the call asks"),
        }
    }

    /// Forgets what was read ahead, so that it is read again.
    pub(super) async fn forget_ahead(&self) -> io::Result<()> {
        if self.place == Place::Shared && !self.ahead.borrow().is_empty() {
            self.seek(SeekFrom::Current(0)).await?;
        }
        self.ahead.borrow_mut().clear();
        Ok(())
    }

    pub(super) async fn metadata(&self) -> io::Result<Metadata> {
        match self.call(|file: &File| Outcome::Facts(file.metadata())).await {
            Outcome::Facts(facts) => facts,
            _ => unreachable!("the call asks"),
        }
    }

    /// Runs a call that gives no value.
    pub(super) async fn perform(
        &self,
        call: impl FnOnce(&File) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        match self.call(move |file: &File| Outcome::Done(call(file))).await {
            Outcome::Done(done) => done,
            _ => unreachable!("the call gives nothing"),
        }
    }

    /// Gives out the descriptor, which is then at the position; nothing may be running.
    pub(super) fn into_file(self) -> io::Result<File> {
        if self.place == Place::Own {
            // A folder has none.
            let _ = (&*self.file).seek(SeekFrom::Start(self.position.get()));
            self.ahead.borrow_mut().clear();
        }
        let file = Arc::clone(&self.file);
        drop(self);
        Arc::try_unwrap(file).or_else(|file| file.try_clone())
    }

    async fn call(&self, call: impl FnOnce(&File) -> Outcome + Send + 'static) -> Outcome {
        debug_assert!(self.running.borrow().is_none(), "a verb settles what ran before it");
        let file = Arc::clone(&self.file);
        let running = pool::run(move || {
            let outcome = call(&file);
            // Before the result is seen, so that the file then has no other owner.
            drop(file);
            outcome
        });
        *self.running.borrow_mut() = Some(running);
        self.outcome().await
    }

    /// Waits for the call that runs.
    async fn outcome(&self) -> Outcome {
        poll_fn(|cx| self.poll_outcome(cx)).await
    }

    fn poll_outcome(&self, cx: &mut Context<'_>) -> Poll<Outcome> {
        // Taken out, since a waker's clone is foreign code.
        let mut running = self.running.take().expect("a call runs");
        let polled = Pin::new(&mut running).poll(cx);
        if polled.is_pending() {
            *self.running.borrow_mut() = Some(running);
        }
        polled
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let unread = self.ahead.borrow().len() as i64;
        let is_ours = self.process.get() == fork::generation();
        if self.place == Place::Shared && unread > 0 && is_ours && self.running.borrow().is_none() {
            // For whoever reads on in the same place.
            let _ = (&*self.file).seek(SeekFrom::Current(-unread));
            self.ahead.borrow_mut().clear();
        }
        if let Some(error) = self.failed.take() {
            log::warn(format_args!("a write that was dropped with its file failed: {error}"));
        }
    }
}

fn read_at(file: &File, place: Place, at: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    loop {
        let room = rustix::buffer::spare_capacity(&mut bytes);
        let read = match place {
            Place::Own => rustix::io::pread(file, room, at),
            Place::Shared => rustix::io::read(file, room),
        };
        match read {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(bytes),
        }
    }
}

/// Refuses a position that no file has.
fn within_files(position: u64) -> io::Result<u64> {
    if position <= i64::MAX as u64 { Ok(position) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// How much is asked for where a length says nothing.
const LEAST: usize = 8192;

fn read_rest(mut file: &File, place: Place, at: u64) -> io::Result<Vec<u8>> {
    if place == Place::Shared {
        let mut bytes = Vec::new();
        return file.read_to_end(&mut bytes).map(|_| bytes);
    }
    let left = file.metadata()?.len().saturating_sub(at);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(match usize::try_from(left) {
        // Files of procfs have no length, and some give all at once or not at all.
        Ok(0) => LEAST,
        // One more byte, so that the end is found without another allocation.
        left => left.unwrap_or(usize::MAX).saturating_add(1),
    })?;
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.try_reserve(bytes.len().max(LEAST))?;
        }
        let from = at + bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), from) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) => return Ok(bytes),
            Ok(_) => {}
        }
    }
}

fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<Wrote> {
    all_of(bytes, |rest, done| file.write_at(rest, at + done as u64))
}

/// Returns the position that is `by` bytes from the end; leaves that of the descriptor alone, which
/// others may share.
fn from_end(mut file: &File, by: i64) -> io::Result<u64> {
    let facts = file.metadata()?;
    if !facts.is_file() {
        return file.seek(SeekFrom::End(by));
    }
    within_files(facts.len().checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?)
}

fn append(mut file: &File, bytes: &[u8]) -> io::Result<Wrote> {
    let wrote = all_of(bytes, |rest, _| file.write(rest))?;
    Ok(Wrote { end: file.stream_position().ok(), ..wrote })
}

fn write_on(mut file: &File, unread: usize, bytes: &[u8]) -> io::Result<Wrote> {
    if unread > 0 {
        file.seek(SeekFrom::Current(-(unread as i64)))?;
    }
    all_of(bytes, |rest, _| file.write(rest))
}

/// Writes until all is written, or an error comes; it is returned if nothing was written before.
fn all_of(
    bytes: &[u8],
    mut write: impl FnMut(&[u8], usize) -> io::Result<usize>,
) -> io::Result<Wrote> {
    let mut count = 0;
    while count < bytes.len() {
        match write(&bytes[count..], count) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if count == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(Wrote { count, end: None })
}
