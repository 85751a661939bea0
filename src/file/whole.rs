//! Whole files, in one call on the pool.

use std::{fs, io, path::Path};

use crate::pool;

/// Reads a whole file.
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
/// A read that has begun goes on to its end on its thread; its bytes are dropped.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref().to_owned();
    pool::run(move || fs::read(path)).await
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
    let path = path.as_ref().to_owned();
    pool::run(move || fs::read_to_string(path)).await
}

/// Writes a whole file: makes it, or replaces what is in it.
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
/// A write that has begun goes on to its end on its thread; one that has not leaves the file alone.
pub async fn write(path: impl AsRef<Path>, contents: impl Into<Vec<u8>>) -> io::Result<()> {
    let (path, contents) = (path.as_ref().to_owned(), contents.into());
    pool::run(move || fs::write(path, contents)).await
}
