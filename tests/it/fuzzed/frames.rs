//! Messages from any bytes, however they are split: `recv_msg` returns what a parser finds that has
//! all bytes at once.
//!
//! An input is the limit of a message in units of 8 bytes, the size of a piece, then the stream.

use std::{
    io::{ErrorKind, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use asyncoro::{AsyncSocket, coro::yield_now, time::timeout};

/// The messages, and how the stream ended.
type Read = (Vec<Vec<u8>>, Option<ErrorKind>);

pub(crate) fn feed(input: &[u8]) {
    let [limit, piece, stream @ ..] = input else { return };
    // All of it finds room in the kernel.
    let stream = &stream[..stream.len().min(4096)];
    let (limit, piece) = (8 * usize::from(*limit), usize::from(*piece).max(1));
    let whole = reference(stream, limit);
    assert_eq!(received(stream, limit, piece), whole, "limit {limit}, pieces of {piece} bytes");
}

fn reference(mut stream: &[u8], limit: usize) -> Read {
    let mut messages = Vec::new();
    loop {
        let Some((header, rest)) = stream.split_first_chunk::<4>() else {
            let end = (!stream.is_empty()).then_some(ErrorKind::UnexpectedEof);
            return (messages, end);
        };
        let length = u32::from_be_bytes(*header) as usize;
        if length > limit {
            return (messages, Some(ErrorKind::InvalidData));
        }
        let Some((message, rest)) = rest.split_at_checked(length) else {
            return (messages, Some(ErrorKind::UnexpectedEof));
        };
        messages.push(message.to_vec());
        stream = rest;
    }
}

fn received(stream: &[u8], limit: usize, piece: usize) -> Read {
    let (near, mut far) = UnixStream::pair().expect("a pair");
    asyncoro::run_until(async {
        let near = AsyncSocket::new(near).expect("a socket");
        near.set_message_limit(limit);
        let reader = asyncoro::spawn(async move {
            let mut messages = Vec::new();
            loop {
                match near.recv_msg().await {
                    Ok(Some(message)) => messages.push(message.to_vec()),
                    Ok(None) => return (messages, None),
                    Err(error) => return (messages, Some(error.kind())),
                }
            }
        });
        for piece in stream.chunks(piece) {
            // The reader may have given up.
            if far.write_all(piece).is_err() {
                break;
            }
            yield_now().await;
        }
        drop(far);
        let read = timeout(Duration::from_secs(20), reader).await.expect("the reader hangs");
        read.expect("the reader does not panic")
    })
}
