//! Records that are pending when a verb has told of them: whoever finds that they cannot be sent,
//! it is told.

use std::{
    io::ErrorKind,
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use asyncoro::{BlockingSocket, error::TimedOut};

use super::{each_version, secured_by};
use crate::{
    bounded::Watched,
    pairs::{Kind, assert_closed, blocking, blocking_pair, bounded, inner, pair, raw},
};

/// A long time, but less than a close takes that gives up.
const SOON: Duration = Duration::from_secs(4);

/// Fills a connection whose peer does not read, until a verb is told that its rest is queued;
/// returns how much was told to be sent.
fn left_in_the_middle(socket: &BlockingSocket) -> usize {
    socket.options().set_send_buffer_size(32 << 10).unwrap();
    socket.set_timeout(Some(Duration::from_millis(30)));
    let mut said = PIECE;
    let error = loop {
        match socket.send_queued(&[7; PIECE]) {
            Ok(()) => said += PIECE,
            Err(error) => break error,
        }
    };
    assert!(inner::<TimedOut>(&error).unwrap().rest_queued, "{error}");
    socket.set_timeout(None);
    said
}

const PIECE: usize = 16_000;

fn all_that_comes(socket: &BlockingSocket) -> usize {
    let mut came = 0;
    while let Ok(count @ 1..) = socket.recv(&mut [0; 4096]) {
        came += count;
    }
    came
}

/// A reader sends what is pending, too; what it finds is told to who sends.
#[test]
fn records_that_are_lost_while_a_reader_sends_them_are_told_by_flush_and_close() {
    for kind in [Kind::Tls, Kind::Tls12] {
        let breaks = |far: &BlockingSocket| {
            far.send_all(b"no more").unwrap();
            rustix::net::connect_unspec(far).unwrap();
        };
        bounded(move || {
            let (near, far) = blocking_pair(kind);
            left_in_the_middle(&near);
            breaks(&far);
            assert_eq!(near.recv_bytes(100).unwrap(), "no more");
            near.flush().unwrap_err();
            near.close().unwrap_err();
        });
        bounded(move || {
            let (near, far) = pair(kind);
            let far = blocking(far);
            asyncoro::run(async move {
                near.options().set_send_buffer_size(32 << 10).unwrap();
                while near.try_send(&[7; PIECE]).is_ok() {}
                breaks(&far);
                assert_eq!(near.recv_bytes(100).await.unwrap(), "no more");
                near.flush().await.unwrap_err();
                near.close().await.unwrap_err();
            });
        });
    }
}

/// As over TCP and plain Unix sockets, see `blocking_ends`.
#[test]
fn a_close_over_a_unix_socket_wakes_who_waits_to_send_and_tells_what_is_lost() {
    each_version(|version| {
        let (near, far) = raw(Kind::Unix);
        let (near, far) = secured_by(version, near, far);
        let said = left_in_the_middle(&near);
        // Made before, since a thread also sleeps when it waits for memory.
        let (sender, many) = (near.clone(), vec![1; 1 << 20]);
        let sending = Watched::spawn(move || sender.send_all(&many)).asleep();
        let begun = Instant::now();
        let error = near.close().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        assert!(begun.elapsed() < SOON, "it gave up");
        assert_closed(sending.join());
        assert!(all_that_comes(&far) < said);
    });
}

#[test]
fn a_flush_and_a_shutdown_that_time_out_say_that_records_are_left() {
    each_version(|version| {
        // TCP moves bytes on by itself, so that there may be room again.
        let (near, far) = raw(Kind::Unix);
        let (near, far) = secured_by(version, near, far);
        let said = left_in_the_middle(&near);
        near.set_timeout(Some(Duration::from_millis(10)));
        for error in [near.flush(), near.shutdown(Shutdown::Write)].map(Result::unwrap_err) {
            assert!(inner::<TimedOut>(&error).unwrap().rest_queued, "{error}");
        }
        near.set_timeout(None);
        let reading = thread::spawn(move || all_that_comes(&far));
        near.close().unwrap();
        assert_eq!(reading.join().unwrap(), said);
    });
}
