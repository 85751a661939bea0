//! The only place that makes socket system calls: the seam where a simulated network will plug in.
//!
//! Every call that moves data says `MSG_DONTWAIT | MSG_NOSIGNAL`, so that it never blocks whatever
//! mode the descriptor is in: a converted descriptor may be shared with blocking code. Only
//! connect(2) and accept(2) have no such flag; for them `O_NONBLOCK` is set, and taken back on
//! every way out: closed, dropped, given away. Interrupted calls are made again. The failure of a
//! connection is kept, so that everybody hears of it. Nothing else is hidden.
//!
//! What an error means is in `errno.rs`, how a failure is kept in `failure.rs`, how an attempt to
//! connect is asked after in `connect.rs`. Whose the descriptor is, is in `descriptor.rs`. Calls
//! for many datagrams at once are in `batch.rs`, which of them leave as one in `segments.rs`, the
//! kernel's form of addresses in `address.rs`.
//!
//! Unsafe: dup3(2), with which a closed socket keeps its number (elsewhere dup2 and fcntl), and the
//! way to `descriptor.rs`.
#![allow(unsafe_code)]

mod address;
mod batch;
mod connect;
mod descriptor;
mod errno;
mod failure;
mod over;
#[cfg(target_os = "linux")]
mod segments;

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    sync::atomic::AtomicU16,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    net::{self, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags},
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

pub(crate) use self::over::LATER;
#[cfg(feature = "tls")]
pub(crate) use self::over::is_transient;
pub(crate) use self::{
    address::unnamed,
    batch::{MANY, Received},
    errno::{Call, Meaning, meaning},
};
use self::{
    address::{address, with_address},
    descriptor::Descriptor,
};
use super::secure::Secure;
use crate::{addr::Address, fork::Global};

/// Which direction a verb uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// What a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    family: Family,
    shape: Shape,
}

/// How a socket carries bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// On a connection, without borders.
    Stream,
    /// On a connection, in records.
    Packets,
    /// In datagrams, or whatever else there is.
    Datagrams,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Internet,
    Unix,
    Other,
}

impl Kind {
    fn of(socket: &Socket) -> io::Result<Kind> {
        let kind = socket.r#type()?;
        let usual = [Type::STREAM, Type::DGRAM].contains(&kind);
        let family = match domain(socket)? {
            Domain::IPV4 | Domain::IPV6 if kind == Type::STREAM && !speaks_tcp(socket) => {
                Family::Other
            }
            Domain::IPV4 | Domain::IPV6 if usual => Family::Internet,
            Domain::UNIX if usual || kind == Type::SEQPACKET => Family::Unix,
            _ => Family::Other,
        };
        let shape = match kind {
            Type::STREAM => Shape::Stream,
            Type::SEQPACKET => Shape::Packets,
            _ => Shape::Datagrams,
        };
        Ok(Kind { family, shape })
    }

    /// Whether bytes flow without borders.
    pub(crate) fn is_stream(self) -> bool {
        self.shape == Shape::Stream
    }

    /// Whether there are connections, and so listeners.
    pub(crate) fn is_connected(self) -> bool {
        self.shape != Shape::Datagrams
    }

    /// Whether it is TCP, of which alone a short read means that the socket is drained.
    pub(crate) fn is_tcp(self) -> bool {
        self.is_stream() && self.family == Family::Internet
    }

    /// Whether it is a Unix socket, of which the system does not always tell when there is room.
    pub(crate) fn is_unix(self) -> bool {
        self.family == Family::Unix
    }

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match (self.family, self.shape) {
            (Family::Internet, Shape::Stream) => "TCP socket",
            (Family::Internet, _) => "UDP socket",
            (Family::Unix, Shape::Stream) => "Unix stream socket",
            (Family::Unix, Shape::Packets) => "Unix seqpacket socket",
            (Family::Unix, Shape::Datagrams) => "Unix datagram socket",
            (Family::Other, Shape::Stream) => "stream socket",
            (Family::Other, Shape::Packets) => "seqpacket socket",
            (Family::Other, Shape::Datagrams) => "socket of another kind",
        }
    }
}

