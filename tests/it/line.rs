//! `recv_line`: what is a line, wherever it is cut, and what is none. What holds for all verbs that
//! gather (nothing is lost when they are dropped, each end) is shown with the others, by the tables
//! in `verbs.rs`.

use std::{io, io::ErrorKind, net::Shutdown};

use asyncoro::{
    bytes::Bytes,
    error::{DelimiterMissing, Incomplete},
};

use crate::{
    pairs::{inner, pair, settle},
    verbs::{End, each_face, named},
};

/// Receives a line that has been sent.
async fn line(end: &End, max: usize) -> io::Result<Option<Bytes>> {
    match end {
        End::Asynchronous(socket) => socket.recv_line(max).await,
        End::Blocking(socket) => socket.recv_line(max),
    }
}

#[test]
fn a_line_comes_without_its_end_and_a_clean_end_of_the_stream_is_none() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        far.send_all(b"one\r\ntwo\n\r\n\n\rin\rit\r\r\nlast\n").await.unwrap();
        for expected in ["one", "two", "", "", "\rin\rit\r", "last"] {
            assert_eq!(line(&end, 100).await.unwrap().unwrap(), expected);
        }
        far.shutdown(Shutdown::Write).await.unwrap();
        for _ in 0..2 {
            assert_eq!(line(&end, 100).await.unwrap(), None);
        }
    });
}

#[test]
fn a_line_that_comes_in_two_packets_is_one_wherever_it_is_cut() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        for cut in 0..=4 {
            let (first, second) = b"ab\r\ncd\r\n".split_at(cut);
            far.send_all(first).await.unwrap();
            settle().await;
            let waiting = end.begin(named("recv_line"), &[]).await;
            assert_eq!(waiting.is_over(), cut == 4, "after {first:?}");
            far.send_all(second).await.unwrap();
            assert_eq!(waiting.result().await.unwrap(), b"ab\n", "{cut}");
            assert_eq!(line(&end, 4).await.unwrap().unwrap(), "cd", "{cut}");
        }
    });
}

#[test]
fn a_line_may_have_max_bytes_with_its_end_and_a_longer_one_is_left_where_it_is() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        for (sent, expected) in [(&b"12345\n"[..], "12345"), (b"1234\r\n", "1234")] {
            far.send_all(sent).await.unwrap();
            for max in [0, 5, 5] {
                let error = line(&end, max).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                assert_eq!(inner(&error), Some(&DelimiterMissing { max }));
            }
            assert_eq!(line(&end, 6).await.unwrap().unwrap(), expected);
        }
    });
}

#[test]
fn an_end_of_the_stream_within_a_line_is_an_error_and_its_bytes_stay() {
    each_face(async |kind, face| {
        for cut in [&b"half"[..], b"half\r"] {
            let (near, far) = pair(kind);
            let end = End::new(face, near).await;
            far.send_all(&[b"whole\n", cut].concat()).await.unwrap();
            far.shutdown(Shutdown::Write).await.unwrap();
            assert_eq!(line(&end, 100).await.unwrap().unwrap(), "whole");
            for _ in 0..2 {
                let error = line(&end, 100).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                let told = Incomplete { got: cut.len(), expected: 100 };
                assert_eq!(inner(&error), Some(&told));
            }
            assert_eq!(end.call(named("recv"), &[]).await.unwrap(), cut);
            assert_eq!(line(&end, 100).await.unwrap(), None);
        }
    });
}

#[test]
fn many_lines_and_long_ones_come_whole_and_in_order() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        let lengths = [1, 70, 20_000, 3, 40_000, 300_000];
        let sent: Vec<u8> = (0..2000)
            .flat_map(|number| format!("{number}\r\n").into_bytes())
            .chain(lengths.iter().flat_map(|length| [vec![b'x'; *length], vec![b'\n']].concat()))
            .collect();
        let sender = asyncoro::spawn(async move { far.send_all(&sent).await.map(|()| far) });
        let receive = async |max| match &end {
            End::Asynchronous(socket) => socket.recv_line(max).await,
            End::Blocking(socket) => {
                // On another thread: the sender needs this one.
                let socket = socket.clone();
                asyncoro::pool::run(move || socket.recv_line(max)).await
            }
        };
        for number in 0..2000 {
            assert_eq!(receive(10).await.unwrap().unwrap(), number.to_string());
        }
        for length in lengths {
            assert_eq!(receive(300_001).await.unwrap().unwrap(), vec![b'x'; length]);
        }
        drop(sender.await.unwrap().unwrap());
        assert_eq!(receive(10).await.unwrap(), None);
    });
}
