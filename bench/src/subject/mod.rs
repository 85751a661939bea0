//! Who does the work: what a subject must offer, and the list of them all.
//!
//! Each subject is written as its own documentation recommends, in a file of at most 80 lines (with
//! a second room for a second kind of work), for the same protocol and the same load.

mod asyncoro;
mod epoll;
mod tokio;

use std::io;
use std::net::TcpStream;
use std::process;
use std::rc::Rc;
use std::time::Duration;

use crate::load::Load;

/// A subject and the kinds of work it takes part in.
pub(crate) struct Subject {
    /// Its name in the report.
    pub(crate) name: String,
    /// Sends back what it receives.
    pub(crate) echo: Option<MakeServer>,
    /// Sends messages back, many in flight.
    pub(crate) messages: Option<MakeServer>,
    /// Sends messages back and holds as little as it can for a connection that waits.
    pub(crate) idle: Option<MakeServer>,
    /// Coroutines without any socket.
    pub(crate) coroutines: Option<MakeCoroutines>,
}

/// Makes a server of these connections (blocking sockets); the number is the length of its buffers:
/// twice what a connection receives at once, so that a short read shows that all was received.
pub(crate) type MakeServer = fn(Vec<TcpStream>, usize) -> io::Result<Box<dyn Server>>;
/// Makes a runtime for coroutines.
pub(crate) type MakeCoroutines = fn() -> io::Result<Box<dyn Coroutines>>;

/// The server end of the connections of a load.
pub(crate) trait Server {
    /// Answers the load so many times round and returns the time this took, through
    /// [`Load::turn`] or [`Load::turn_inside`].
    fn turn(&mut self, load: &Rc<Load>, times: usize) -> Duration;
}

/// A runtime for coroutines; each method returns the time its work took, entering the runtime not
/// included.
pub(crate) trait Coroutines {
    /// Spawns a coroutine that does nothing and waits for it, so many times.
    fn spawn_and_join(&mut self, times: usize) -> Duration;
    /// Spawns so many coroutines that do nothing, then waits for each.
    fn spawn_together(&mut self, coroutines: usize) -> Duration;
    /// Spawns so many coroutines that yield so often, and waits for them.
    fn yields(&mut self, coroutines: usize, times: usize) -> Duration;
    /// Spawns so many coroutines that wait for ever, and returns when each has begun to.
    fn park(&mut self, coroutines: usize);
}

/// All subjects, those to compare with first; with `again` each a second time under another name.
pub(crate) fn all(again: bool) -> Vec<Subject> {
    let mut subjects = once();
    if again {
        let renamed = |subject: Subject| Subject { name: subject.name + " again", ..subject };
        subjects.extend(once().into_iter().map(renamed));
    }
    subjects
}

fn once() -> Vec<Subject> {
    vec![epoll::subject(), tokio::local_set(), tokio::local_runtime(), asyncoro::subject()]
}

/// Ends the program: a coroutine that only ended itself would let the load wait for ever.
fn fatal<T>(error: io::Error) -> T {
    eprintln!("a subject's connection failed: {error}");
    process::exit(1)
}

/// The bytes before the payload of a message: its length, big-endian.
const HEADER: usize = 4;
