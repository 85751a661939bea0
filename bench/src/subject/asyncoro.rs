//! asyncoro: a coroutine per connection on a local scheduler.

mod coroutines;
mod server;

use asyncoro::coro::Scheduler;

use super::{HEADER, MakeServer, Subject, fatal};
use server::{Echo, Messages, start};

pub(super) fn subject() -> Subject {
    let messages: MakeServer = |connections, _| {
        let (scheduler, progress) = start(connections, |socket, progress| async move {
            while let Some(message) = socket.recv_msg().await.unwrap_or_else(fatal) {
                socket.send_msg(&message).await.unwrap_or_else(fatal);
                progress.add(HEADER + message.len());
            }
        })?;
        Ok(Box::new(Messages { scheduler, progress }))
    };
    let echo: MakeServer = |connections, length| {
        let (scheduler, progress) = start(connections, move |socket, progress| async move {
            let mut buffer = vec![0; length];
            loop {
                let received = socket.recv(&mut buffer).await.unwrap_or_else(fatal);
                socket.send_all(&buffer[..received]).await.unwrap_or_else(fatal);
                progress.add(received);
            }
        })?;
        Ok(Box::new(Echo { scheduler, progress }))
    };
    Subject {
        name: "asyncoro".to_owned(),
        echo: Some(echo),
        messages: Some(messages),
        idle: Some(messages),
        coroutines: Some(|| Ok(Box::new(Scheduler::new()?))),
    }
}
