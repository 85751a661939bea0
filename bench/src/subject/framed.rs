//! Messages through tokio-util's codec, flushed one by one or once for all that came together.

use std::io;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::runtime::HEADER;

/// Sends each answer with `send`, which flushes it.
pub(crate) async fn send(stream: TcpStream, answered: impl Fn(usize)) -> io::Result<()> {
    let mut framed = Framed::new(stream, LengthDelimitedCodec::new());
    while let Some(message) = framed.next().await {
        let message = message?.freeze();
        let length = HEADER + message.len();
        framed.send(message).await?;
        answered(length);
    }
    Ok(())
}

/// Sends all answers that are ready with `feed`, then one `flush`.
pub(crate) async fn feed(stream: TcpStream, answered: impl Fn(usize)) -> io::Result<()> {
    let mut framed = Framed::new(stream, LengthDelimitedCodec::new());
    while let Some(message) = framed.next().await {
        let mut next = Some(message);
        let mut fed = 0;
        while let Some(message) = next {
            let message = message?.freeze();
            fed += HEADER + message.len();
            framed.feed(message).await?;
            next = framed.next().now_or_never().flatten();
        }
        SinkExt::<Bytes>::flush(&mut framed).await?;
        answered(fed);
    }
    Ok(())
}
