//! The `Debug` form of sockets: its text, and that it is available anywhere.

use std::{cell::RefCell, net::UdpSocket, rc::Rc, thread};

use asyncoro::{Address, AsyncSocket, BlockingSocket};

use crate::pairs::{Kind, bounded, each, pair, poll_once, raw};

#[test]
fn debug_says_kind_state_addresses_and_tls_of_both_faces() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let name = if kind == Kind::Unix { "Unix stream socket" } else { "TCP socket" };
        let secure = !matches!(kind, Kind::Tcp4 | Kind::Tcp6 | Kind::Unix);
        let (local, peer) = (near.local_addr().unwrap(), near.peer_addr().unwrap());
        let text = |face: &str| {
            let open = format!("kind: {name}, state: open, local: {local}, peer: {peer}");
            format!("{face} {{ {open}, tls: {secure} }}")
        };
        assert_eq!(format!("{near:?}"), text("AsyncSocket"));
        let near = near.into_blocking().await.unwrap();
        assert_eq!(format!("{near:?}"), text("BlockingSocket"));
        near.close().unwrap();
        let closed = format!("kind: {name}, state: closed, local: -, peer: -, tls: {secure}");
        assert_eq!(format!("{near:?}"), format!("BlockingSocket {{ {closed} }}"));
        far.close().await.unwrap();
        assert_eq!(format!("{far:?}"), format!("AsyncSocket {{ {closed} }}"));
    });
}

#[test]
fn debug_of_a_socket_that_closes_says_so() {
    bounded(|| {
        asyncoro::run_until(async {
            let (near, _far) = pair(Kind::Unix);
            while near.try_send(&[0; 1 << 16]).is_ok() {}
            near.send_msg(b"queued").await.unwrap();
            let mut closing = std::pin::pin!(near.close());
            assert!(poll_once(closing.as_mut()).is_pending());
            assert!(format!("{near:?}").contains("state: closing"), "{near:?}");
        });
    });
}

#[test]
fn debug_of_a_datagram_socket_without_a_peer() {
    bounded(|| {
        let socket = AsyncSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let local = socket.local_addr().unwrap();
        let text = format!("kind: UDP socket, state: open, local: {local}, peer: -, tls: false");
        assert_eq!(format!("{socket:?}"), format!("AsyncSocket {{ {text} }}"));
    });
}

/// A buffer that formats a socket while a verb of that socket asks for its bytes.
struct Looking(AsyncSocket, Rc<RefCell<Vec<String>>>);

impl AsRef<[u8]> for Looking {
    fn as_ref(&self) -> &[u8] {
        self.1.borrow_mut().push(format!("{:?}", self.0));
        b"x"
    }
}

#[test]
fn debug_neither_panics_nor_waits_in_the_closures_of_verbs() {
    each(async |kind| {
        let (near, far) = pair(kind);
        far.send_all(b"bytes").await.unwrap();
        let seen = near.recv_with_limit(1, |_| format!("{near:?}")).await.unwrap();
        assert!(seen.starts_with("AsyncSocket { kind: "), "{seen}");
        let mut seen = String::new();
        let make = || {
            seen = format!("{near:?}");
            [std::mem::MaybeUninit::<u8>::uninit(); 1]
        };
        near.recv_uninit(make).await.unwrap();
        assert!(seen.starts_with("AsyncSocket { kind: "), "{seen}");
    });
    bounded(|| {
        asyncoro::run_until(async {
            let socket = AsyncSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            let to: Address = socket.local_addr().unwrap();
            let seen = Rc::default();
            let one = (Looking(socket.clone(), Rc::clone(&seen)), to);
            socket.send_batch(&[one]).await.unwrap();
            assert!(!seen.borrow().is_empty());
            assert!(seen.borrow().iter().all(|text| text.contains("UDP socket")));
        });
    });
}

#[test]
fn debug_of_a_blocking_socket_does_not_wait_for_its_verbs() {
    bounded(|| {
        let (near, far) = raw(Kind::Tcp4);
        let near = BlockingSocket::new(near).unwrap();
        let reading = thread::spawn({
            let near = near.clone();
            move || near.recv_with(|bytes| (bytes.len(), format!("{near:?}")))
        });
        assert!(format!("{near:?}").contains("state: open"));
        far.send(b"four").unwrap();
        let (count, text) = reading.join().unwrap().unwrap();
        assert_eq!(count, 4);
        assert!(text.contains("state: open"), "{text}");
    });
}
