//! tokio on one thread, a task per connection, in the two ways its documentation shows for tasks
//! that stay on their thread: a `LocalSet` on a current-thread runtime, and the newer
//! `LocalRuntime`. The load is a task beside them: waking the future given to `block_on` is dearer.

mod coroutines;
mod local;
mod server;

use std::io;
use std::net;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{HEADER, Server, Subject, fatal};
use local::Local;
use server::start;

pub(super) fn local_set() -> Subject {
    Subject {
        name: "tokio".to_owned(),
        echo: Some(|connections, length| echo(Local::set()?, connections, length)),
        messages: None,
        idle: Some(|connections, _| idle(Local::set()?, connections)),
        coroutines: Some(|| Ok(Box::new(Local::set()?))),
    }
}

pub(super) fn local_runtime() -> Subject {
    Subject {
        name: "tokio LocalRuntime".to_owned(),
        echo: Some(|connections, length| echo(Local::runtime()?, connections, length)),
        messages: None,
        idle: Some(|connections, _| idle(Local::runtime()?, connections)),
        coroutines: Some(|| Ok(Box::new(Local::runtime()?))),
    }
}

type Started = io::Result<Box<dyn Server>>;

fn echo(local: Local, connections: Vec<net::TcpStream>, length: usize) -> Started {
    start(local, connections, |mut stream, progress| async move {
        let mut buffer = vec![0; length];
        loop {
            let received = stream.read(&mut buffer).await.unwrap_or_else(fatal);
            stream.write_all(&buffer[..received]).await.unwrap_or_else(fatal);
            progress.add(received);
        }
    })
}

/// The leanest way to wait for a message: no buffer until its length is known.
fn idle(local: Local, connections: Vec<net::TcpStream>) -> Started {
    start(local, connections, |mut stream, progress| async move {
        loop {
            let length = stream.read_u32().await.unwrap_or_else(fatal);
            let mut message = length.to_be_bytes().to_vec();
            message.resize(HEADER + length as usize, 0);
            stream.read_exact(&mut message[HEADER..]).await.unwrap_or_else(fatal);
            stream.write_all(&message).await.unwrap_or_else(fatal);
            progress.add(message.len());
        }
    })
}
