//! `AsyncFile`: a descriptor of any kind, the bytes read ahead of its verbs, and whose turn it is.

use std::{
    cell::RefCell,
    fmt,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use rustix::fs::FileType;

use super::{
    ahead::Ahead,
    pooled::{Place, Pooled},
    stream::Stream,
};
use crate::{
    socket::AsyncSocket,
    sync::local::{Lock, LockGuard},
};

/// A file, pipe, terminal, device or socket, whose verbs wait in coroutines.
///
/// It is made by [`open`](AsyncFile::open) and [`create`](AsyncFile::create), or from what is open
/// already, by [`new`](AsyncFile::new) or from an [`AsyncSocket`]. The verbs take `&self`: one
/// coroutine may read a terminal while another writes. Several verbs of one direction take turns,
/// first come, first served; of a regular file, all of them do, since they share its position.
///
/// Bytes that were read ahead, as by [`read_line`](AsyncFile::read_line), belong to the file: the
/// next read gets them, and a write to a regular file goes where the last byte was taken, not where
/// reading ahead has come to.
///
/// ```
/// use asyncoro::file::AsyncFile;
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("asyncoro-doc-{}", std::process::id()));
/// asyncoro::run(async {
///     let file = AsyncFile::create(&path).await?;
///     file.write_all(b"one\ntwo\n").await?;
///
///     let file = AsyncFile::open(&path).await?;
///     assert_eq!(file.read_line(100).await?.unwrap(), "one");
///     assert_eq!(file.read_to_end().await?, b"two\n");
/// #   std::fs::remove_file(&path)?;
///     Ok(())
/// })
/// # }
/// ```
///
/// # Cancel
/// Dropping a verb loses no byte that was read, and leaves the position where the last finished
/// verb has put it. A `write` to a regular file that has begun goes on to its end on its thread,
/// and the position moves with it: later verbs wait for that. The page `docs/cancel.md` has a line
/// for each verb.
///
/// # Threads and processes
/// A file stays on its thread. The position of a regular file is this value's own: others who have
/// the same open file neither see it move nor move it. After a fork(2) the child has a copy.
pub struct AsyncFile {
    pub(super) kind: Kind,
    pub(super) ahead: Rc<RefCell<Ahead>>,
    /// Whose turn it is. One that is dropped passes it on.
    reading: Lock<()>,
    writing: Lock<()>,
}

pub(super) enum Kind {
    Stream(Stream),
    Pooled(Pooled),
    Socket(AsyncSocket),
}

impl AsyncFile {
    /// Takes an open descriptor: a `std::fs::File`, one end of a pipe, a `ChildStdout`, a terminal,
    /// a socket, an `OwnedFd`.
    ///
    /// A regular file is read and written from where its descriptor is now. The mode of a pipe or
    /// terminal, blocking or not, is left as it is, since other processes may share it; on Linux
    /// the file opens it again for itself. Where that is not allowed, and for other devices, it
    /// asks poll(2) before each call; another process that reads the same at the same time can
    /// then make a call of this thread wait. To avoid that, set `O_NONBLOCK` before.
    ///
    /// ```
    /// use asyncoro::file::AsyncFile;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (reader, writer) = std::io::pipe()?;
    /// asyncoro::run(async {
    ///     let (reader, writer) = (AsyncFile::new(reader)?, AsyncFile::new(writer)?);
    ///     writer.write_all(b"abc").await?;
    ///     let mut bytes = [0; 3];
    ///     reader.read_exact(&mut bytes).await?;
    ///     assert_eq!(&bytes, b"abc");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's.
    pub fn new(fd: impl Into<OwnedFd>) -> io::Result<AsyncFile> {
        AsyncFile::at(fd.into(), Place::Own)
    }

