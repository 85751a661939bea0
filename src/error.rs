//! asyncoro's own error conditions, as types inside `std::io::Error`.
//!
//! Every verb returns [`std::io::Error`]. A system error comes through untouched, so that
//! `raw_os_error` and `kind` are the system's. Where there is no system error, or where the text
//! names the verb and the address, the inner error (`io::Error::get_ref`, then `downcast_ref`) is
//! one of the types below. [`os_code`] finds the system's number in both forms, and [`is_closed`]
//! recognises the most common condition.
//!
//! ```
//! use asyncoro::error::{Incomplete, os_code};
//!
//! fn explain(error: &std::io::Error) -> String {
//!     if let Some(code) = os_code(error) {
//!         return format!("the system said {code}");
//!     }
//!     match error.get_ref().and_then(|inner| inner.downcast_ref::<Incomplete>()) {
//!         Some(cut) => format!("the peer left after {} of {} bytes", cut.got, cut.expected),
//!         None => error.to_string(),
//!     }
//! }
//! assert_eq!(explain(&std::io::Error::from_raw_os_error(111)), "the system said 111");
//! ```

use std::{error::Error, fmt, io};

#[cfg(feature = "tls")]
pub use crate::tls::version::UnsupportedTlsVersion;

/// The socket was closed on our side while the verb waited, or before it began.
///
/// Kind: `NotConnected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// The stream ended before all bytes had arrived.
///
/// Kind: `UnexpectedEof`. In a message's header `expected` is 4, in its payload the payload's
/// length; for `recv_until` and `recv_line` it is the most bytes that the call would have taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Bytes that arrived.
    pub got: usize,
    /// Bytes that were asked for.
    pub expected: usize,
}

/// A message is longer than the limit.
///
/// Kind: `InvalidData`. Nothing was allocated for it; the header stays unread, so each later
/// `recv_msg` returns the same error. If the header is text, which a peer of another protocol has
/// sent, the error's text shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTooLong {
    /// The length that the header announces, in bytes.
    pub len: usize,
    /// The limit in force, in bytes (see `set_message_limit`).
    pub limit: usize,
}

/// A verb waited as long as its socket's timeout without progress.
///
/// Kind: `TimedOut`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// Bytes that the verb had moved before it timed out.
    pub done: usize,
    /// Whether the rest of what was being sent stays queued and will still be sent.
    pub rest_queued: bool,
}

/// The time given to [`crate::time::timeout`] or [`crate::time::deadline`] ran out.
///
/// Converts into an [`io::Error`] of kind `TimedOut`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// The delimiter was not among the bytes that `recv_until` may search, or the end of the line not
/// among those of `recv_line`.
///
/// Kind: `InvalidData`. Nothing was consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelimiterMissing {
    /// Bytes that were searched.
    pub max: usize,
}

/// Descriptors that came with bytes were lost: there were more than `recv_fds` was to take, or the
/// process may open no more files.
///
/// Kind: `InvalidData`. Those that had arrived were closed. The bytes are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorsLost {
    /// Bytes that were received.
    pub bytes: usize,
}

/// [`copy_both`](crate::copy_both) has moved no byte in either direction for as long as it may be
/// idle.
///
/// Kind: `TimedOut`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Bytes that were sent to the second socket, and to the first.
    pub moved: (u64, u64),
}

/// A host name that has no address.
///
/// Kind: `NotFound`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The name that was asked for.
    pub host: String,
    /// The resolver's `EAI_*` code, as in getaddrinfo(3).
    pub code: i32,
    /// The resolver's text for the code.
    pub reason: String,
}

/// A verb was called on a kind of socket that does not support it.
///
/// Kind: `InvalidInput`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKind {
    /// The verb.
    pub verb: &'static str,
    /// The kind of socket, for example `datagram socket`.
    pub socket: &'static str,
}

/// A system error with the verb that failed and its address.
///
/// Its `Debug` form is the same sentence as its `Display` form, since a `main` that returns the
/// error prints that.
pub struct Context {
    /// The verb that failed, for example `create_connection`.
    pub verb: &'static str,
    /// The address that it was called with.
    pub address: String,
    source: io::Error,
}

