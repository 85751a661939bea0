//! Records received ahead of their verbs, beyond what holds for all streams (`batching.rs`).

use std::{
    sync::{Arc, mpsc},
    thread,
};

use asyncoro::{
    AsynCoro, AsyncSocket, BlockingSocket, Coro, TlsVersion,
    coro::{Batching, Scheduler, yield_now},
    spawn,
    time::timeout,
};

use super::{
    attacks::server,
    each_version,
    records::{Identity, Sealer},
    secured_by,
};
use crate::{
    batching::forbid,
    fork::alone,
    pairs::{Kind, LIMIT, pair, pattern, raw, settle, started, statistics},
};

/// The ways in which calls are made together.
const WAYS: [Batching; 2] = [Batching::Direct, Batching::Ring];

/// Makes a scheduler whose batches begin with two sockets.
fn batching(how: Batching) -> Scheduler {
    AsynCoro::builder().batching(how).batch_from(2).build().unwrap()
}

/// Waits for a batch that is made after `send`; the verbs have not been resumed then.
async fn batch_of(send: impl Future<Output = ()>) {
    let before = statistics().batches;
    send.await;
    while statistics().batches == before {
        yield_now().await;
    }
}

/// Makes records of `len` bytes and a little more, with as little content as rustls accepts.
fn barren(sealer: &mut Sealer, len: usize) -> Vec<u8> {
    let mut records = Vec::new();
    while records.len() < len {
        (0..32).for_each(|_| records.extend(sealer.data(b"")));
        records.extend(sealer.data(b"\0"));
    }
    records
}

#[test]
fn a_verb_that_is_put_off_with_a_record_ahead_gets_what_comes_behind_it() {
    each_version(|version| {
        let identity = Arc::new(Identity::new(version));
        for how in WAYS {
            let (near, mut peer) = server(&identity);
            let near = near.into_async().unwrap();
            let test = async {
                // After so much without content the next verb lets others go first.
                let records = barren(&mut peer.sealer, 18 << 10);
                peer.send(&[records]);
                let content = near.recv(&mut [0; 20_000]).await.unwrap();
                assert!((1..64).contains(&content), "{content} bytes of content");

                let (other, other_far) = pair(Kind::Tcp4);
                let other = spawn(async move { other.recv_bytes(9).await.unwrap() });
                let reading = near.clone();
                let reader = spawn(async move {
                    let (mut got, mut buffer) = (Vec::new(), [0; 100]);
                    while got.len() < 6 {
                        let count = reading.recv(&mut buffer).await.unwrap();
                        got.extend_from_slice(&buffer[..count]);
                    }
                    got
                });
                settle().await;
                batch_of(async {
                    let record = peer.sealer.data(b"abc");
                    peer.send(&[record]);
                    other_far.send_all(b"other").await.unwrap();
                })
                .await;
                assert!(near.has_received());
                // Reported after the verb was put off, and before it goes on.
                let record = peer.sealer.data(b"def");
                peer.send(&[record]);
                assert_eq!(reader.await.unwrap(), b"abcdef");
                assert_eq!(other.await.unwrap(), "other");
            };
            let run = batching(how).run_until(timeout(LIMIT, test));
            assert!(run.is_ok(), "{how:?}: the test hangs");
        }
    });
}

/// The lengths of two records: a piece received ahead ends in the second one.
const LENGTHS: [usize; 2] = [1900, 3000];

#[test]
fn a_full_piece_ahead_of_a_dropped_verb_stays_though_the_kernel_has_no_memory() {
    let name =
        "tls::batches::a_full_piece_ahead_of_a_dropped_verb_stays_though_the_kernel_has_no_memory";
    alone(name, || {
        each_version(|version| WAYS.into_iter().for_each(|how| drop_without_memory(version, how)));
    });
}

fn drop_without_memory(version: TlsVersion, how: Batching) {
    let all = pattern(LENGTHS.iter().sum());
    let (give, given) = mpsc::channel::<BlockingSocket>();
    // Started before the other thread's calls fail, so its own do not.
    let reader = thread::spawn(move || {
        let read = |socket: BlockingSocket| {
            let mut got = vec![0; LENGTHS.iter().sum()];
            socket.recv_all(&mut got).unwrap();
            got
        };
        given.into_iter().map(read).collect::<Vec<_>>()
    });
    let ends = [(); 3].map(|()| {
        let (near, far) = raw(Kind::Tcp4);
        secured_by(version, near, far)
    });
    let (near, far): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let scheduler = thread::spawn(move || {
        batching(how).run_until(async {
            let mut readers = Vec::new();
            for near in near {
                let near: AsyncSocket = near.into_async().unwrap();
                let reading = near.clone();
                let verb = async move { reading.recv(&mut [0; 100]).await.unwrap() };
                readers.push((started(verb).await, near));
            }
            batch_of(async {
                let bytes = pattern(LENGTHS.iter().sum());
                for far in &far {
                    far.send_all(&bytes[..LENGTHS[0]]).unwrap();
                    far.send_all(&bytes[LENGTHS[0]..]).unwrap();
                }
            })
            .await;
            forbid(&[libc::SYS_recvfrom], libc::ENOMEM);
            readers.iter().for_each(|(reader, _)| Coro::terminate(reader));
            for (reader, near) in readers {
                assert!(reader.await.is_err(), "its own call was never made");
                give.send(near.into_blocking().await.unwrap()).unwrap();
            }
        });
        far
    });
    let _far = scheduler.join().unwrap();
    for got in reader.join().unwrap() {
        assert!(got == all, "{how:?}");
    }
}
