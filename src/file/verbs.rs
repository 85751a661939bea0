//! What is done with an open file.

use std::{
    fs::{File, Metadata},
    io::{self, Seek, SeekFrom},
    os::fd::AsFd,
};

use super::{
    ahead::CHUNK,
    asyncfile::{AsyncFile, Kind},
};
use crate::{coro::yield_now, error};

/// After how many bytes a verb that has not had to wait lets others go first.
const SHARE: usize = 1024 * 1024;

impl AsyncFile {
    /// Reads at most as many bytes as fit into `buffer`; returns how many, 0 at the end.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let zeros = asyncoro::file::AsyncFile::open("/dev/zero").await?;
    ///     let mut bytes = [1; 8];
    ///     assert_eq!((zeros.read(&mut bytes).await?, bytes), (8, [0; 8]));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Cancel
    /// No byte was taken.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let _turn = self.reading().await;
        self.settle().await;
        if !self.ahead.borrow().is_empty() || buffer.is_empty() {
            let count = self.ahead.borrow_mut().take_into(buffer);
            self.advance(count);
            return Ok(count);
        }
        let count = match &self.kind {
            Kind::Stream(stream) => stream.read(buffer).await?,
            Kind::Pooled(file) => file.read(0, buffer).await?,
            Kind::Socket(socket) => socket.recv(buffer).await?,
        };
        self.advance(count);
        Ok(count)
    }

    /// Waits until a read would not wait: there are bytes, or the end, or an error. A regular file
    /// always is as far.
    ///
    /// Descriptors that are no files become readable, too, as that of a process does at its end
    /// (pidfd_open(2)).
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let (reader, writer) = asyncoro::file::pipe()?;
    ///     writer.write_all(b"abc").await?;
    ///     reader.readable().await?;
    ///     assert_eq!(reader.read(&mut [0; 8]).await?, 3);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's, of asking; those of the file are left to the read.
    ///
    /// # Cancel
    /// Nothing happens.
    pub async fn readable(&self) -> io::Result<()> {
        let _turn = self.reading().await;
        if self.has_read_ahead() {
            return Ok(());
        }
        match &self.kind {
            Kind::Stream(stream) => stream.readable().await,
            Kind::Pooled(_) => Ok(()),
            Kind::Socket(socket) => socket.readable().await,
        }
    }

    /// Reads exactly as many bytes as `buffer` has.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::open("Cargo.toml").await?;
    ///     let mut bytes = [0; 11];
    ///     file.read_exact(&mut bytes).await?;
    ///     assert_eq!(&bytes, b"[workspace]");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// `UnexpectedEof` ([`error::Incomplete`]) if the end comes before; the system's. Nothing was
    /// taken then.
    ///
    /// # Cancel
    /// Nothing is lost: bytes that have come stay readable.
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let _turn = self.reading().await;
        self.settle().await;
        if let Kind::Pooled(file) = &self.kind
            && file.is_positional()
        {
            let mut done = self.ahead.borrow().len().min(buffer.len());
            buffer[..done].copy_from_slice(&self.ahead.borrow().bytes()[..done]);
            let mut rested = 0;
            while done < buffer.len() {
                let count = file.read(done as u64, &mut buffer[done..]).await?;
                if count == 0 {
                    return Err(error::incomplete(done, buffer.len()));
                }
                done += count;
                if done - rested >= SHARE && done < buffer.len() {
                    rested = done;
                    yield_now().await;
                }
            }
            // At the end, so that a dropped verb has moved nothing.
            let unread = self.ahead.borrow().len().min(done);
            self.ahead.borrow_mut().consume(unread);
            file.advance(done);
            return Ok(());
        }
        while self.ahead.borrow().len() < buffer.len() {
            let missing = buffer.len() - self.ahead.borrow().len();
            if self.fill(missing.min(SHARE)).await? == 0 {
                return Err(error::incomplete(self.ahead.borrow().len(), buffer.len()));
            }
        }
        let count = self.ahead.borrow_mut().take_into(buffer);
        self.advance(count);
        Ok(())
    }

    /// Reads up to and including `delimiter`, which must be within the first `max` bytes; what is
    /// left where the file ends before that, and nothing at its end.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let (reader, writer) = asyncoro::file::pipe()?;
    ///     writer.write_all(b"a;b").await?;
    ///     drop(writer);
    ///     assert_eq!(reader.read_until(b';', 100).await?, b"a;");
    ///     assert_eq!(reader.read_until(b';', 100).await?, b"b");
    ///     assert_eq!(reader.read_until(b';', 100).await?, b"");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData` ([`error::DelimiterMissing`]) if it is not, with nothing taken; the system's.
    ///
    /// # Cancel
    /// Nothing is lost: bytes that have come stay readable.
    pub async fn read_until(&self, delimiter: u8, max: usize) -> io::Result<Vec<u8>> {
        let _turn = self.reading().await;
        self.settle().await;
        let (count, _) = self.find(delimiter, max).await?;
        let bytes = self.ahead.borrow_mut().take(count);
        self.advance(count);
        Ok(bytes)
    }

    /// Reads a line, without the `\n` or `\r\n` at its end, which must be within the first `max`
    /// bytes; `None` at the end of the file. A last line without an end is a line, too.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let (reader, writer) = asyncoro::file::pipe()?;
    ///     writer.write_all(b"one\r\ntwo").await?;
    ///     drop(writer);
    ///     assert_eq!(reader.read_line(80).await?.as_deref(), Some("one"));
    ///     assert_eq!(reader.read_line(80).await?.as_deref(), Some("two"));
    ///     assert_eq!(reader.read_line(80).await?, None);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData` if the line is longer ([`error::DelimiterMissing`]) or no UTF-8, with nothing
    /// taken: [`read_until`](AsyncFile::read_until) reads any bytes. The system's.
    ///
    /// # Cancel
    /// Nothing is lost: bytes that have come stay readable.
    #[doc(alias = "readline")]
    pub async fn read_line(&self, max: usize) -> io::Result<Option<String>> {
        let _turn = self.reading().await;
        self.settle().await;
        let (count, is_ended) = self.find(b'\n', max).await?;
        if count == 0 {
            return Ok(None);
        }
        let line = {
            let ahead = self.ahead.borrow();
            let mut line = &ahead.bytes()[..count];
            if is_ended {
                line = &line[..count - 1];
                line = line.strip_suffix(b"\r").unwrap_or(line);
            }
            let line = std::str::from_utf8(line);
            line.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?.to_owned()
        };
        self.ahead.borrow_mut().consume(count);
        self.advance(count);
        Ok(Some(line))
    }

    /// Reads all that there is until the end.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::open("Cargo.toml").await?;
    ///     assert!(file.read_to_end().await?.starts_with(b"[workspace]"));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's. Bytes that have come stay readable.
    ///
    /// # Cancel
    /// Nothing is lost: bytes that have come stay readable.
    pub async fn read_to_end(&self) -> io::Result<Vec<u8>> {
        self.read_to_end_within(usize::MAX).await
    }

    /// Reads all that there is until the end, which must be at most `max` bytes.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let zeros = asyncoro::file::AsyncFile::open("/dev/zero").await?;
    ///     assert!(zeros.read_to_end_within(1000).await.is_err());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// `FileTooLarge` if it is more; the system's. Bytes that have come stay readable.
    ///
    /// # Cancel
    /// Nothing is lost: bytes that have come stay readable.
    pub async fn read_to_end_within(&self, max: usize) -> io::Result<Vec<u8>> {
        let _turn = self.reading().await;
        self.settle().await;
        if let Kind::Pooled(file) = &self.kind
            && max == usize::MAX
        {
            file.read_rest().await?;
        } else {
            let mut room = CHUNK;
            loop {
                if self.ahead.borrow().len() > max {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                if self.fill(room).await? == 0 {
                    break;
                }
                room = self.ahead.borrow().len().clamp(CHUNK, SHARE);
            }
        }
        let bytes = self.ahead.borrow_mut().take_all();
        self.advance(bytes.len());
        Ok(bytes)
    }

    /// Writes what there is room for; returns how many bytes, not 0 unless `bytes` is empty.
    ///
    /// A regular file takes at most 1 MiB in one call. One that was opened to append takes all at
    /// its end.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let (_reader, writer) = asyncoro::file::pipe()?;
    ///     assert_eq!(writer.write(b"abc").await?, 3);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's, `BrokenPipe` among them; of a regular file also that of an earlier write that
    /// was dropped, with nothing written then.
    ///
    /// # Cancel
    /// Pipe, terminal, socket: nothing was written. Regular file: once it has begun, it is carried
    /// out on its thread, and the position moves as if it had been awaited; later verbs wait for
    /// it, and [`position`](AsyncFile::position) tells whether it has been. (If the file is dropped
    /// as well, it may not be.)
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let _turn = self.writing().await;
        self.settle().await;
        if bytes.is_empty() { Ok(0) } else { self.write_some(bytes).await }
    }

    /// Writes all bytes. No other verb writes in between.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("asyncoro-all-{}", std::process::id()));
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::create(&path).await?;
    ///     file.write_all(&[7; 3_000_000]).await?;
    ///     assert_eq!(file.position().await?, 3_000_000);
    /// #   std::fs::remove_file(&path)?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write`](AsyncFile::write). A first part may have been written.
    ///
    /// # Cancel
    /// A first part may have been written, of a regular file as much as the position tells.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let _turn = self.writing().await;
        self.settle().await;
        let mut share = 0;
        while !bytes.is_empty() {
            let count = self.write_some(bytes).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
            share += count;
            if share >= SHARE && !bytes.is_empty() {
                share = 0;
                yield_now().await;
            }
        }
        Ok(())
    }

    /// Moves the position; returns the new one, in bytes from the start.
    ///
    /// # Example
    /// ```
    /// use std::io::SeekFrom;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::open("Cargo.toml").await?;
    ///     assert_eq!(file.read_line(100).await?.unwrap(), "[workspace]");
    ///     // From the last byte that was taken, not from where reading ahead has come to.
    ///     assert_eq!(file.seek(SeekFrom::Current(-2)).await?, 10);
    ///     assert_eq!(file.read_line(100).await?.unwrap(), "]");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// `ESPIPE` if it is a pipe, a terminal or a socket; `InvalidInput` before the start.
    ///
    /// # Cancel
    /// The position has not moved.
    pub async fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        let _turn = self.reading().await;
        self.settle().await;
        match &self.kind {
            Kind::Pooled(file) => file.seek(to).await,
            _ => self.plain()?.seek(to),
        }
    }

    /// Returns the position, in bytes from the start, once the calls of dropped verbs have ended.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::open("Cargo.toml").await?;
    ///     file.read_line(100).await?;
    ///     assert_eq!(file.position().await?, "[workspace]\n".len() as u64);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`seek`](AsyncFile::seek).
    pub async fn position(&self) -> io::Result<u64> {
        let _turn = self.reading().await;
        self.settle().await;
        match &self.kind {
            Kind::Pooled(file) => file.position().await,
            _ => self.plain()?.stream_position(),
        }
    }

    /// Returns what the system knows about it: its length, kind, times.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::open("Cargo.toml").await?;
    ///     assert!(file.metadata().await?.len() > 0);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let _turn = self.reading().await;
        self.settle().await;
        match &self.kind {
            Kind::Pooled(file) => file.metadata().await,
            _ => self.plain()?.metadata(),
        }
    }

    /// Cuts or extends a regular file to `len` bytes; the position stays, and what was read ahead
    /// is read again.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("asyncoro-len-{}", std::process::id()));
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::create(&path).await?;
    ///     file.set_len(1000).await?;
    ///     assert_eq!(file.metadata().await?.len(), 1000);
    /// #   std::fs::remove_file(&path)?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Cancel
    /// It may still be done; later verbs wait for that.
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        let _turn = self.writing().await;
        self.settle().await;
        match &self.kind {
            Kind::Pooled(file) => {
                file.forget_ahead().await?;
                file.perform(move |file| file.set_len(len)).await
            }
            _ => self.plain()?.set_len(len),
        }
    }

    /// Waits until all that was written is on the disk, fsync(2), dropped writes among it.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("asyncoro-sync-{}", std::process::id()));
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::create(&path).await?;
    ///     file.write_all(b"important").await?;
    ///     file.sync_all().await?;
    /// #   std::fs::remove_file(&path)?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of a write that was dropped and failed; the system's. After an error nobody knows what
    /// is on the disk.
    ///
    /// # Cancel
    /// It goes on; its error is that of the next write or `sync_all`.
    #[doc(alias = "fsync")]
    pub async fn sync_all(&self) -> io::Result<()> {
        let _turn = self.writing().await;
        self.settle().await;
        match &self.kind {
            Kind::Pooled(file) => {
                file.failure()?;
                file.perform(File::sync_all).await
            }
            _ => self.plain()?.sync_all(),
        }
    }

    /// Finds the end of the bytes up to `delimiter`, reading as far as that takes: how many there
    /// are, and whether they end with it.
    async fn find(&self, delimiter: u8, max: usize) -> io::Result<(usize, bool)> {
        let mut searched = 0;
        loop {
            {
                let ahead = self.ahead.borrow();
                let bytes = &ahead.bytes()[..ahead.len().min(max)];
                if let Some(at) = memchr::memchr(delimiter, &bytes[searched..]) {
                    return Ok((searched + at + 1, true));
                }
                searched = bytes.len();
            }
            if searched >= max {
                return Err(error::delimiter_missing(max));
            }
            if self.fill(CHUNK).await? == 0 {
                return Ok((searched, false));
            }
        }
    }

    /// Reads ahead; returns how many bytes have come, 0 at the end.
    async fn fill(&self, room: usize) -> io::Result<usize> {
        match &self.kind {
            Kind::Stream(stream) => stream.fill(&self.ahead, room).await,
            Kind::Pooled(file) => file.fill(room).await,
            Kind::Socket(socket) => {
                let append = |bytes: &[u8]| {
                    self.ahead.borrow_mut().extend(bytes);
                    bytes.len()
                };
                socket.recv_with(append).await
            }
        }
    }

    async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.kind {
            Kind::Stream(stream) => stream.write(bytes).await,
            Kind::Pooled(file) => file.write(bytes).await,
            Kind::Socket(socket) => socket.send(bytes).await,
        }
    }

    /// Waits for the call of a dropped verb.
    async fn settle(&self) {
        if let Kind::Pooled(file) = &self.kind {
            file.settle().await;
        }
    }

    /// Moves the position over bytes that were handed out.
    fn advance(&self, count: usize) {
        if let Kind::Pooled(file) = &self.kind {
            file.advance(count);
        }
    }

    /// Returns a duplicate for calls that do not wait: those that the system refuses for what has
    /// no position, and says why.
    fn plain(&self) -> io::Result<File> {
        Ok(self.as_fd().try_clone_to_owned()?.into())
    }
}
