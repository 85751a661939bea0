//! The clients of a server in another process: each has some requests in flight, and sends the next
//! one when an answer has come.
//!
//! An answer is the request itself, or something else of a fixed length ([`Answer`]).

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::retry_on_intr;

/// The connections that load a server.
pub(crate) struct Clients {
    epoll: OwnedFd,
    events: Vec<Event>,
    connections: Vec<Connection>,
    /// One request more than each connection has in flight, so that all answers that come together
    /// are a slice of it, wherever they begin.
    requests: Vec<u8>,
    size: usize,
    in_flight: usize,
    answer: Answer,
    /// The buffer for answers.
    room: Vec<u8>,
}

/// What a server answers.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// The request.
    Same,
    /// So many bytes, which begin with these. Only one request may be in flight.
    Begins(&'static [u8], usize),
}

struct Connection {
    stream: TcpStream,
    /// How many bytes of an incomplete answer have come.
    partly: usize,
}

impl Clients {
    /// Connects, with a number of these requests in flight on each connection.
    pub(crate) fn new(
        streams: Vec<TcpStream>,
        request: &[u8],
        in_flight: usize,
        answer: Answer,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(streams.len());
        for (index, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            connections.push(Connection { stream, partly: 0 });
        }
        let (requests, size) = (request.repeat(in_flight + 1), request.len());
        let answer_size = answer.size(size);
        let (events, room) = (Vec::with_capacity(1024), vec![0; 2 * answer_size * in_flight]);
        Ok(Self { epoll, events, connections, requests, size, in_flight, answer, room })
    }

    /// Keeps the requests in flight for a time, then waits for the last answers. Returns how many
    /// were answered.
    pub(crate) fn load(&mut self, time: Duration) -> io::Result<usize> {
        self.load_and_note(time, |_| ())
    }

    /// Does the same, with one request in flight on each connection; returns how long each answer
    /// took, but for the first ones, whose requests are sent one after the other.
    pub(crate) fn time_answers(&mut self, time: Duration) -> io::Result<Vec<Duration>> {
        let mut sent = vec![None; self.connections.len()];
        let mut times = Vec::with_capacity(100_000);
        self.load_and_note(time, |connection| {
            let now = Instant::now();
            times.extend(sent[connection].replace(now).map(|sent| now - sent));
        })?;
        Ok(times)
    }

    /// `note` is called with the number of the connection when an answer has come, before the next
    /// request is sent.
    fn load_and_note(&mut self, time: Duration, mut note: impl FnMut(usize)) -> io::Result<usize> {
        let until = Instant::now() + time;
        for connection in &mut self.connections {
            connection.send(&self.requests[..self.in_flight * self.size])?;
        }
        let mut in_flight = self.connections.len() * self.in_flight;
        let mut answered = 0;
        while in_flight > 0 {
            self.wait()?;
            let goes_on = Instant::now() < until;
            for event in &self.events {
                let number = event.data.u64() as usize;
                let connection = &mut self.connections[number];
                let answers = match self.answer {
                    Answer::Same => {
                        connection.receive(&mut self.room, self.size, |at, bytes| {
                            self.requests[at..].starts_with(bytes)
                        })?
                    }
                    Answer::Begins(begin, size) => {
                        connection.receive(&mut self.room, size, |at, bytes| {
                            at > 0 || bytes.starts_with(begin)
                        })?
                    }
                };
                answered += answers;
                if answers > 0 {
                    note(number);
                }
                if goes_on {
                    connection.send(&self.requests[..answers * self.size])?;
                } else {
                    in_flight -= answers;
                }
            }
        }
        Ok(answered)
    }

    fn wait(&mut self) -> io::Result<()> {
        self.events.clear();
        let patience = Timespec::try_from(PATIENCE).expect("a few seconds");
        let events = || epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&patience));
        match retry_on_intr(events)? {
            0 => Err(io::Error::new(ErrorKind::TimedOut, "a server does not answer")),
            _ => Ok(()),
        }
    }
}

impl Connection {
    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        // All in flight fit into the socket's buffer.
        self.stream.write_all(requests)
    }

    /// Receives once; returns how many answers are complete now. `fits` tells whether bytes that
    /// come after so many of an answer are what is expected.
    fn receive(
        &mut self,
        room: &mut [u8],
        size: usize,
        fits: impl FnOnce(usize, &[u8]) -> bool,
    ) -> io::Result<usize> {
        let received = self.stream.read(room)?;
        if received == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if !fits(self.partly, &room[..received]) {
            return Err(io::Error::new(ErrorKind::InvalidData, "that is not the answer"));
        }
        let all = self.partly + received;
        self.partly = all % size;
        Ok(all / size)
    }
}

impl Answer {
    fn size(self, request: usize) -> usize {
        match self {
            Answer::Same => request,
            Answer::Begins(_, size) => size,
        }
    }
}

/// Far longer than loopback ever takes.
const PATIENCE: Duration = Duration::from_secs(5);
