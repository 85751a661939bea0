//! Peers and callers that misbehave on purpose.
//!
//! Unsafe: bind(2), with names that no safe interface accepts.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::{UnixDatagram, UnixListener},
    },
    panic,
    time::Duration,
};

use asyncoro::{Address, AsyncSocket, BlockingSocket, DatagramBatch, time::timeout};
use rustix::{io::Errno, net};
use socket2::{Domain, Type};

use crate::bounded::run;

/// Binds with a name of any length, without a NUL at its end.
fn bind(socket: &impl AsRawFd, name: &[u8]) {
    // SAFETY: a plain C structure of numbers, for which zero is a value.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as _;
    for (to, from) in address.sun_path.iter_mut().zip(name) {
        *to = *from as _;
    }
    let len = (std::mem::offset_of!(libc::sockaddr_un, sun_path) + name.len()) as u32;
    // SAFETY: the address is at least `len` bytes long and outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    assert_eq!(bound, 0, "{}", io::Error::last_os_error());
}

fn place(tag: &str) -> String {
    format!("/tmp/asyncoro_hostile_{tag}_{}", std::process::id())
}

/// Makes a name of `len` bytes that begins with `begin`.
fn name(begin: &str, len: usize) -> Vec<u8> {
    let mut name = begin.as_bytes().to_vec();
    assert!(name.len() <= len);
    name.resize(len, b'x');
    name
}

fn is_named(address: &Address, name: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Address::Unix(unix) = address else { return false };
    match name {
        [0, name @ ..] => unix.as_abstract_name() == Some(name),
        path => unix.as_path().is_some_and(|has| has.as_os_str().as_bytes() == path),
    }
}

#[test]
fn the_longest_unix_names_that_there_are_come_whole() {
    run(async {
        let at = place("at");
        let near = AsyncSocket::new(UnixDatagram::bind(&at).unwrap()).unwrap();
        let mut batch = DatagramBatch::new(4, 100);
        let path = place("from");
        let hidden = format!("\0{path}");
        let names = [name(&path, 107), name(&path, 108), name(&hidden, 60), name(&hidden, 108)];
        for name in names {
            let far = UnixDatagram::unbound().unwrap();
            bind(&far, &name);
            far.send_to(b"x", &at).unwrap();
            far.send_to(b"y", &at).unwrap();
            let (_, from) = near.recv_from(&mut [0; 10]).await.unwrap();
            near.recv_batch(&mut batch).await.unwrap();
            assert!(is_named(&from, &name), "{from}");
            assert_eq!(from, *batch.iter().next().unwrap().from);
            let own = BlockingSocket::new(far).unwrap().local_addr().unwrap();
            assert_eq!(own, from);
            if let Ok(path) = std::str::from_utf8(&name) {
                let _ = fs::remove_file(path);
            }
        }
        fs::remove_file(at).unwrap();
    });
}

#[test]
fn a_client_with_the_longest_path_is_accepted() {
    run(async {
        let path = place("server");
        let server = AsyncSocket::create_server(path.as_str()).await.unwrap();
        let client = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let long = name(&place("client"), 108);
        bind(&client, &long);
        client.connect(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        let accepted = timeout(Duration::from_secs(5), server.accept()).await.unwrap();
        let (socket, from) = accepted.unwrap();
        assert!(is_named(&from, &long), "{from}");
        assert_eq!(socket.peer_addr().unwrap(), from);
        fs::remove_file(path).unwrap();
        fs::remove_file(std::str::from_utf8(&long).unwrap()).unwrap();
    });
}

/// A buffer that alternately returns one byte at the end of its memory and all of it.
struct Liar {
    memory: [u8; 10],
    calls: Cell<u32>,
}

impl AsRef<[u8]> for Liar {
    fn as_ref(&self) -> &[u8] {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() % 2 == 1 { &self.memory[9..] } else { &self.memory }
    }
}

#[test]
fn a_buffer_that_shows_something_else_each_time_is_asked_once() {
    run(async {
        let far = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let near = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let liar = Liar { memory: [1; 10], calls: Cell::new(0) };
        near.send_batch(&[(liar, far.local_addr().unwrap())]).await.unwrap();
        assert_eq!(far.recv_bytes(100).await.unwrap(), [1].as_slice());
    });
}

#[test]
fn a_batch_larger_than_memory_is_refused_with_a_panic() {
    let made = panic::catch_unwind(|| DatagramBatch::new(usize::MAX / 2 + 1, 2));
    let payload = made.unwrap_err();
    assert!(
        payload.downcast_ref::<String>().is_some_and(|text| text.contains("fits into memory"))
            || payload.downcast_ref::<&str>().is_some_and(|text| text.contains("fits into memory"))
    );
}

#[test]
fn nothing_can_be_done_with_the_descriptor_of_a_closed_socket() {
    let path = place("inert");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let witness = BlockingSocket::open(Domain::UNIX, Type::STREAM).unwrap();
    let socket = BlockingSocket::open(Domain::UNIX, Type::STREAM).unwrap();
    witness.close().unwrap();
    socket.close().unwrap();
    // As a call does that has looked before the close and comes late.
    let to = net::SocketAddrUnix::new(path.as_str()).unwrap();
    assert_eq!(net::connect(socket.as_fd(), &to), Err(Errno::BADF));
    assert_eq!(net::send(witness.as_fd(), b"x", net::SendFlags::DONTWAIT), Err(Errno::BADF));
    assert!(net::getpeername(witness.as_fd()).is_err());
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(socket.options().recv_buffer_size().is_err());
    assert!(socket.options().set_nonblocking(true).is_err());
    fs::remove_file(path).unwrap();
}
