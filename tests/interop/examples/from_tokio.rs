//! Both directions on one thread: a program of tokio's takes asyncoro up piece by piece.
//!
//! A task of tokio's serves messages with asyncoro's sockets and coroutines; a coroutine of
//! asyncoro's talks to a server of tokio's, with tokio's sockets and timers.

use std::{io, time::Duration};

use asyncoro::AsyncSocket;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    // From here on, coroutines and tasks of this thread may await each other.
    LocalSet::new().run_until(asyncoro::tokio::attach(both())).await
}

async fn both() -> io::Result<()> {
    // A task of tokio's that uses asyncoro: each message comes back.
    let server = AsyncSocket::create_server("127.0.0.1:0").await?;
    let address = server.local_addr()?;
    let serving = spawn_local(async move {
        let (client, _) = server.accept().await?;
        while let Some(message) = client.recv_msg().await? {
            client.send_msg(&message).await?;
        }
        io::Result::Ok(())
    });
    let socket = AsyncSocket::create_connection(address).await?;
    socket.send_msg(b"a message").await?;
    println!("a task of tokio's answers: {:?}", socket.recv_msg().await?);
    socket.close().await?;
    serving.await??;

    // A coroutine of asyncoro's that uses tokio: a line in capitals comes back.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let shouting = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await?;
        let mut line = [0; 6];
        client.read_exact(&mut line).await?;
        client.write_all(line.to_ascii_uppercase().as_slice()).await
    });
    let coroutine = asyncoro::spawn(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"a line").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    });
    println!("a coroutine gets of tokio: {:?}", coroutine.await??);
    shouting.await?
}
