//! Files, pipes and terminals: [`AsyncFile`], whole files, walks through folders.
//!
//! [`AsyncFile`] is one type for whatever a descriptor may be. Pipes, terminals, devices and
//! sockets wait through readiness, as sockets do; regular files are read from the system's cache
//! or on [the pool](crate::pool). [`read`], [`read_to_string`] and [`write`](write()) move whole
//! files, [`walk`](walk()) lists what is in a folder and below, [`pipe`] makes a pipe, and
//! [`stdin`], [`stdout`] and [`stderr`] are those of the process.
//!
//! ```
//! use asyncoro::file::{self, AsyncFile};
//!
//! # fn main() -> std::io::Result<()> {
//! asyncoro::run(async {
//!     let manifest = AsyncFile::open("Cargo.toml").await?;
//!     let mut lines = manifest.lines();
//!     assert_eq!(lines.next().await?.as_deref(), Some("[workspace]"));
//!
//!     let (reader, writer) = file::pipe()?;
//!     writer.write_all(b"through a pipe").await?;
//!     drop(writer);
//!     assert_eq!(reader.read_to_end().await?, b"through a pipe");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # A pipe whose reader has gone
//! A write to it fails with `BrokenPipe` in Rust programs and in Python, which ignore SIGPIPE. A
//! program in another language that has not set it to be ignored is ended by that signal.

// From the bottom: `ahead.rs` has the bytes that were read and not taken, `watch.rs` waits for a
// descriptor; `stream.rs` and `pooled.rs` are the two kinds of files; `asyncfile.rs` has the type,
// `open.rs` makes its values, `verbs.rs` and `lines.rs` have its methods; `whole.rs` and `walk.rs`
// need none of these.

mod ahead;
mod asyncfile;
mod lines;
mod open;
mod pooled;
mod stream;
mod verbs;
mod walk;
pub(crate) mod watch;
mod whole;

pub use self::{
    asyncfile::AsyncFile,
    lines::{Lines, MAX_LINE},
    open::{pipe, stderr, stdin, stdout},
    walk::{Entry, Walk, walk},
    whole::{read, read_to_string, write},
};
