//! Bytes beyond what a verb takes: the next verb, whichever it is, gets them, and they hide nothing
//! that comes after them.

use crate::{
    pairs::{pair, settle},
    verbs::{End, Face, READERS, each_face, each_kind, full, named, receive_filling, unit},
};

/// One verb takes the first of two units that come together; a third comes, and then each verb
/// takes the second and the third.
#[test]
fn what_comes_while_bytes_are_left_over_is_seen_by_the_next_verb_but_one() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        for &first in READERS.iter().filter(|verb| !verb.only_looks()) {
            for &second in READERS {
                if first.name == "recv_with" || second.name == "recv_with" {
                    // It takes all there is.
                    continue;
                }
                let waiting = end.begin(first, &[]).await;
                far.send_all(&[unit(1), unit(2)].concat()).await.unwrap();
                assert_eq!(waiting.result().await.unwrap(), unit(1), "{first:?}");
                far.send_all(&unit(3)).await.unwrap();
                settle().await;
                for number in [2, 3] {
                    let got = end.call(second, &[]).await.unwrap();
                    let expected = unit(number);
                    match second.name {
                        "readable" => assert!(got.is_empty()),
                        _ => assert_eq!(got, expected, "{second:?} after {first:?}"),
                    }
                    if second.only_looks() {
                        assert_eq!(end.call(named("recv"), &[]).await.unwrap(), expected);
                    }
                }
            }
            if face == Face::Blocking {
                // Nothing is kept between two calls but the bytes: one verb stands for all.
                break;
            }
        }
    });
}

#[test]
fn has_received_tells_of_bytes_left_over_on_each_face() {
    each_face(async |kind, face| {
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        let has_received = || match &end {
            End::Asynchronous(socket) => socket.has_received(),
            End::Blocking(socket) => socket.has_received(),
        };
        for &verb in READERS.iter().filter(|verb| !verb.only_looks() && verb.name != "recv_with") {
            assert!(!has_received());
            let waiting = end.begin(named("recv_msg"), &[]).await;
            far.send_all(&[unit(1), unit(2)].concat()).await.unwrap();
            assert_eq!(waiting.result().await.unwrap(), unit(1));
            assert!(has_received(), "before {verb:?}");
            assert_eq!(end.call(verb, &[]).await.unwrap(), unit(2));
            assert!(!has_received(), "after {verb:?}");
        }
    });
}

#[test]
fn is_full_tells_of_a_queue_that_has_no_room_until_it_has_left() {
    each_kind(async |kind| {
        let (end, far) = full(kind, Face::Asynchronous).await;
        let End::Asynchronous(near) = &end else { unreachable!() };
        assert!(near.is_full());
        let waiting = end.begin(named("writable"), &[]).await;
        receive_filling(&far).await;
        waiting.result().await.unwrap();
        assert!(!near.is_full());
    });
}
