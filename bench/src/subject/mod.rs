//! Who does the work: the runtimes, each in a file of its own, and the loops written by hand.
//!
//! Each runtime is used as its own documentation recommends, for the same protocol and load.
//! asyncoro is the last of each list; the first is the one the others are compared with.

mod asyncoro;
mod compio;
mod epoll;
mod floor;
mod framed;
mod monoio;
mod smol;
mod tokio;

use std::io;

use ::asyncoro::coro::Scheduler;

use crate::coroutines::Coroutines;
use crate::runtime::{Channel, Net, Runtime};
use crate::served::{MakeServer, echo, fatal, lean, messages, serve};
use compio::Compio;
use monoio::Monoio;
use smol::Smol;
use tokio::Tokio;

/// Who does some work, and how it is made ready.
#[derive(Clone)]
pub(crate) struct Subject<M> {
    /// Its name in the report.
    pub(crate) name: String,
    /// Makes it ready.
    pub(crate) make: M,
}

/// Makes a runtime for coroutines.
pub(crate) type MakeCoroutines = fn() -> io::Result<Box<dyn Coroutines>>;

fn subject<M>(name: &str, make: M) -> Subject<M> {
    Subject { name: name.to_owned(), make }
}

/// Those who send back what they receive.
pub(crate) fn echoing() -> Vec<Subject<MakeServer>> {
    fn of<R: Net>() -> Subject<MakeServer> {
        subject(R::NAME, echo::<R> as MakeServer)
    }
    vec![
        subject("epoll", |connections, length| epoll::echo(connections, length)),
        subject("floor", |connections, length| floor::echo(connections, length)),
        of::<Tokio>(),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        of::<Scheduler>(),
    ]
}

/// Those who send messages back.
pub(crate) fn messaging() -> Vec<Subject<MakeServer>> {
    fn of<R: Net>() -> Subject<MakeServer> {
        subject(R::NAME, messages::<R> as MakeServer)
    }
    vec![
        subject("epoll", |connections, length| epoll::messages(connections, length)),
        subject("floor", |connections, length| floor::messages(connections, length)),
        of::<Tokio>(),
        subject("tokio feed+flush", |connections, _| {
            serve::<Tokio, _>(connections, false, |stream, progress| async move {
                let answered = move |bytes| progress.add(bytes);
                framed::feed(stream, answered).await.unwrap_or_else(fatal);
            })
        }),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        of::<Scheduler>(),
    ]
}

/// Those who wait for messages with as little memory as they can.
pub(crate) fn idling() -> Vec<Subject<MakeServer>> {
    fn of<R: Net>() -> Subject<MakeServer> {
        subject(R::NAME, lean::<R> as MakeServer)
    }
    vec![
        of::<Tokio>(),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        subject(Scheduler::NAME, messages::<Scheduler> as MakeServer),
    ]
}

/// Those who have coroutines.
pub(crate) fn coroutines() -> Vec<Subject<MakeCoroutines>> {
    fn of<R: Channel>() -> Subject<MakeCoroutines> {
        subject(R::NAME, || Ok(Box::new(R::new()?)))
    }
    vec![of::<Tokio>(), of::<Smol>(), of::<Monoio>(), of::<Compio>(), of::<Scheduler>()]
}