    /// Takes a descriptor whose position, if it has one, is `place`.
    pub(super) fn at(fd: OwnedFd, place: Place) -> io::Result<AsyncFile> {
        let stat = rustix::fs::fstat(&fd)?;
        let ahead = Rc::default();
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::BlockDevice | FileType::Directory => {
                Kind::Pooled(Pooled::new(File::from(fd), place, Rc::clone(&ahead))?)
            }
            FileType::Socket => Kind::Socket(AsyncSocket::new(fd)?),
            _ => Kind::Stream(Stream::shared(fd, &stat)?),
        };
        Ok(AsyncFile { ahead, ..AsyncFile::of(kind) })
    }

    /// Takes a pipe that was made just now, or the like.
    pub(crate) fn own(fd: impl Into<OwnedFd>) -> io::Result<AsyncFile> {
        Ok(AsyncFile::of(Kind::Stream(Stream::own(fd.into())?)))
    }

    pub(super) fn of(kind: Kind) -> AsyncFile {
        AsyncFile { kind, ahead: Rc::default(), reading: Lock::default(), writing: Lock::default() }
    }

    /// Waits for its turn to read.
    pub(super) fn reading(&self) -> impl Future<Output = LockGuard<'_, ()>> {
        self.reading.lock()
    }

    /// Waits for its turn to write; a file with a position has one line for both.
    pub(super) fn writing(&self) -> impl Future<Output = LockGuard<'_, ()>> {
        let is_pooled = matches!(self.kind, Kind::Pooled(_));
        if is_pooled { self.reading.lock() } else { self.writing.lock() }
    }

    /// Gives bytes back that were read last, to be read again; of a file without a position.
    pub(crate) fn put_back(&self, bytes: Vec<u8>) {
        debug_assert!(self.ahead.borrow().is_empty(), "nobody has read on");
        self.ahead.borrow_mut().append(bytes);
    }

    /// Tells whether bytes were read that nobody has taken: the next read gets them, and does not
    /// wait.
    ///
    /// ```
    /// use asyncoro::file::AsyncFile;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let file = AsyncFile::open("Cargo.toml").await?;
    ///     assert!(!file.has_read_ahead());
    ///     file.read_line(100).await?;
    ///     assert!(file.has_read_ahead());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn has_read_ahead(&self) -> bool {
        !self.ahead.borrow().is_empty()
    }

    /// Gives out the descriptor, after the calls of dropped verbs have ended, and the bytes that
    /// were read and not taken.
    ///
    /// The descriptor of a regular file is put to the position, and there are no such bytes.
    /// Another one may be in non-blocking mode.
    ///
    /// ```
    /// use std::{fs::File, io::Read};
    /// use asyncoro::file::AsyncFile;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let file = AsyncFile::open("Cargo.toml").await?;
    ///     assert_eq!(file.read_line(100).await?.unwrap(), "[workspace]");
    ///     let (fd, _) = file.into_parts().await?;
    ///     let mut next = [0; 7];
    ///     File::from(fd).read_exact(&mut next)?;
    ///     assert_eq!(&next, b"members");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of a write that was dropped and failed; the system's.
    ///
    /// # Cancel
    /// The file is dropped.
    pub async fn into_parts(self) -> io::Result<(OwnedFd, Vec<u8>)> {
        if let Kind::Pooled(file) = &self.kind {
            file.settle().await;
            file.failure()?;
        }
        let AsyncFile { kind, ahead, .. } = self;
        let fd = match kind {
            Kind::Pooled(file) => file.into_file()?.into(),
            Kind::Stream(stream) => stream.into_fd()?,
            Kind::Socket(socket) => {
                let (socket, received) = socket.into_parts().await.map_err(io::Error::from)?;
                ahead.borrow_mut().extend(&received);
                socket.into()
            }
        };
        let unread = ahead.borrow_mut().take_all();
        Ok((fd, unread))
    }
}

/// Takes over a socket: bytes that were received already are the first to be read, and TLS goes on.
///
/// ```
/// use asyncoro::{AsyncSocket, file::AsyncFile};
///
/// # fn main() -> std::io::Result<()> {
/// # let (near, far) = std::os::unix::net::UnixStream::pair()?;
/// asyncoro::run(async {
///     let (near, far) = (AsyncSocket::new(near)?, AsyncFile::from(AsyncSocket::new(far)?));
///     near.send_all(b"GET /\nrest").await?;
///     assert_eq!(far.read_line(100).await?.unwrap(), "GET /");
///     Ok(())
/// })
/// # }
/// ```
impl From<AsyncSocket> for AsyncFile {
    fn from(socket: AsyncSocket) -> AsyncFile {
        AsyncFile::of(Kind::Socket(socket))
    }
}

impl AsFd for AsyncFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Stream(stream) => stream.fd(),
            Kind::Pooled(pooled) => pooled.file().as_fd(),
            Kind::Socket(socket) => socket.as_fd(),
        }
    }
}

impl fmt::Debug for AsyncFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Stream(_) => "stream",
            Kind::Pooled(_) => "file",
            Kind::Socket(_) => "socket",
        };
        f.debug_struct("AsyncFile").field("kind", &kind).field("fd", &self.as_fd()).finish()
    }
}
