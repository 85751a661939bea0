//! Datagrams: UDP over IPv4 and IPv6, Unix datagram sockets; one at a time and in batches.

use std::{
    future::Future,
    io::{self, ErrorKind, IoSliceMut},
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use asyncoro::{
    Address, AsynCoro, AsyncSocket, BlockingSocket, DatagramBatch,
    error::{WrongKind, os_code},
    socket2::{Domain, Type},
};
use bytes::Bytes;
use rustix::io::Errno;

use crate::{
    bounded::{Watched, run},
    within::within,
};

const SHORT: Duration = Duration::from_millis(30);

async fn bound(address: &str) -> (AsyncSocket, Address) {
    let socket = AsyncSocket::create_datagram(address).await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Returns two addresses of each family to bind to.
fn families(name: &str) -> [[String; 2]; 3] {
    let own = std::process::id();
    let unix = ["a", "b"].map(|end| format!("@asyncoro-datagrams-{own}-{name}-{end}"));
    let [four, six] = ["127.0.0.1:0", "[::1]:0"].map(|any| [any.to_owned(), any.to_owned()]);
    [unix, four, six]
}

/// Runs a test on each family, with two sockets and their addresses.
fn on_each_family<F: Future<Output = ()>>(
    name: &str,
    test: impl Fn([(AsyncSocket, Address); 2]) -> F,
) {
    for [near, far] in families(name) {
        println!("{near}");
        run(async { test([bound(&near).await, bound(&far).await]).await });
    }
}

/// Runs a test on each family on the blocking face.
fn on_each_family_blocking(name: &str, test: impl Fn([(BlockingSocket, Address); 2])) {
    let bound = |address: &String| {
        let socket = BlockingSocket::create_datagram(address).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    };
    for ends in families(name) {
        println!("blocking {ends:?}");
        test([bound(&ends[0]), bound(&ends[1])]);
    }
}

/// Runs the same code on each family and on both faces; `$wait!` waits for a verb's result.
macro_rules! on_each_face {
    ($name:literal, $wait:ident, $ends:pat => $body:block) => {
        on_each_family($name, |$ends| async move {
            macro_rules! $wait {
                ($call:expr) => {
                    $call.await
                };
            }
            $body
        });
        crate::within::within(|| {
            on_each_family_blocking($name, |$ends| {
                macro_rules! $wait {
                    ($call:expr) => {
                        $call
                    };
                }
                $body
            });
        });
    };
}

#[test]
fn a_datagram_goes_to_its_address_and_tells_where_it_came_from() {
    on_each_face!("address", wait, [(near, from), (far, to)] => {
        assert_eq!(wait!(near.send_to(b"there", &to)).unwrap(), 5);
        let mut buffer = [0; 10];
        assert_eq!(wait!(far.recv_from(&mut buffer)).unwrap(), (5, from.clone()));
        assert_eq!(&buffer[..5], b"there");
        assert_eq!(wait!(far.send_to(b"back", &from)).unwrap(), 4);
        assert_eq!(wait!(near.recv_from(&mut buffer)).unwrap(), (4, to));
    });
}

#[test]
fn connected_sockets_send_and_recv() {
    on_each_face!("connected", wait, [(near, from), (far, to)] => {
        wait!(near.connect(&to)).unwrap();
        wait!(far.connect(&from)).unwrap();
        assert_eq!(near.peer_addr().unwrap(), to);
        assert_eq!(wait!(near.send(b"one")).unwrap(), 3);
        assert_eq!(wait!(near.send_vectored(&[b"t", b"", b"wo"])).unwrap(), 3);
        assert_eq!(near.try_send(b"three").unwrap(), 5);
        let mut buffer = [0; 10];
        assert_eq!(wait!(far.peek(&mut buffer)).unwrap(), 3);
        assert_eq!(wait!(far.recv(&mut buffer)).unwrap(), 3);
        assert_eq!(wait!(far.recv_bytes(10)).unwrap(), "two");
        assert_eq!(wait!(far.recv_with(<[u8]>::len)).unwrap(), 5);
        wait!(near.send(b"four")).unwrap();
        let (mut first, mut second) = ([0; 1], [0; 9]);
        let parts = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(wait!(far.recv_vectored(parts)).unwrap(), 4);
        assert_eq!((&first, &second[..3]), (b"f", &b"our"[..]));
    });
}

#[test]
fn an_empty_datagram_is_one() {
    on_each_face!("empty", wait, [(near, from), (far, to)] => {
        assert_eq!(wait!(near.send_to(b"", &to)).unwrap(), 0);
        assert_eq!(wait!(far.recv_from(&mut [0; 9])).unwrap(), (0, from.clone()));
        wait!(near.connect(&to)).unwrap();
        assert_eq!(wait!(near.send(b"")).unwrap(), 0);
        assert_eq!(wait!(near.send_batch(&[("", to)])).unwrap(), 1);
        assert_eq!(wait!(far.recv(&mut [0; 9])).unwrap(), 0);
        assert_eq!(wait!(far.recv_from(&mut [])).unwrap().0, 0);
        assert_eq!(far.try_recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_datagram_that_is_too_long_for_the_buffer_loses_its_end() {
    on_each_face!("truncated", wait, [(near, from), (far, to)] => {
        for _ in 0..3 {
            wait!(near.send_to(b"0123456789", &to)).unwrap();
        }
        let mut four = [0; 4];
        assert_eq!(wait!(far.recv_from(&mut four)).unwrap(), (4, from));
        assert_eq!(&four, b"0123");
        let mut batch = DatagramBatch::new(2, 4);
        let mut seen = 0;
        while seen < 2 {
            seen += wait!(far.recv_batch(&mut batch)).unwrap();
            assert!(batch.iter().all(|one| one.truncated && one.bytes == b"0123"));
        }
        wait!(near.send_to(b"fits", &to)).unwrap();
        assert_eq!(wait!(far.recv_batch(&mut batch)).unwrap(), 1);
        assert!(batch.iter().all(|one| !one.truncated && one.bytes == b"fits"));
    });
}

#[test]
fn a_datagram_that_is_too_long_to_send_is_an_error() {
    on_each_face!("too-long", wait, [(near, _), (far, to)] => {
        let long = vec![0; 2 << 20];
        let too_long = Some(Errno::MSGSIZE.raw_os_error());
        let error = wait!(near.send_to(&long, &to)).unwrap_err();
        assert_eq!(error.raw_os_error(), too_long);
        wait!(near.connect(&to)).unwrap();
        assert_eq!(wait!(near.send(&long)).unwrap_err().raw_os_error(), too_long);
        let many = [(&long, to.clone())];
        assert_eq!(wait!(near.send_batch(&many)).unwrap_err().raw_os_error(), too_long);
        // The socket goes on.
        wait!(near.send(b"short")).unwrap();
        assert_eq!(wait!(far.recv_bytes(9)).unwrap(), "short");
    });
}

#[test]
fn batches_bring_everything_in_order_with_its_address() {
    on_each_family("batches", |[(near, from), (far, to)]| async move {
        const COUNT: usize = 500;
        let datagrams: Vec<_> =
            (0..COUNT).map(|index| (format!("number {index}"), to.clone())).collect();
        let mut batch = DatagramBatch::new(100, 50);
        let (mut sent, mut seen) = (0, 0);
        while seen < COUNT {
            let went = near.send_batch(&datagrams[sent..]).await.unwrap();
            assert!(went <= 64 && (went > 0 || sent == COUNT), "{went} in one call");
            sent += went;
            // All that is under way, so that no queue runs over.
            while seen < sent {
                let got = far.recv_batch(&mut batch).await.unwrap();
                assert!(got > 0 && got == batch.len() && got == batch.iter().len());
                for one in batch.iter() {
                    assert_eq!(one.bytes, format!("number {seen}").as_bytes());
                    assert_eq!(*one.from, from);
                    seen += 1;
                }
            }
        }
        assert_eq!(near.send_batch::<&str>(&[]).await.unwrap(), 0);
    });
}

#[test]
fn a_batch_stops_before_the_first_datagram_that_cannot_leave() {
    run(async {
        let (near, _) = bound("127.0.0.1:0").await;
        let (far, to) = bound("127.0.0.1:0").await;
        let long = vec![0; 1 << 20];
        let batch = [(&b"one"[..], to.clone()), (b"two", to.clone()), (&long[..], to.clone())];
        assert_eq!(near.send_batch(&batch).await.unwrap(), 2);
        let error = near.send_batch(&batch[2..]).await.unwrap_err();
        assert_eq!(os_code(&error), Some(Errno::MSGSIZE.raw_os_error()));
        assert_eq!(far.recv_bytes(9).await.unwrap(), "one");
        assert_eq!(far.recv_bytes(9).await.unwrap(), "two");
    });
}

fn assert_wrong_kind<T: std::fmt::Debug>(result: io::Result<T>, verb: &str, socket: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<WrongKind>()).unwrap();
    assert_eq!((inner.verb, inner.socket), (verb, socket));
    assert!(error.to_string().contains(verb) && error.to_string().contains(socket));
}

#[test]
fn a_verb_on_the_wrong_kind_of_socket_names_both() {
    run(async {
        let (udp, to) = bound("127.0.0.1:0").await;
        let unix = AsyncSocket::new(UnixDatagram::unbound().unwrap()).unwrap();
        let tcp = AsyncSocket::open(Domain::IPV4, Type::STREAM).unwrap();
        for (socket, kind) in [(&udp, "UDP socket"), (&unix, "Unix datagram socket")] {
            assert_wrong_kind(socket.accept().await, "accept", kind);
            assert_wrong_kind(socket.recv_all(&mut [0]).await, "recv_all", kind);
            assert_wrong_kind(socket.recv_all_bytes(1).await, "recv_all_bytes", kind);
            assert_wrong_kind(socket.recv_until(b"x", 1).await, "recv_until", kind);
            assert_wrong_kind(socket.recv_line(1).await, "recv_line", kind);
            assert_wrong_kind(socket.send_all(b"x").await, "send_all", kind);
            assert_wrong_kind(socket.send_msg(b"x").await, "send_msg", kind);
            assert_wrong_kind(socket.send_queued(b"x").await, "send_queued", kind);
            let message = Bytes::from_static(b"x");
            assert_wrong_kind(socket.try_send_msg(&message), "try_send_msg", kind);
            assert_wrong_kind(socket.try_send_queued(b"x"), "try_send_queued", kind);
            assert_wrong_kind(socket.recv_msg().await, "recv_msg", kind);
            assert_wrong_kind(socket.recv_msg_into(&mut vec![]).await, "recv_msg_into", kind);
        }
        let kind = "TCP socket";
        assert_wrong_kind(tcp.recv_from(&mut [0]).await, "recv_from", kind);
        assert_wrong_kind(tcp.send_to(b"x", &to).await, "send_to", kind);
        assert_wrong_kind(tcp.recv_batch(&mut DatagramBatch::new(1, 1)).await, "recv_batch", kind);
        assert_wrong_kind(tcp.send_batch(&[("x", to)]).await, "send_batch", kind);
    });
    let udp = BlockingSocket::create_datagram("127.0.0.1:0").unwrap();
    assert_wrong_kind(udp.recv_until(b"x", 1), "recv_until", "UDP socket");
    assert_wrong_kind(udp.send_queued(b"x"), "send_queued", "UDP socket");
}

/// Makes a UDP socket connected to a port without a socket.
fn to_nobody() -> UdpSocket {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(gone).unwrap();
    socket
}

#[test]
fn a_refusal_wakes_a_waiting_recv_on_a_connected_udp_socket() {
    run(async {
        let socket = AsyncSocket::new(to_nobody()).unwrap();
        let reader = socket.clone();
        let waiting = asyncoro::spawn(async move { reader.recv(&mut [0]).await });
        asyncoro::coro::yield_now().await;
        socket.send(b"anybody?").await.unwrap();
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // It is told once, and the socket goes on.
        socket.set_timeout(Some(SHORT));
        assert_eq!(socket.recv(&mut [0]).await.unwrap_err().kind(), ErrorKind::TimedOut);
    });
    within(|| {
        let socket = BlockingSocket::new(to_nobody()).unwrap();
        let reader = socket.clone();
        let waiting = Watched::spawn(move || reader.recv(&mut [0])).asleep();
        socket.send(b"anybody?").unwrap();
        assert_eq!(waiting.join().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn waiting_for_a_datagram_times_out() {
    on_each_face!("timeout", wait, [(near, _), (far, to)] => {
        far.set_timeout(Some(SHORT));
        let before = Instant::now();
        let mut batch = DatagramBatch::new(1, 1);
        assert_eq!(wait!(far.recv_from(&mut [0])).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(wait!(far.recv(&mut [0])).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(wait!(far.recv_batch(&mut batch)).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(before.elapsed() >= SHORT * 3);
        wait!(near.send_to(b"x", &to)).unwrap();
        assert_eq!(wait!(far.recv_batch(&mut batch)).unwrap(), 1);
    });
}

#[test]
fn sending_much_makes_no_busy_loop() {
    run(async {
        let (near, _) = bound("127.0.0.1:0").await;
        let (far, to) = bound("127.0.0.1:0").await;
        let idle = far.clone();
        // Somebody waits in each direction, so that the driver watches both.
        let reader = asyncoro::spawn(async move { idle.recv_from(&mut [0; 9]).await });
        near.writable().await.unwrap();
        let sender = near.clone();
        let own = asyncoro::spawn(async move { sender.recv_from(&mut [0; 9]).await });
        asyncoro::coro::yield_now().await;
        let before = AsynCoro::current().statistics();
        for _ in 0..2000 {
            near.send_to(b"much", &to).await.unwrap();
        }
        asyncoro::time::sleep(SHORT).await;
        let after = AsynCoro::current().statistics();
        let (turns, events) = (after.turns - before.turns, after.events - before.events);
        // The reader's datagram, the timer, and a turn for each time that the budget was spent.
        assert!(turns < 200 && events < 50, "{turns} turns, {events} events for 2000 datagrams");
        reader.await.unwrap().unwrap();
        own.terminate();
    });
}

#[test]
fn a_full_unix_queue_makes_the_sender_wait_without_a_busy_loop() {
    run(async {
        let (far, to) = bound(&format!("@asyncoro-datagrams-full-{}", std::process::id())).await;
        // Connected or not: the system tells only the one of them when there is room again.
        let connected = AsyncSocket::new(UnixDatagram::unbound().unwrap()).unwrap();
        connected.connect(&to).await.unwrap();
        let unconnected = AsyncSocket::new(UnixDatagram::unbound().unwrap()).unwrap();
        while connected.try_send(b"x").is_ok() {}

        for socket in [&connected, &unconnected] {
            socket.set_timeout(Some(SHORT));
        }
        let before = AsynCoro::current().statistics().turns;
        assert_eq!(connected.send(b"x").await.unwrap_err().kind(), ErrorKind::TimedOut);
        let error = unconnected.send_to(b"x", &to).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let batch = [("x", to.clone())];
        assert_eq!(unconnected.send_batch(&batch).await.unwrap_err().kind(), ErrorKind::TimedOut);
        let turns = AsynCoro::current().statistics().turns - before;
        assert!(turns < 500, "{turns} turns while three sends waited for 30 ms");

        unconnected.set_timeout(None);
        let target = to.clone();
        let sender = asyncoro::spawn(async move {
            for count in 0..100_u8 {
                match count % 2 {
                    0 => unconnected.send_to(&[count], &target).await.unwrap(),
                    _ => unconnected.send_batch(&[([count], target.clone())]).await.unwrap(),
                };
            }
        });
        let mut last = None;
        while last != Some(99) {
            let bytes = far.recv_bytes(9).await.unwrap();
            if bytes != "x" {
                assert_eq!(bytes[0], last.map_or(0, |last| last + 1));
                last = Some(bytes[0]);
            }
        }
        sender.await.unwrap();
    });
}

#[test]
fn a_full_unix_queue_makes_a_blocking_sender_wait_and_sleep() {
    within(|| {
        let path = format!("@asyncoro-datagrams-full-blocking-{}", std::process::id());
        let far = BlockingSocket::create_datagram(&path).unwrap();
        let near = BlockingSocket::new(UnixDatagram::unbound().unwrap()).unwrap();
        near.connect(&path).unwrap();
        while near.try_send(b"x").is_ok() {}
        let near = BlockingSocket::new(UnixDatagram::unbound().unwrap()).unwrap();
        near.set_timeout(Some(SHORT));
        assert_eq!(near.send_to(b"y", &path).unwrap_err().kind(), ErrorKind::TimedOut);
        near.set_timeout(None);
        let sender = Watched::spawn(move || near.send_to(b"y", &path).unwrap()).asleep();
        while far.recv_bytes(9).unwrap() != "y" {}
        assert_eq!(sender.join(), 1);
    });
}

#[test]
fn a_name_is_resolved_by_send_to_and_create_datagram() {
    run(async {
        let far = AsyncSocket::create_datagram("localhost:0").await.unwrap();
        let to = far.local_addr().unwrap();
        assert!(to.ip().unwrap().is_loopback());
        let domain = if to.ip().unwrap().is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let near = AsyncSocket::open(domain, Type::DGRAM).unwrap();
        near.send_to(b"to a name", ("localhost", to.port().unwrap())).await.unwrap();
        assert_eq!(far.recv_bytes(20).await.unwrap(), "to a name");
    });
}

#[test]
fn many_coroutines_share_a_datagram_socket() {
    on_each_family("shared", |[(near, _), (far, to)]| async move {
        let senders: Vec<_> = (0..20)
            .map(|_| {
                let (near, to) = (near.clone(), to.clone());
                asyncoro::spawn(async move {
                    for _ in 0..10 {
                        near.send_to(b"one of many", &to).await.unwrap();
                        asyncoro::coro::yield_now().await;
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let far = far.clone();
                asyncoro::spawn(async move {
                    for _ in 0..50 {
                        assert_eq!(far.recv_bytes(99).await.unwrap(), "one of many");
                    }
                })
            })
            .collect();
        for coroutine in senders.into_iter().chain(readers) {
            coroutine.await.unwrap();
        }
    });
}

#[test]
fn send_vectored_of_many_parts_is_one_datagram() {
    on_each_face!("parts", wait, [(near, _), (far, to)] => {
        wait!(near.connect(&to)).unwrap();
        assert_eq!(wait!(near.send_vectored(&[&b"x"[..]; 40])).unwrap(), 40);
        assert_eq!(wait!(far.recv_bytes(99)).unwrap().len(), 40);
    });
}

/// Receives `count` datagrams at `far`, in batches with space for `room` each.
async fn batches(far: &AsyncSocket, count: usize, room: usize) -> Vec<(Vec<u8>, Address)> {
    let mut batch = DatagramBatch::new(room, 2000);
    let mut seen = Vec::new();
    while seen.len() < count {
        far.recv_batch(&mut batch).await.unwrap();
        assert!(batch.iter().all(|one| !one.truncated));
        seen.extend(batch.iter().map(|one| (one.bytes.to_vec(), one.from.clone())));
    }
    seen
}

/// Sends all in a coroutine of its own, since the queue of a Unix socket is short.
fn send_all(near: &AsyncSocket, datagrams: &[(Vec<u8>, Address)]) -> asyncoro::Coro<()> {
    let (near, datagrams) = (near.clone(), datagrams.to_vec());
    asyncoro::spawn(async move {
        let mut sent = 0;
        while sent < datagrams.len() {
            sent += near.send_batch(&datagrams[sent..]).await.unwrap();
        }
    })
}

/// Makes datagrams of these lengths, each with different bytes.
fn of_lengths(lengths: &[usize]) -> Vec<Vec<u8>> {
    lengths.iter().enumerate().map(|(number, len)| vec![number as u8; *len]).collect()
}

#[test]
fn a_batch_keeps_borders_order_and_senders_whatever_the_lengths() {
    on_each_family("lengths", |[(near, from), (far, to)]| async move {
        let mixed: &[usize] = &[100, 100, 100, 60, 0, 0, 100, 100, 1, 1, 1, 1300, 1300, 1, 0];
        for lengths in [&[100; 64][..], &[1; 64], &[1400; 64], &[0; 5], &[9; 3], mixed] {
            let datagrams: Vec<_> =
                of_lengths(lengths).into_iter().map(|bytes| (bytes, to.clone())).collect();
            // More than a batch has room for comes with the next one.
            for room in [64, 7, 1] {
                let sender = send_all(&near, &datagrams);
                let seen = batches(&far, datagrams.len(), room).await;
                sender.await.unwrap();
                assert!(seen.iter().map(|one| &one.0).eq(datagrams.iter().map(|one| &one.0)));
                assert!(seen.iter().all(|(_, sender)| *sender == from));
            }
        }
    });
}

#[test]
fn a_batch_for_many_addresses_brings_each_its_own() {
    on_each_family("addresses", |[(near, to_near), (far, to_far)]| async move {
        let (third, to_third) = match to_near.ip() {
            None => bound(&format!("@asyncoro-addresses-c-{}", std::process::id())).await,
            Some(ip) if ip.is_ipv4() => bound("127.0.0.1:0").await,
            Some(_) => bound("[::1]:0").await,
        };
        let to = [&to_far, &to_far, &to_far, &to_third, &to_far, &to_third, &to_third, &to_near];
        let datagrams: Vec<_> =
            of_lengths(&[20; 8]).into_iter().zip(to.map(Address::clone)).collect();
        send_all(&near, &datagrams).await.unwrap();
        for (socket, address) in [(&near, &to_near), (&far, &to_far), (&third, &to_third)] {
            let own: Vec<_> = datagrams.iter().filter(|(_, to)| to == address).collect();
            let seen = batches(socket, own.len(), 64).await;
            assert!(seen.iter().map(|one| &one.0).eq(own.iter().map(|one| &one.0)));
            assert_eq!(socket.try_recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    });
}

#[test]
fn every_verb_receives_the_datagrams_of_a_batch_one_by_one() {
    on_each_family("one-by-one", |[(near, from), (far, to)]| async move {
        let datagrams: Vec<_> =
            of_lengths(&[50; 12]).into_iter().map(|bytes| (bytes, to.clone())).collect();
        let sender = send_all(&near, &datagrams);
        assert_eq!(batches(&far, 1, 1).await[0].0, [0; 50]);
        let mut buffer = [99; 300];
        assert_eq!(far.recv_from(&mut buffer).await.unwrap(), (50, from));
        assert_eq!(buffer[..50], [1; 50]);
        assert_eq!(far.recv_bytes(300).await.unwrap(), vec![2; 50]);
        assert!(far.recv_with(|bytes| bytes == [3; 50]).await.unwrap());
        assert_eq!(far.peek(&mut buffer).await.unwrap(), 50);
        assert_eq!(far.recv(&mut buffer).await.unwrap(), 50);
        assert_eq!(buffer[..50], [4; 50]);
        let (mut first, mut second) = ([0; 40], [0; 40]);
        let parts = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(far.recv_vectored(parts).await.unwrap(), 50);
        assert_eq!((first, &second[..10]), ([5; 40], &[5; 10][..]));
        assert_eq!(far.try_recv(&mut buffer).unwrap(), 50);
        sender.await.unwrap();
        // Whoever has the descriptor meets no other borders either.
        let (regular, held) = far.into_parts().await.unwrap();
        assert!(held.is_empty());
        let far = BlockingSocket::new(regular).unwrap();
        let mut batch = DatagramBatch::new(64, 20);
        let mut seen = 7;
        while seen < 12 {
            far.recv_batch(&mut batch).unwrap();
            for one in batch.iter() {
                assert!(one.truncated && one.bytes == [seen; 20]);
                seen += 1;
            }
        }
    });
}

#[test]
fn a_blocking_batch_keeps_borders_and_order_too() {
    let (near, far) = ("127.0.0.1:0", "127.0.0.1:0");
    let near = BlockingSocket::create_datagram(near).unwrap();
    let far = BlockingSocket::create_datagram(far).unwrap();
    let to = far.local_addr().unwrap();
    let bytes = of_lengths(&[30, 30, 30, 7, 30, 0, 31]);
    let datagrams: Vec<_> = bytes.iter().map(|bytes| (bytes, to.clone())).collect();
    assert_eq!(near.send_batch(&datagrams).unwrap(), 7);
    let mut batch = DatagramBatch::new(3, 100);
    let mut seen = Vec::new();
    while seen.len() < 7 {
        far.recv_batch(&mut batch).unwrap();
        seen.extend(batch.iter().map(|one| one.bytes.to_vec()));
    }
    assert_eq!(seen, bytes);
}
