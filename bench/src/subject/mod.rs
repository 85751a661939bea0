//! The subjects: the runtimes, each in a file of its own, and the loops written by hand.
//!
//! Each runtime is used as its own documentation recommends, for the same protocol and load.
//! asyncoro is the last of each list; the first is the one the others are compared with.

mod asyncoro;
mod compio;
mod epoll;
mod floor;
mod framed;
mod monoio;
mod primitives;
pub(crate) mod smol;
pub(crate) mod tokio;

use std::io;

use ::asyncoro::coro::Scheduler;

use crate::arrivals::{MakeAccepting, accepting as accept};
use crate::bulk;
use crate::coroutines::Coroutines;
use crate::files::FileWork;
use crate::flight::{MakeAnswering, plain};
use crate::hyper::{self, Hyper};
use crate::listening::{self, Listen};
use crate::primitives::{On, Primitives, Synchronizing};
use crate::runtime::{Channel, Files, Net, Runtime};
use crate::served::{MakeServer, echo, echo_in_time, fatal, lean, messages, serve};
use compio::Compio;
use monoio::Monoio;
use smol::Smol;
use tokio::Tokio;

/// A subject, and a function that sets it up.
#[derive(Clone)]
pub(crate) struct Subject<M> {
    /// Its name in the report.
    pub(crate) name: String,
    /// Sets it up.
    pub(crate) make: M,
}

/// Makes a runtime for coroutines.
pub(crate) type MakeCoroutines = fn() -> io::Result<Box<dyn Coroutines>>;

/// Makes a runtime for files.
pub(crate) type MakeFileWork = fn() -> io::Result<Box<dyn FileWork>>;
/// Makes a library of locks and channels, with its runtime.
pub(crate) type MakePrimitives = fn() -> io::Result<Box<dyn Synchronizing>>;

/// Returns the function that sets up the subject of this name.
pub(crate) fn find<M>(subjects: Vec<Subject<M>>, name: &str) -> io::Result<M> {
    let found = subjects.into_iter().find(|subject| subject.name == name);
    let found = found.ok_or_else(|| io::Error::other(format!("no subject {name:?} here")))?;
    Ok(found.make)
}

fn subject<M>(name: &str, make: M) -> Subject<M> {
    Subject { name: name.to_owned(), make }
}

/// Subjects that send back what they receive.
pub(crate) fn echoing() -> Vec<Subject<MakeServer>> {
    fn of<R: Net>() -> Subject<MakeServer> {
        subject(R::NAME, echo::<R> as MakeServer)
    }
    vec![
        subject("epoll", epoll::echo),
        subject("floor", floor::echo),
        of::<Tokio>(),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        of::<Scheduler>(),
    ]
}

/// Subjects that accept connections and send back what they receive.
pub(crate) fn listening() -> Vec<Subject<Listen>> {
    fn of<R: Net>() -> Subject<Listen> {
        subject(R::NAME, listening::echo::<R> as Listen)
    }
    vec![
        subject("epoll", epoll::accepting::listen),
        of::<Tokio>(),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        of::<Scheduler>(),
    ]
}

/// Subjects that hyper runs on.
pub(crate) fn speaking_http() -> Vec<Subject<Listen>> {
    fn of<R: Hyper>() -> Subject<Listen> {
        subject(R::NAME, hyper::greet::<R> as Listen)
    }
    vec![of::<Tokio>(), of::<Smol>(), of::<Scheduler>()]
}

/// Subjects that send many bytes.
pub(crate) fn sending() -> Vec<Subject<bulk::Serve>> {
    fn of<R: Net>() -> Subject<bulk::Serve> {
        subject(R::NAME, bulk::sends::<R> as bulk::Serve)
    }
    vec![
        subject("epoll", epoll::bulk::sends),
        of::<Tokio>(),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        of::<Scheduler>(),
    ]
}

/// Subjects that receive many bytes.
pub(crate) fn receiving() -> Vec<Subject<bulk::Serve>> {
    fn of<R: Net>() -> Subject<bulk::Serve> {
        subject(R::NAME, bulk::receives::<R> as bulk::Serve)
    }
    vec![
        subject("epoll", epoll::bulk::receives),
        of::<Tokio>(),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        of::<Scheduler>(),
        subject("asyncoro recv_with", asyncoro::bulk::receives),
    ]
}

