//! The lines of a file, one by one.

use std::io;

use super::asyncfile::AsyncFile;

/// The longest line that [`Lines`] takes, in bytes: 1 MiB.
pub const MAX_LINE: usize = 1024 * 1024;

/// The lines of a file; made by [`AsyncFile::lines`].
#[derive(Debug)]
pub struct Lines<'a> {
    file: &'a AsyncFile,
}

impl AsyncFile {
    /// Returns the lines from the position on, to be taken one by one.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let file = asyncoro::file::AsyncFile::open("Cargo.toml").await?;
    ///     let (mut lines, mut count) = (file.lines(), 0);
    ///     while let Some(line) = lines.next().await? {
    ///         count += usize::from(line.starts_with('['));
    ///     }
    ///     assert!(count > 3);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn lines(&self) -> Lines<'_> {
        Lines { file: self }
    }
}

impl Lines<'_> {
    /// Reads the next line, as [`AsyncFile::read_line`] does with [`MAX_LINE`]; `None` at the end.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let (reader, writer) = asyncoro::file::pipe()?;
    ///     writer.write_all(b"only one").await?;
    ///     drop(writer);
    ///     let mut lines = reader.lines();
    ///     assert_eq!(lines.next().await?.as_deref(), Some("only one"));
    ///     assert_eq!(lines.next().await?, None);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`AsyncFile::read_line`].
    ///
    /// # Cancel
    /// No line was taken.
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        self.file.read_line(MAX_LINE).await
    }
}
