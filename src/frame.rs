//! Reads and writes the header of a message, over byte slices: no sockets, no waiting, no
//! allocation.
//!
//! A message on the wire is its length as 4 bytes, big-endian, then the payload: the format of
//! asyncoro and pycos peers (`struct.pack('>L', len)`).

use std::io;

use crate::error;

/// Length of the header that precedes each payload, in bytes.
pub(crate) const HEADER: usize = 4;

/// Longest payload that a socket receives unless it sets another limit, in bytes.
pub(crate) const DEFAULT_LIMIT: usize = 64 << 20;

/// How much of a message the bytes at the front of a stream hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The header is incomplete.
    Header,
    /// The header is complete and gives the payload's length; the payload may be incomplete.
    Payload(usize),
}

/// Reads the header at the front of `bytes`.
///
/// # Errors
/// `InvalidData` (`MessageTooLong`) when the header announces more than `limit` bytes.
pub(crate) fn parse(bytes: &[u8], limit: usize) -> io::Result<Frame> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(Frame::Header);
    };
    let len = u32::from_be_bytes(*header) as usize;
    if len > limit {
        return Err(error::message_too_long(len, limit));
    }
    Ok(Frame::Payload(len))
}

/// Makes the header of a payload of `len` bytes.
///
/// # Errors
/// `InvalidData` (`MessageTooLong`) when the length does not fit in 4 bytes.
pub(crate) fn header(len: usize) -> io::Result<[u8; HEADER]> {
    match u32::try_from(len) {
        Ok(len) => Ok(len.to_be_bytes()),
        Err(_) => Err(error::message_too_long(len, u32::MAX as usize)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_four_bytes_big_endian() {
        assert_eq!(header(5).unwrap(), [0, 0, 0, 5]);
        assert_eq!(header(258).unwrap(), [0, 0, 1, 2]);
        assert_eq!(header(u32::MAX as usize).unwrap(), [0xff; 4]);
        assert!(header(u32::MAX as usize + 1).is_err());
    }

    #[test]
    fn any_prefix_of_a_header_is_incomplete() {
        for n in 0..HEADER {
            assert_eq!(parse(&[0, 0, 0, 9][..n], 10).unwrap(), Frame::Header);
        }
        assert_eq!(parse(&[0, 0, 0, 9, b'x'], 10).unwrap(), Frame::Payload(9));
    }

    #[test]
    fn the_limit_is_inclusive_and_an_error_names_both_sizes() {
        assert_eq!(parse(&[0, 0, 0, 10], 10).unwrap(), Frame::Payload(10));
        let error = parse(&[0, 0, 0, 11], 10).unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<crate::error::MessageTooLong>();
        let inner = inner.expect("typed inner error");
        assert_eq!((inner.len, inner.limit), (11, 10));
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_limit_is_64_mib_unless_set() {
        assert_eq!(DEFAULT_LIMIT, 67_108_864);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for len in [0, 1, 255, 256, 65_536, 3 << 20] {
            assert_eq!(parse(&header(len).unwrap(), len).unwrap(), Frame::Payload(len));
        }
    }
}