/// Subjects that send messages back.
pub(crate) fn messaging() -> Vec<Subject<MakeServer>> {
    fn of<R: Net>() -> Subject<MakeServer> {
        subject(R::NAME, messages::<R> as MakeServer)
    }
    vec![
        subject("epoll", epoll::messages),
        subject("floor", floor::messages),
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

/// Subjects that wait for messages with as little memory as possible.
pub(crate) fn idling() -> Vec<Subject<MakeServer>> {
    fn of<R: Net>() -> Subject<MakeServer> {
        subject(R::NAME, lean::<R> as MakeServer)
    }
    vec![
        of::<Tokio>(),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        subject(Scheduler::NAME, asyncoro::verbs::idle as MakeServer),
    ]
}

/// Subjects that have coroutines.
pub(crate) fn coroutines() -> Vec<Subject<MakeCoroutines>> {
    fn of<R: Channel>() -> Subject<MakeCoroutines> {
        subject(R::NAME, || Ok(Box::new(R::new()?)))
    }
    vec![of::<Tokio>(), of::<Smol>(), of::<Monoio>(), of::<Compio>(), of::<Scheduler>()]
}

/// Subjects that have files and processes.
pub(crate) fn files() -> Vec<Subject<MakeFileWork>> {
    fn of<R: Files>() -> Subject<MakeFileWork> {
        subject(R::NAME, || Ok(Box::new(R::new()?)))
    }
    vec![of::<Tokio>(), of::<Smol>(), of::<Scheduler>()]
}

/// Libraries of locks and channels.
pub(crate) fn primitives() -> Vec<Subject<MakePrimitives>> {
    fn of<P: Primitives>() -> Subject<MakePrimitives> {
        subject(P::NAME, || Ok(Box::new(On::<P>(P::On::new()?))))
    }
    use primitives::{OfLocalSync, OfOneThread, OfSmol, OfThreads, OfTokio};
    vec![
        of::<OfTokio>(),
        of::<OfSmol>(),
        of::<OfLocalSync>(),
        of::<OfThreads>(),
        of::<OfOneThread>(),
    ]
}

/// Subjects that send back what they receive, asyncoro by each of its verbs.
pub(crate) fn verbs() -> Vec<Subject<MakeServer>> {
    let mut subjects = echoing();
    let recv = subjects.last_mut().expect("asyncoro is the last");
    recv.name = "asyncoro recv".to_owned();
    subjects.push(subject("asyncoro recv_bytes", asyncoro::verbs::recv_bytes));
    subjects.push(subject("asyncoro recv_with", asyncoro::verbs::recv_with));
    subjects
}

/// Subjects that send back what they receive, with a timeout and without.
pub(crate) fn in_time() -> Vec<Subject<MakeServer>> {
    fn of<R: Net>() -> [Subject<MakeServer>; 2] {
        let without = subject(&format!("{} without", R::NAME), echo::<R> as MakeServer);
        [without, subject(R::NAME, echo_in_time::<R> as MakeServer)]
    }
    let [without, _] = of::<Scheduler>();
    let with: MakeServer = asyncoro::verbs::with_timeout;
    let peers = [of::<Tokio>(), of::<Smol>(), of::<Monoio>(), of::<Compio>()];
    let asyncoro = [without, subject(Scheduler::NAME, with)];
    asyncoro.into_iter().chain(peers.into_iter().flatten()).collect()
}

/// Subjects that send datagrams back.
pub(crate) fn datagrams() -> Vec<Subject<MakeAnswering>> {
    fn of<R: Net>() -> Subject<MakeAnswering> {
        subject(R::NAME, plain::<R> as MakeAnswering)
    }
    vec![
        subject("epoll", epoll::datagrams::echo),
        of::<Tokio>(),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        of::<Scheduler>(),
        subject("asyncoro batch", asyncoro::verbs::batch),
    ]
}

/// Subjects that accept connections.
pub(crate) fn accepting() -> Vec<Subject<MakeAccepting>> {
    fn of<R: Net>() -> Subject<MakeAccepting> {
        subject(R::NAME, accept::<R> as MakeAccepting)
    }
    vec![
        subject("epoll", epoll::accepting::serve),
        of::<Tokio>(),
        of::<Smol>(),
        of::<Monoio>(),
        of::<Compio>(),
        of::<Scheduler>(),
    ]
}
