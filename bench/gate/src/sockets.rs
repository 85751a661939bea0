//! Hot paths through a TCP connection over loopback, whose other end is a raw socket in this
//! thread. Sent bytes are available at the other end when the call returns, so nobody waits.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use asyncoro::AsyncSocket;
use asyncoro::coro::Scheduler;

use crate::BATCH;

/// The length of a piece or of a message's payload, in bytes.
pub(crate) const SIZE: usize = 64;
/// How many messages are sent together.
const IN_FLIGHT: usize = 16;

/// Receives bytes that are available.
pub(crate) fn recv(times: usize) {
    let (scheduler, socket, mut peer) = connection();
    let pieces = [b'x'; BATCH * SIZE];
    scheduler.enter(async {
        let mut buffer = [0; SIZE];
        for _ in 0..times / BATCH {
            peer.write_all(&pieces).expect("a batch fits into the socket's buffers");
            for _ in 0..BATCH {
                assert_eq!(socket.recv(&mut buffer).await.expect("the peer is there"), SIZE);
            }
        }
    });
}

/// Sends bytes that fit into the buffers.
pub(crate) fn send(times: usize) {
    let (scheduler, socket, mut peer) = connection();
    let mut received = [0; BATCH * SIZE];
    scheduler.enter(async {
        for _ in 0..times / BATCH {
            for _ in 0..BATCH {
                assert_eq!(socket.send(&[b'x'; SIZE]).await.expect("the peer is there"), SIZE);
            }
            peer.read_exact(&mut received).expect("what was sent is there");
        }
    });
}

/// Receives a message that has come alone.
pub(crate) fn recv_message(times: usize) {
    receive(times, 1);
}

/// Receives messages that have come together.
pub(crate) fn recv_messages(times: usize) {
    receive(times, IN_FLIGHT);
}

fn receive(times: usize, together: usize) {
    let (scheduler, socket, mut peer) = connection();
    let messages = message().repeat(together);
    scheduler.enter(async {
        for _ in 0..times / together {
            peer.write_all(&messages).expect("they fit into the socket's buffers");
            for _ in 0..together {
                let message = socket.recv_msg().await.expect("the peer is there");
                assert_eq!(message.expect("the peer has not ended").len(), SIZE);
            }
        }
    });
}

/// Queues messages in one turn of the loop, at whose end they are sent in one call.
pub(crate) fn send_messages(times: usize) {
    let (scheduler, socket, mut peer) = connection();
    let mut received = message().repeat(IN_FLIGHT);
    for _ in 0..times / IN_FLIGHT {
        scheduler.enter(async {
            for _ in 0..IN_FLIGHT {
                socket.send_msg(&[b'x'; SIZE]).await.expect("the peer is there");
            }
        });
        peer.read_exact(&mut received).expect("what was sent is there");
    }
}

/// Makes a message in its wire format: the length in four bytes, big-endian, and the payload.
fn message() -> Vec<u8> {
    let length = u32::try_from(SIZE).expect("a message is small");
    length.to_be_bytes().into_iter().chain([b'x'; SIZE]).collect()
}

pub(crate) fn connection() -> (Scheduler, AsyncSocket, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a port");
    let address = listener.local_addr().expect("it is bound");
    let peer = TcpStream::connect(address).expect("the listener is there");
    let (accepted, _) = listener.accept().expect("a connection waits");
    for end in [&peer, &accepted] {
        end.set_nodelay(true).expect("TCP has this option");
    }
    let scheduler = Scheduler::new().expect("a scheduler needs two descriptors");
    let socket = AsyncSocket::new(accepted).expect("a TCP stream can be converted");
    (scheduler, socket, peer)
}