/// Returns the system's error number in `error`, whether it is bare or wrapped with verb and
/// address.
///
/// ```
/// use asyncoro::error::os_code;
/// assert_eq!(os_code(&std::io::Error::from_raw_os_error(104)), Some(104));
/// assert_eq!(os_code(&std::io::Error::other("mine")), None);
/// ```
pub fn os_code(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let inner = error.get_ref()?.downcast_ref::<Context>()?;
        os_code(&inner.source)
    })
}

/// Tells whether a verb failed because the socket was closed on our side ([`Closed`]), also when
/// the error is wrapped with verb and address.
///
/// ```
/// use asyncoro::{AsyncSocket, error::is_closed, spawn};
///
/// asyncoro::run(async {
///     let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
///     let socket = AsyncSocket::new(ours).unwrap();
///     let reader = socket.clone();
///     let reading = spawn(async move { reader.recv(&mut [0; 8]).await });
///     asyncoro::coro::yield_now().await;
///     socket.close().await.unwrap();
///     assert!(is_closed(&reading.await.unwrap().unwrap_err()));
/// });
/// ```
pub fn is_closed(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    inner.is::<Closed>()
        || inner.downcast_ref::<Context>().is_some_and(|context| is_closed(&context.source))
}

/// Tells whether an error means that the peer has gone, which is normal and not worth a warning in
/// the log.
pub(crate) fn peer_has_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe)
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the socket was closed")
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "end of stream after {} of {} bytes", self.got, self.expected)
    }
}

impl fmt::Display for MessageTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of {} bytes is over the limit of {} bytes", self.len, self.limit)?;
        // A peer of another protocol begins with text, which is a long message when it is read as a
        // header.
        let header = u32::try_from(self.len).unwrap_or_default().to_be_bytes();
        if header.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            let text = String::from_utf8_lossy(&header);
            write!(f, "; does the peer speak messages? it begins with '{text}'")?;
        }
        Ok(())
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {} bytes", self.done)?;
        if self.rest_queued {
            f.write_str("; the rest stays queued and will still be sent")?;
        }
        Ok(())
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl fmt::Display for DelimiterMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the delimiter is not among the first {} bytes", self.max)
    }
}

impl fmt::Display for DescriptorsLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "descriptors that came with {} bytes were lost: there were too many for the call, or \
             for the process",
            self.bytes
        )
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (there, back) = self.moved;
        write!(f, "timed out after {there} bytes in one direction and {back} in the other")
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot resolve {}: {}", self.host, self.reason)
    }
}

impl fmt::Display for WrongKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not work on a {}", self.verb, self.socket)
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.verb, self.address, self.source)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Closed {}
impl Error for Incomplete {}
impl Error for MessageTooLong {}
impl Error for TimedOut {}
impl Error for Elapsed {}
impl Error for DelimiterMissing {}
impl Error for DescriptorsLost {}
impl Error for Idle {}
impl Error for Unresolved {}
impl Error for WrongKind {}

impl Error for Context {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

pub(crate) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, Closed)
}

/// Makes the error for a socket or a file that is used on a second scheduler while a verb waits for
/// it on the first.
pub(crate) fn waits_elsewhere() -> io::Error {
    let text = "it is waited for on another scheduler of this thread, which has not ended";
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

pub(crate) fn incomplete(got: usize, expected: usize) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, Incomplete { got, expected })
}

pub(crate) fn message_too_long(len: usize, limit: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, MessageTooLong { len, limit })
}

pub(crate) fn timed_out(done: usize, rest_queued: bool) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, TimedOut { done, rest_queued })
}

pub(crate) fn delimiter_missing(max: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, DelimiterMissing { max })
}

pub(crate) fn descriptors_lost(bytes: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, DescriptorsLost { bytes })
}

pub(crate) fn idle(moved: (u64, u64)) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, Idle { moved })
}

pub(crate) fn unresolved(host: &str, code: i32, reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, Unresolved { host: host.to_owned(), code, reason })
}

pub(crate) fn wrong_kind(verb: &'static str, socket: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, WrongKind { verb, socket })
}

/// Makes an `InvalidInput` error with `reason` as its text.
pub(crate) fn invalid_input(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason.into())
}

/// Makes an `InvalidInput` error that quotes the address that was given and names what was
/// expected.
pub(crate) fn invalid_address(given: impl fmt::Debug, expected: &str) -> io::Error {
    invalid_input(format!("invalid address {given:?}: expected {expected}"))
}