/// A socket's descriptor and what the kernel can be asked about it.
pub(crate) struct Sys {
    fd: Descriptor,
    kind: Kind,
    /// The error that has ended its connection, which the kernel tells once; 0 while there is none.
    failed: AtomicU16,
    /// Whether an attempt to connect was given up for another one.
    dissolved: connect::Dissolved,
    /// What the kernel cuts into datagrams.
    #[cfg(target_os = "linux")]
    longest: segments::Longest,
    /// What it knows of TLS, if anything.
    tls: Option<Box<Secure>>,
}

type Result<T> = std::result::Result<T, Errno>;

impl Sys {
    /// Takes a descriptor that must be a socket.
    pub(crate) fn new(socket: impl Into<Socket>) -> io::Result<Sys> {
        let socket = socket.into();
        let kind = Kind::of(&socket)?;
        Ok(Sys::of(Descriptor::own(socket.into()), kind))
    }

    /// Borrows a descriptor that must be a socket.
    ///
    /// # Safety
    /// It stays open until this is buried, given away or dropped.
    pub(crate) unsafe fn borrow(fd: RawFd) -> io::Result<Sys> {
        // SAFETY: the caller's.
        let fd = unsafe { Descriptor::borrow(fd) };
        let kind = Kind::of(&SockRef::from(&fd))?;
        Ok(Sys::of(fd, kind))
    }

    /// Makes a socket, closed on exec.
    pub(crate) fn open(domain: Domain, kind: Type) -> io::Result<Sys> {
        Sys::new(Socket::new(domain, kind, None::<Protocol>)?)
    }

    fn of(fd: Descriptor, kind: Kind) -> Sys {
        // It fails where the connection has ended already, and nothing can be sent.
        #[cfg(target_vendor = "apple")]
        let _ = SockRef::from(&fd).set_nosigpipe(true);
        Sys {
            fd,
            kind,
            failed: AtomicU16::new(0),
            dissolved: connect::Dissolved::default(),
            #[cfg(target_os = "linux")]
            longest: segments::Longest::default(),
            tls: None,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.fd)
    }

    /// Gives the descriptor to a new owner and goes on borrowing it; `None` if it was borrowed.
    ///
    /// # Safety
    /// As [`Sys::borrow`] says.
    pub(crate) unsafe fn disown(&self) -> Option<OwnedFd> {
        // SAFETY: the caller's.
        unsafe { self.fd.disown() }
    }

    /// Whether somebody else owns the descriptor.
    pub(crate) fn is_borrowed(&self) -> bool {
        !self.fd.is_owned()
    }

    /// Gives the descriptor away as it came; it must not be a borrowed one.
    pub(crate) fn into_socket(self) -> Socket {
        self.fd.into_owned().expect("a borrowed socket is not taken apart").into()
    }

    /// Lets go of the socket but keeps a number: an inert descriptor takes its place, until this is
    /// dropped. What is owned is closed by that.
    ///
    /// So whoever has borrowed the descriptor never holds a number that has become somebody else's.
    pub(crate) fn bury(&self) {
        if !self.fd.bury() {
            // No descriptor was left: at least nobody hears of this one any more.
            let _ = self.shutdown(Shutdown::Both);
        }
    }

    // ---- streams

