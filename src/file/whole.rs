//! Whole files. One with a length is read and written in one call on the pool; a pipe with a name
//! and a device are waited for here, so that they keep no thread of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileTypeExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use super::{
    asyncfile::AsyncFile,
    open::{is_waited_for, open_at_once, open_to_read},
};
use crate::{pool, time::sleep};

/// How long a pipe without a reader is left alone until the next look: no event tells of one.
const LOOK: Duration = Duration::from_millis(10);

/// Reads a whole file, or a pipe with a name or a device to its end, which keeps no thread.
///
/// # Example
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     assert!(asyncoro::file::read("Cargo.toml").await?.starts_with(b"[workspace]"));
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// The system's.
///
/// # Cancel
/// A read of a file that has begun goes on to its end on its thread; its bytes are dropped, as are
/// those of a pipe.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref().to_owned();
    let come = pool::run(move || {
        let (mut file, kind) = open_to_read(&path)?;
        if is_waited_for(kind) {
            return Ok(Err((file, kind)));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        io::Result::Ok(Ok(bytes))
    });
    match come.await? {
        Ok(bytes) => Ok(bytes),
        Err((file, kind)) => AsyncFile::opened_to_read(file, kind)?.read_to_end().await,
    }
}

/// Reads a whole file of UTF-8.
///
/// # Example
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     assert!(asyncoro::file::read_to_string("Cargo.toml").await?.contains("[workspace]"));
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// `InvalidData` if it is no UTF-8; the system's.
///
/// # Cancel
/// As [`read`].
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let no_text = |_| io::Error::new(io::ErrorKind::InvalidData, "the file is not of UTF-8");
    String::from_utf8(read(path).await?).map_err(no_text)
}

/// Writes a whole file: makes it, or replaces what is in it. A pipe with a name gets it when it has
/// a reader.
///
/// # Example
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("asyncoro-write-{}", std::process::id()));
/// asyncoro::run(async {
///     asyncoro::file::write(&path, "all of it").await?;
///     assert_eq!(asyncoro::file::read_to_string(&path).await?, "all of it");
/// #   std::fs::remove_file(&path)?;
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// The system's. A part may have been written.
///
/// # Cancel
/// A write to a file that has begun goes on to its end on its thread; one that has not leaves the
/// file alone. A pipe or a device may have got a part.
pub async fn write(path: impl AsRef<Path>, contents: impl Into<Vec<u8>>) -> io::Result<()> {
    let (path, contents) = (path.as_ref().to_owned(), Arc::new(contents.into()));
    loop {
        let (path, contents_there) = (path.clone(), Arc::clone(&contents));
        match pool::run(move || write_at_once(&path, &contents_there)).await? {
            Target::File => return Ok(()),
            Target::Stream(file) => return AsyncFile::own(file)?.write_all(&contents).await,
            Target::NoReader => sleep(LOOK).await,
        }
    }
}

/// Where a whole file is written to.
enum Target {
    /// A file, which has it now.
    File,
    /// A pipe with a name or a device.
    Stream(File),
    /// A pipe with a name that nobody reads.
    NoReader,
}

fn write_at_once(path: &Path, contents: &[u8]) -> io::Result<Target> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let (mut file, kind) = match open_at_once(path, &options) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) && is_pipe(path)? => {
            return Ok(Target::NoReader);
        }
        opened => opened?,
    };
    if is_waited_for(kind) {
        return Ok(Target::Stream(file));
    }
    file.write_all(contents)?;
    Ok(Target::File)
}

fn is_pipe(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.file_type().is_fifo())
}