/// Makes an `InvalidData` error from a sentence or an error of rustls.
#[cfg(feature = "tls")]
pub(crate) fn invalid_data(reason: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Wraps `source` with verb and address, keeping its kind.
pub(crate) fn context(
    verb: &'static str,
    address: impl fmt::Display,
    source: io::Error,
) -> io::Error {
    io::Error::new(source.kind(), Context { verb, address: address.to_string(), source })
}

/// Wraps a system error with verb and address; leaves an error of ours as it is, since callers look
/// for its type.
pub(crate) fn of_system(
    verb: &'static str,
    address: impl fmt::Display,
    source: io::Error,
) -> io::Error {
    if source.raw_os_error().is_some() { context(verb, address, source) } else { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_code_is_found_through_any_depth_of_context() {
        let refused = io::Error::from_raw_os_error(111);
        let once = context("connect", "127.0.0.1:1", refused);
        let twice = context("create_connection", "localhost:1", once);
        assert_eq!(os_code(&twice), Some(111));
        assert_eq!(twice.kind(), io::ErrorKind::ConnectionRefused);
        let text = twice.to_string();
        assert!(text.contains("create_connection localhost:1"), "{text}");
    }

    #[test]
    fn closed_is_found_through_any_depth_of_context_and_nothing_else_is() {
        assert!(is_closed(&closed()));
        assert!(is_closed(&context("connect", "a", context("connect", "b", closed()))));
        assert!(!is_closed(&context("connect", "a", io::ErrorKind::NotConnected.into())));
        assert!(!is_closed(&io::Error::other("the socket was closed")));
    }

    #[test]
    fn what_a_main_prints_of_an_error_with_context_is_a_sentence() {
        let error = context("create_connection", "localhost:1", io::Error::other("no way"));
        let printed = format!("{error:?}");
        assert!(printed.contains("error: create_connection localhost:1: no way"), "{printed}");
    }

    #[test]
    fn a_length_that_is_text_is_shown_as_text() {
        let shown = |header: [u8; 4]| {
            MessageTooLong { len: u32::from_be_bytes(header) as usize, limit: 9 }.to_string()
        };
        let asks = "; does the peer speak messages? it begins with 'GET '";
        assert_eq!(
            shown(*b"GET "),
            format!("a message of 1195725856 bytes is over the limit of 9 bytes{asks}")
        );
        assert!(shown(*b"SSH-").ends_with("it begins with 'SSH-'"));
        for binary in [[0, 0, 0, 11], [0xff; 4], *b"ab\r\n", [b'a', b'b', b'c', 0x7f]] {
            assert!(shown(binary).ends_with("over the limit of 9 bytes"), "{binary:?}");
        }
        let sent = MessageTooLong { len: (1 << 32) + 5, limit: u32::MAX as usize };
        assert!(sent.to_string().ends_with("over the limit of 4294967295 bytes"));
    }

    #[test]
    fn own_conditions_have_the_promised_kinds_and_inner_types() {
        assert_eq!(closed().kind(), io::ErrorKind::NotConnected);
        assert!(closed().get_ref().unwrap().is::<Closed>());
        assert_eq!(incomplete(1, 2).kind(), io::ErrorKind::UnexpectedEof);
        assert!(incomplete(1, 2).get_ref().unwrap().is::<Incomplete>());
        assert_eq!(timed_out(3, false).kind(), io::ErrorKind::TimedOut);
        assert_eq!(io::Error::from(Elapsed).kind(), io::ErrorKind::TimedOut);
        assert_eq!(wrong_kind("recv_msg", "datagram socket").kind(), io::ErrorKind::InvalidInput);
        assert_eq!(unresolved("x.invalid", -2, "no".into()).kind(), io::ErrorKind::NotFound);
        assert_eq!(delimiter_missing(8).kind(), io::ErrorKind::InvalidData);
        assert_eq!(descriptors_lost(8).kind(), io::ErrorKind::InvalidData);
        assert!(descriptors_lost(8).get_ref().unwrap().is::<DescriptorsLost>());
        assert_eq!(idle((1, 2)).kind(), io::ErrorKind::TimedOut);
        assert!(idle((1, 2)).get_ref().unwrap().is::<Idle>());
    }
}
