//! Accepting by hand: a level-triggered listener, edge-triggered connections in a slab.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::retry_on_intr;
use rustix::net::{SocketFlags, accept_with};

use crate::arrivals::{Arrivals, ROOM, Turn};
use crate::served::fatal;

/// Accepts, answers once on each connection, closes at its end.
pub(crate) fn serve(listener: TcpListener, arrivals: Rc<Arrivals>) -> io::Result<Turn> {
    let mut server = Accepting::new(listener, arrivals.echo(), ROOM)?;
    Ok(Box::new(move |times| arrivals.turn(times, |n| server.serve(n).unwrap_or_else(fatal))))
}

/// Accepts and sends back what it receives, forever.
pub(crate) fn listen(listener: TcpListener, length: usize) -> io::Result<()> {
    let mut server = Accepting::new(listener, true, length)?;
    loop {
        server.serve(usize::MAX)?;
    }
}

struct Accepting {
    epoll: OwnedFd,
    listener: TcpListener,
    events: Vec<Event>,
    slab: Vec<Option<(TcpStream, Vec<u8>)>>,
    free: Vec<usize>,
    echo: bool,
    room: usize,
}

impl Accepting {
    fn new(listener: TcpListener, echo: bool, room: usize) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let (events, slab, free) = (Vec::with_capacity(1024), Vec::new(), Vec::new());
        Ok(Self { epoll, listener, events, slab, free, echo, room })
    }

    /// Runs until a number of connections were accepted (without echo), answered or closed.
    fn serve(&mut self, mut connections: usize) -> io::Result<()> {
        while connections > 0 {
            self.events.clear();
            retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(&mut self.events), None))?;
            for place in 0..self.events.len() {
                connections -= match self.events[place].data.u64() {
                    LISTENER => self.accept()?,
                    index => self.answer(index as usize),
                };
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<usize> {
        let mut accepted = 0;
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let stream = match accept_with(&self.listener, flags).map_err(io::Error::from) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(accepted),
                other => TcpStream::from(other?),
            };
            if !self.echo {
                accepted += 1;
                continue;
            }
            let index = self.free.pop().unwrap_or(self.slab.len());
            let data = EventData::new_u64(index as u64);
            epoll::add(&self.epoll, &stream, data, EventFlags::IN | EventFlags::ET)?;
            self.slab.resize_with(self.slab.len().max(index + 1), || None);
            self.slab[index] = Some((stream, vec![0; self.room]));
        }
    }

    /// Answers or closes a connection.
    fn answer(&mut self, index: usize) -> usize {
        let (stream, buffer) = self.slab[index].as_mut().expect("an event of a connection");
        if let Ok(received) = super::answer(stream, buffer) {
            return received.min(1);
        }
        self.slab[index] = None;
        self.free.push(index);
        1
    }
}

const LISTENER: u64 = u64::MAX;
