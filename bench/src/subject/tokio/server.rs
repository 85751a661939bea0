//! A task per connection, and the load as a task beside them.

use std::io;
use std::net;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::local::Local;
use crate::load::Load;
use crate::progress::Progress;
use crate::subject::Server;

/// Spawns what serves a connection for each of them.
pub(super) fn start<F: Future<Output = ()> + 'static>(
    local: Local,
    connections: Vec<net::TcpStream>,
    serve: impl Fn(TcpStream, Rc<Progress>) -> F,
) -> io::Result<Box<dyn Server>> {
    let progress = Rc::new(Progress::default());
    local.block_on(async {
        for connection in connections {
            connection.set_nonblocking(true)?;
            spawn_local(serve(TcpStream::from_std(connection)?, Rc::clone(&progress)));
        }
        io::Result::Ok(())
    })?;
    Ok(Box::new(Tokio { local, progress }))
}

struct Tokio {
    local: Local,
    progress: Rc<Progress>,
}

impl Server for Tokio {
    fn turn(&mut self, load: &Rc<Load>, times: usize) -> Duration {
        let turn = Rc::clone(load).turn_inside(Rc::clone(&self.progress), times);
        self.local.block_on_task(turn)
    }
}
