//! Moves a socket from blocking code into a coroutine and back, without losing a byte.
//!
//! ```text
//! cargo run --release --example convert
//! ```
//!
//! In this way a program can become asynchronous step by step: any socket of the standard library,
//! of `socket2` or of another program can be converted at any moment, in either direction.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use asyncoro::{AsyncSocket, BlockingSocket};

fn main() -> io::Result<()> {
    // Blocking: a connection of the standard library.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.write_all(b"hello")?;
    println!("blocking:     {}", text(&mut far, 5)?);

    // Asynchronous: both ends in coroutines of this thread.
    let (near, far) = asyncoro::run(async {
        let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
        let echo = asyncoro::spawn(async move {
            let message = far.recv_msg().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            far.send_msg(&message).await?;
            far.send_queued(b"in the same packet").await?;
            far.into_blocking().await.map_err(io::Error::from)
        });
        near.send_msg(b"there and back").await?;
        let message = near.recv_msg().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        println!("asynchronous: {}", String::from_utf8_lossy(&message));
        io::Result::Ok((near.into_parts().await?, echo.await??))
    })?;

    // Blocking again. Bytes that the socket had received and nobody had taken come first.
    let (socket, received) = near;
    let mut near = TcpStream::from(socket);
    let rest = text(&mut received.chain(&near), 18)?;
    println!("taken apart:  {rest}");

    // `BlockingSocket` has the verbs of `AsyncSocket`, messages too, for threads.
    let server: thread::JoinHandle<io::Result<BlockingSocket>> = thread::spawn(move || {
        far.send_msg(b"from a thread")?;
        Ok(far)
    });
    println!("in a thread:  {}", text(&mut near, 17)?.trim_start_matches(char::is_control));
    let far = server.join().map_err(|_| io::Error::other("the thread panicked"))??;

    // Back into a coroutine.
    asyncoro::run(async { far.into_async()?.send_all(b"the end").await })?;
    println!("asynchronous: {}", text(&mut near, 7)?);
    Ok(())
}

fn text(from: &mut impl Read, length: usize) -> io::Result<String> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
