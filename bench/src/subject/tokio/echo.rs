//! Echo through a buffer that tokio borrows.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends back what it receives until the end of the stream.
pub(crate) async fn recv(
    mut stream: TcpStream,
    length: usize,
    answered: impl Fn(usize),
) -> io::Result<()> {
    let mut buffer = vec![0; length];
    loop {
        let received = stream.read(&mut buffer).await?;
        if received == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..received]).await?;
        answered(received);
    }
}
