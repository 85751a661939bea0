//! A coroutine per connection, and how the load drives them.

use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use asyncoro::coro::Scheduler;
use asyncoro::{AsyncSocket, spawn};

use crate::load::Load;
use crate::progress::Progress;
use crate::subject::Server;

/// Spawns what serves a connection for each of them.
pub(super) fn start<F: Future<Output = ()> + 'static>(
    connections: Vec<TcpStream>,
    serve: impl Fn(AsyncSocket, Rc<Progress>) -> F,
) -> io::Result<(Scheduler, Rc<Progress>)> {
    let (scheduler, progress) = (Scheduler::new()?, Rc::new(Progress::default()));
    scheduler.enter(async {
        for connection in connections {
            drop(spawn(serve(AsyncSocket::new(connection)?, Rc::clone(&progress))));
        }
        io::Result::Ok(())
    })?;
    Ok((scheduler, progress))
}

/// The load is the scheduler's main coroutine: its answers are sent when they are counted.
pub(super) struct Echo {
    pub(super) scheduler: Scheduler,
    pub(super) progress: Rc<Progress>,
}

impl Server for Echo {
    fn turn(&mut self, load: &Rc<Load>, times: usize) -> Duration {
        self.scheduler.enter(Rc::clone(load).turn_inside(Rc::clone(&self.progress), times))
    }
}

/// Entered anew for each time round: messages leave at the end of the scheduler's turn, after the
/// coroutines counted them and before `enter` returns, so the time has their sending in it.
pub(super) struct Messages {
    pub(super) scheduler: Scheduler,
    pub(super) progress: Rc<Progress>,
}

impl Server for Messages {
    fn turn(&mut self, load: &Rc<Load>, times: usize) -> Duration {
        load.turn(times, |bytes| self.scheduler.enter(self.progress.another(bytes)))
    }
}