    /// Receives into `buffer`.
    #[inline]
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        if self.is_covered() { self.recv_over(buffer) } else { self.recv_raw(buffer) }
    }

    /// recv(2) into `buffer`.
    #[inline]
    pub(crate) fn recv_raw(&self, buffer: &mut [u8]) -> Result<usize> {
        let got = again(|| {
            net::recv(&self.fd, &mut *buffer, RecvFlags::DONTWAIT).map(|(count, _)| count)
        });
        self.heard(got)
    }

    /// Receives into memory that is not initialised; so many of its first bytes are then.
    pub(crate) fn recv_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> Result<usize> {
        if let Some(tls) = self.secure() {
            let mut rest = buffer.iter_mut();
            return tls.read(self, rest.len(), &mut |bytes| {
                for (byte, place) in bytes.iter().zip(rest.by_ref()) {
                    place.write(*byte);
                }
            });
        }
        let got = again(|| {
            net::recv(&self.fd, &mut *buffer, RecvFlags::DONTWAIT).map(|(_, count)| count)
        });
        self.heard(got)
    }

    /// Receives into the free capacity of `buffer`, at most `max` bytes.
    pub(crate) fn recv_spare(&self, buffer: &mut Vec<u8>, max: usize) -> Result<usize> {
        if let Some(tls) = self.secure() {
            return tls.read(self, max, &mut |bytes| buffer.extend_from_slice(bytes));
        }
        let before = buffer.len();
        if max < buffer.capacity() - before {
            // The kernel must not see more room than this, and a vector cannot lend a part of its
            // spare capacity without unsafe code; filling it costs less than a second copy.
            buffer.resize(before + max, 0);
            let result = self.recv(&mut buffer[before..]);
            buffer.truncate(before + *result.as_ref().unwrap_or(&0));
            return result;
        }
        let got = again(|| {
            let spare = rustix::buffer::spare_capacity(&mut *buffer);
            net::recv(&self.fd, spare, RecvFlags::DONTWAIT).map(|(count, _)| count)
        });
        self.heard(got)
    }

    /// Receives, but leaves the bytes where they are.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> Result<usize> {
        if let Some(tls) = self.secure() {
            return tls.peek(self, buffer);
        }
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        self.heard(again(|| net::recv(&self.fd, &mut *buffer, flags).map(|(count, _)| count)))
    }

    /// Receives into several buffers.
    pub(crate) fn recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        if let Some(tls) = self.secure() {
            let max = buffers.iter().map(|buffer| buffer.len()).sum();
            let mut buffers = buffers.iter_mut().flat_map(|buffer| buffer.iter_mut());
            return tls.read(self, max, &mut |bytes| {
                bytes.iter().zip(&mut buffers).for_each(|(byte, place)| *place = *byte);
            });
        }
        self.heard(again(|| {
            let control = &mut RecvAncillaryBuffer::default();
            net::recvmsg(&self.fd, buffers, control, RecvFlags::DONTWAIT).map(|got| got.bytes)
        }))
    }

    /// Sends `buffer`.
    #[inline]
    pub(crate) fn send(&self, buffer: &[u8]) -> Result<usize> {
        if self.is_covered() { self.send_over(buffer) } else { self.send_raw(buffer) }
    }

    /// send(2).
    #[inline]
    pub(crate) fn send_raw(&self, buffer: &[u8]) -> Result<usize> {
        self.told(again(|| net::send(&self.fd, buffer, SEND)))
    }

    /// Sends from several buffers.
    pub(crate) fn send_vectored(&self, buffers: &[IoSlice<'_>]) -> Result<usize> {
        if let Some(tls) = self.secure() {
            return tls.send_vectored(self, buffers);
        }
        let control = &mut SendAncillaryBuffer::default();
        self.told(again(|| net::sendmsg(&self.fd, buffers, control, SEND)))
    }

    // ---- datagrams

    /// recvfrom(2), which costs less than recvmsg(2), a good 100 ns.
    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, Address)> {
        again(|| {
            let (got, _, from) = net::recvfrom(&self.fd, &mut *buffer, RecvFlags::DONTWAIT)?;
            Ok((got, from.as_ref().map_or_else(unnamed, address)))
        })
    }

    /// recvmsg(2); the last value tells whether the datagram was longer than `buffer`.
    #[cfg(not(target_os = "linux"))]
    fn recv_whole(&self, buffer: &mut [u8]) -> Result<(usize, Address, bool)> {
        again(|| {
            let mut parts = [IoSliceMut::new(buffer)];
            let control = &mut RecvAncillaryBuffer::default();
            let got = net::recvmsg(&self.fd, &mut parts, control, RecvFlags::DONTWAIT)?;
            let truncated = got.flags.contains(net::ReturnFlags::TRUNC);
            Ok((got.bytes, got.address.as_ref().map_or_else(unnamed, address), truncated))
        })
    }

    /// sendto(2).
    ///
    /// Always inlined: measured 3,250 ns for a datagram received and sent back, 3,810 with a call
    /// around the system call, in turns on one AMD machine.
    #[inline(always)]
    pub(crate) fn send_to(&self, buffer: &[u8], to: &Address) -> Result<usize> {
        again(|| with_address(to, |to| net::sendto(&self.fd, buffer, SEND, &to))?)
    }

    // ---- connections

    pub(crate) fn bind(&self, to: &Address) -> Result<()> {
        with_address(to, |to| net::bind(&self.fd, &to))?
    }

    pub(crate) fn listen(&self, backlog: i32) -> Result<()> {
        net::listen(&self.fd, backlog)
    }

    /// accept4(2).
    pub(crate) fn accept(&self) -> Result<(Sys, Address)> {
        self.fd.make_nonblocking()?;
        let (fd, from) = again(|| accept_from(&self.fd))?;
        Ok((Sys::of(Descriptor::own(fd), self.kind), from.as_ref().map_or_else(unnamed, address)))
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> Result<()> {
        if let (Shutdown::Read | Shutdown::Both, Some(tls)) = (how, self.secure()) {
            tls.stop_reading();
        }
        self.shutdown_raw(how)
    }

    /// Bytes that were sent and that the peer's system has not acknowledged, the end among them;
    /// `None` where the system does not tell.
    #[cfg(feature = "tls")]
    pub(crate) fn unacknowledged(&self) -> Option<u32> {
        #[cfg(target_os = "linux")]
        {
            let mut count: libc::c_int = 0;
            let number = std::os::fd::AsRawFd::as_raw_fd(&self.fd);
            // SAFETY: the call writes an int (tcp(7), SIOCOUTQ, which is the same number).
            let answer = unsafe { libc::ioctl(number, libc::TIOCOUTQ, &raw mut count) };
            (answer == 0).then_some(count.unsigned_abs())
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Makes it own its descriptor, a duplicate if it has borrowed it.
    #[cfg(feature = "tls")]
    pub(crate) fn into_own(mut self) -> io::Result<Sys> {
        if self.is_borrowed() {
            self.fd = Descriptor::own(self.fd().try_clone_to_owned()?);
        }
        Ok(self)
    }

    /// shutdown(2).
    pub(crate) fn shutdown_raw(&self, how: Shutdown) -> Result<()> {
        net::shutdown(
            &self.fd,
            match how {
                Shutdown::Read => net::Shutdown::Read,
                Shutdown::Write => net::Shutdown::Write,
                Shutdown::Both => net::Shutdown::Both,
            },
        )
    }

    pub(crate) fn local_addr(&self) -> Result<Address> {
        Ok(address(&net::getsockname(&self.fd)?))
    }

    pub(crate) fn peer_addr(&self) -> Result<Address> {
        Ok(net::getpeername(&self.fd)?.as_ref().map_or_else(unnamed, address))
    }

    // ---- waiting, for the blocking twin

    /// poll(2) for one direction; `false` when `timeout` is over first, `None` when a signal has
    /// interrupted it.
    pub(crate) fn wait(
        &self,
        direction: Direction,
        timeout: Option<Duration>,
    ) -> Result<Option<bool>> {
        let flags = match direction {
            Direction::Read => READABLE,
            Direction::Write => PollFlags::OUT,
        };
        let time = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut polled = [PollFd::new(&self.fd, flags)];
        match rustix::event::poll(&mut polled, time.as_ref()) {
            Ok(_) if polled[0].revents() == PollFlags::ERR => self.wait_beside_errors(timeout),
            Ok(count) => Ok(Some(count > 0)),
            Err(Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What poll(2) tells while the error queue of the socket has something, whatever it is asked:
    /// that is no readiness, and waiting would end at once. So the caller tries again, and not too
    /// often.
    #[cold]
    fn wait_beside_errors(&self, timeout: Option<Duration>) -> Result<Option<bool>> {
        if timeout == Some(Duration::ZERO) {
            return Ok(Some(false));
        }
        thread::sleep(timeout.map_or(BESIDE_ERRORS, |timeout| timeout.min(BESIDE_ERRORS)));
        Ok(None)
    }

    /// Whether a read would not wait, without TLS.
    pub(crate) fn is_readable_raw(&self) -> Result<bool> {
        let mut polled = [PollFd::new(&self.fd, READABLE)];
        match again(|| rustix::event::poll(&mut polled, Some(&Timespec::default()))) {
            Ok(0) => Ok(false),
            // An error that a read would tell, or something in the error queue, which none does.
            Ok(_) if polled[0].revents() == PollFlags::ERR => match self.peek(&mut [0]) {
                Ok(_) => Ok(true),
                Err(Errno::AGAIN) => Ok(false),
                Err(error) => Err(error),
            },
            Ok(_) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// How often a thread looks whether it can go on while the error queue has something.
const BESIDE_ERRORS: Duration = Duration::from_millis(1);

#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Apple's systems have no such flag; [`Sys::of`] sets the option that does the same.
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

#[cfg(not(target_vendor = "apple"))]
const READABLE: PollFlags = PollFlags::IN.union(PollFlags::RDHUP);

/// Apple's systems report the end of a stream as readable, and have no other name for it.
#[cfg(target_vendor = "apple")]
const READABLE: PollFlags = PollFlags::IN;

/// accept4(2), closed on exec.
#[cfg(not(target_vendor = "apple"))]
fn accept_from(listener: &Descriptor) -> Result<(OwnedFd, Option<net::SocketAddrAny>)> {
    net::acceptfrom_with(listener, net::SocketFlags::CLOEXEC)
}

/// accept(2), then closed on exec, where there is no accept4.
#[cfg(target_vendor = "apple")]
fn accept_from(listener: &Descriptor) -> Result<(OwnedFd, Option<net::SocketAddrAny>)> {
    let (fd, from) = net::acceptfrom(listener)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok((fd, from))
}

/// What closed sockets stand for, all of them: nothing that a call can connect, bind or wait on.
/// `None` if no descriptor is left; the next to ask tries again.
fn inert() -> Option<&'static OwnedFd> {
    static INERT: Global<OwnedFd> = Global::new();
    match INERT.get() {
        Some(inert) => Some(inert),
        None => make_inert().map(|made| INERT.get_or_make(|| made)).ok(),
    }
}

/// A descriptor that only names a place: each call of a socket says EBADF, poll(2) POLLNVAL.
fn make_inert() -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags, open};
        if let Ok(place) = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            return Ok(place);
        }
    }
    // Where there is none: one half of a pair, connected for ever to nobody.
    let (half, other) = UnixStream::pair()?;
    drop(other);
    // On some systems it is no longer connected then, and cannot be shut down, nor needs it.
    let _ = half.shutdown(Shutdown::Both);
    Ok(half.into())
}

/// dup3(2), closed on exec.
#[cfg(target_os = "linux")]
unsafe fn replace(with: RawFd, place: RawFd) -> RawFd {
    // SAFETY: the caller's.
    unsafe { libc::dup3(with, place, libc::O_CLOEXEC) }
}

/// dup2(2), then closed on exec, where there is no dup3.
#[cfg(not(target_os = "linux"))]
unsafe fn replace(with: RawFd, place: RawFd) -> RawFd {
    // SAFETY: the caller's.
    unsafe {
        let place = libc::dup2(with, place);
        libc::fcntl(place, libc::F_SETFD, libc::FD_CLOEXEC);
        place
    }
}

/// Makes a call again when a signal has interrupted it.
#[inline]
fn again<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// The family of a socket, which Linux tells through a socket option.
fn domain(socket: &Socket) -> io::Result<Domain> {
    #[cfg(target_os = "linux")]
    return socket.domain();
    #[cfg(not(target_os = "linux"))]
    return socket.local_addr().map(|address| address.domain());
}

/// Whether an Internet stream is TCP and not, say, SCTP. Where the system does not tell, it is not.
#[cfg(target_os = "linux")]
fn speaks_tcp(socket: &Socket) -> bool {
    matches!(socket.protocol(), Ok(Some(Protocol::TCP)))
}

/// Whether an Internet stream is TCP; what other systems have is.
#[cfg(not(target_os = "linux"))]
fn speaks_tcp(_: &Socket) -> bool {
    true
}
