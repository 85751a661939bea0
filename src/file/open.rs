//! Opening files, making pipes, and the standard streams.

use std::{
    fs::{File, FileType, OpenOptions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::Path,
};

use rustix::fs::OFlags;

use super::{
    asyncfile::{AsyncFile, Kind},
    pooled::Place,
    stream::Stream,
};
use crate::pool;

impl AsyncFile {
    /// Opens a file to read, on the pool.
    ///
    /// A pipe with a name (FIFO) is opened at once; the first read waits for a writer.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::open("Cargo.toml").await?;
    ///     assert!(file.metadata().await?.is_file());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Cancel
    /// A file that was opened already is closed.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<AsyncFile> {
        let path = path.as_ref().to_owned();
        let (file, kind) = pool::run(move || open_to_read(&path)).await?;
        AsyncFile::opened_to_read(file, kind)
    }

    /// Creates a file, or empties the one that there is, to read and write it, on the pool.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("asyncoro-create-{}", std::process::id()));
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::create(&path).await?;
    ///     file.write_all(b"new").await?;
    ///     assert_eq!(file.metadata().await?.len(), 3);
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
    /// The file may have been made, or emptied.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<AsyncFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        AsyncFile::open_with(path, options).await
    }

    /// Opens a file as `options` say, on the pool.
    ///
    /// # Example
    /// ```
    /// use std::fs::OpenOptions;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("asyncoro-append-{}", std::process::id()));
    /// asyncoro::run(async {
    ///     let mut options = OpenOptions::new();
    ///     options.append(true).create(true);
    ///     let log = asyncoro::file::AsyncFile::open_with(&path, options).await?;
    ///     log.write_all(b"one line\n").await?;
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
    /// As [`AsyncFile::create`]. A pipe with a name that waits for its other end keeps a thread of
    /// the pool until that comes, unless the options have `O_NONBLOCK`.
    pub async fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> io::Result<AsyncFile> {
        let path = path.as_ref().to_owned();
        let (file, kind) = pool::run(move || of_kind(options.open(path)?)).await?;
        AsyncFile::opened(file, kind)
    }

    /// Takes what [`open_to_read`] has opened.
    pub(super) fn opened_to_read(file: File, kind: FileType) -> io::Result<AsyncFile> {
        if kind.is_fifo() {
            return Ok(AsyncFile::of(Kind::Stream(Stream::named_pipe(file.into())?)));
        }
        AsyncFile::opened(file, kind)
    }

    fn opened(file: File, kind: FileType) -> io::Result<AsyncFile> {
        // Nobody else has this description.
        if is_waited_for(kind) { AsyncFile::own(file) } else { AsyncFile::new(file) }
    }
}

/// Tells whether readiness is waited for, as of a pipe with a name and a device: a call on the pool
/// might keep its thread for ever.
pub(super) fn is_waited_for(kind: FileType) -> bool {
    kind.is_fifo() || kind.is_char_device()
}

/// Opens a file to read, on the pool; neither a pipe without a writer nor a device is waited for.
pub(super) fn open_to_read(path: &Path) -> io::Result<(File, FileType)> {
    let mut options = OpenOptions::new();
    options.read(true);
    open_at_once(path, &options)
}

/// Opens a file on the pool, and does not wait for the other end of a pipe with a name.
pub(super) fn open_at_once(path: &Path, options: &OpenOptions) -> io::Result<(File, FileType)> {
    match options.clone().custom_flags(libc::O_NONBLOCK).open(path) {
        // A regular file that somebody has a lease on, which this breaks (fcntl(2)).
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => of_kind(options.open(path)?),
        opened => {
            let (file, kind) = of_kind(opened?)?;
            if kind.is_file() {
                // Some files of procfs and the like heed it.
                rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
            }
            Ok((file, kind))
        }
    }
}

fn of_kind(file: File) -> io::Result<(File, FileType)> {
    let kind = file.metadata()?.file_type();
    Ok((file, kind))
}

/// Makes a pipe: what is written to the second file is read from the first.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let (reader, writer) = asyncoro::file::pipe()?;
///     writer.write_all(b"abc").await?;
///     drop(writer);
///     assert_eq!(reader.read_to_end().await?, b"abc");
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// The system's.
pub fn pipe() -> io::Result<(AsyncFile, AsyncFile)> {
    let (reader, writer) = io::pipe()?;
    Ok((AsyncFile::own(reader)?, AsyncFile::own(writer)?))
}

/// Returns the standard input as a file, whatever it is.
///
/// The mode of a terminal or a pipe is left as it is, as [`AsyncFile::new`] says. Where it is a
/// regular file, it is read from where its other users have come to, and bytes that were read ahead
/// are put back when the file is dropped. `std::io::stdin` and [`stdio::lines`](crate::stdio) read
/// ahead, too: use one of the three.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let input = asyncoro::file::stdin()?;
///     while let Some(line) = input.read_line(4096).await? {
///         println!("{line}");
///     }
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// The system's, as where the descriptor is closed.
pub fn stdin() -> io::Result<AsyncFile> {
    AsyncFile::at(duplicate(&io::stdin())?, Place::Shared)
}

/// Returns the standard output as a file; see [`stdin`].
///
/// It has no buffer. `println!` has one: flush that before.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async { asyncoro::file::stdout()?.write_all(b"done\n").await })
/// # }
/// ```
///
/// # Errors
/// The system's, as where the descriptor is closed.
pub fn stdout() -> io::Result<AsyncFile> {
    AsyncFile::at(duplicate(&io::stdout())?, Place::Shared)
}

/// Returns the standard error as a file; see [`stdout`].
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async { asyncoro::file::stderr()?.write_all(b"a warning\n").await })
/// # }
/// ```
///
/// # Errors
/// The system's, as where the descriptor is closed.
pub fn stderr() -> io::Result<AsyncFile> {
    AsyncFile::at(duplicate(&io::stderr())?, Place::Shared)
}

fn duplicate(fd: &impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}
