//! Edge-triggered readiness, straight from epoll.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::retry_on_intr;

use crate::served::fatal;

/// An epoll instance with its list of events.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    /// Registers non-blocking sockets under their indices in the list.
    pub(crate) fn new<S: AsFd>(sockets: impl IntoIterator<Item = S>) -> io::Result<Self> {
        Self::of(sockets, EventFlags::IN)
    }

    /// Registers sockets for other events than reading.
    pub(crate) fn of<S: AsFd>(
        sockets: impl IntoIterator<Item = S>,
        events: EventFlags,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for (index, socket) in sockets.into_iter().enumerate() {
            let data = EventData::new_u64(index as u64);
            epoll::add(&epoll, socket, data, events | EventFlags::ET)?;
        }
        Ok(Self { epoll, events: Vec::with_capacity(1024) })
    }

    /// Waits until at least one connection is ready; returns the indices of ready ones.
    pub(crate) fn wait(&mut self) -> impl Iterator<Item = usize> + '_ {
        self.events.clear();
        retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(&mut self.events), None))
            .unwrap_or_else(|error| fatal(error.into()));
        self.events.iter().map(|event| event.data.u64() as usize)
    }
}

/// Makes the connections non-blocking.
pub(crate) fn non_blocking(connections: &[TcpStream]) -> io::Result<&[TcpStream]> {
    connections.iter().try_for_each(|connection| connection.set_nonblocking(true))?;
    Ok(connections)
}
