//! Verbs of one direction, on either face, are served in the order in which they came.

use crate::{
    pairs::{pair, settle},
    verbs::{End, READERS, SHUTDOWN, UNIT, Verb, WRITERS, each_face, full, receive_filling, unit},
};

/// Returns the verbs in order and in reverse, so that each comes before and after each of its
/// neighbours.
fn orders(verbs: &[Verb]) -> [Vec<Verb>; 2] {
    [verbs.to_vec(), verbs.iter().rev().copied().collect()]
}

#[test]
fn readers_are_served_first_come_first_served_whatever_their_verbs() {
    each_face(async |kind, face| {
        for order in orders(READERS) {
            let (near, far) = pair(kind);
            let end = End::new(face, near).await;
            let mut line = Vec::new();
            for verb in order {
                line.push((verb, end.begin(verb, &[]).await));
            }
            // A unit at a time, so that only one of them can have it.
            let mut there = None;
            let mut line = line.into_iter().enumerate().peekable();
            while let Some((number, (verb, waiting))) = line.next() {
                let number = number as u8 + 20;
                if there.is_none() {
                    assert!(!waiting.is_over(), "{verb:?}");
                    far.send_all(&unit(number)).await.unwrap();
                    there = Some(number);
                }
                let got = waiting.result().await.unwrap();
                let gives_nothing = verb.name == "readable";
                let expected = unit(there.unwrap());
                assert_eq!(got, if gives_nothing { &[][..] } else { &expected }, "{verb:?}");
                if !verb.only_looks() {
                    there = None;
                    settle().await;
                    let next = line.peek();
                    assert!(next.is_none_or(|(_, (_, next))| !next.is_over()), "{verb:?}");
                }
            }
        }
    });
}

#[test]
fn writers_leave_first_come_first_served_whatever_their_verbs() {
    each_face(async |kind, face| {
        let lasting = |verb: &&Verb| verb.name != "shutdown";
        let verbs: Vec<Verb> = WRITERS.iter().filter(lasting).copied().collect();
        for mut order in orders(&verbs) {
            let (end, far) = full(kind, face).await;
            order.push(SHUTDOWN);
            let mut line = Vec::new();
            for (number, verb) in order.into_iter().enumerate() {
                let number = number as u8 + 20;
                let waiting = end.begin(verb, &unit(number)).await;
                assert!(!waiting.is_over(), "{verb:?} has to wait");
                line.push((number, verb, waiting));
            }
            receive_filling(&far).await;
            for (number, verb, waiting) in line {
                if verb.name.starts_with("send") {
                    let got = far.recv_all_bytes(UNIT).await.unwrap();
                    assert_eq!(got, unit(number)[..], "{verb:?}");
                }
                waiting.result().await.unwrap();
            }
            assert_eq!(far.recv_bytes(9).await.unwrap(), "", "the end comes last");
        }
    });
}
