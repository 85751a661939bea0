//! Models of two or three threads that use one mailbox, in every interleaving.
//!
//! Run by `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test --release --lib loom_`.

use loom::{sync::Arc, thread};

use super::*;
use crate::sync::loom_tests::{poll_once, wait_for};

#[test]
fn loom_a_send_is_never_lost_with_a_waiting_receiver() {
    loom::model(|| {
        let (sender, receiver) = mailbox(2);
        let thread = thread::spawn(move || {
            sender.try_send(1).unwrap();
            sender.try_send(2).unwrap();
        });
        assert_eq!(wait_for(receiver.receive()), Some(1));
        assert_eq!(wait_for(receiver.receive()), Some(2));
        assert_eq!(wait_for(receiver.receive()), None);
        thread.join().unwrap();
    });
}

#[test]
fn loom_a_full_mailbox_holds_a_sender_until_there_is_room() {
    loom::model(|| {
        let (sender, receiver) = mailbox(1);
        let thread = thread::spawn(move || {
            wait_for(sender.send(1)).unwrap();
            wait_for(sender.send(2)).unwrap();
        });
        assert_eq!(wait_for(receiver.receive()), Some(1));
        assert_eq!(wait_for(receiver.receive()), Some(2));
        thread.join().unwrap();
    });
}

#[test]
fn loom_close_wakes_a_waiting_sender() {
    loom::model(|| {
        let (sender, receiver) = mailbox(1);
        sender.try_send(1).unwrap();
        let thread = thread::spawn(move || wait_for(sender.send(2)));
        receiver.close();
        assert_eq!(thread.join().unwrap(), Err(SendError(2)));
        assert_eq!(receiver.try_receive(), Ok(1));
        assert_eq!(receiver.try_receive(), Err(TryReceiveError::Closed));
    });
}

#[test]
fn loom_close_wakes_a_waiting_receiver() {
    loom::model(|| {
        let (sender, receiver) = mailbox::<u8>(1);
        let receiver = Arc::new(receiver);
        let thread = thread::spawn({
            let receiver = receiver.clone();
            move || wait_for(receiver.receive())
        });
        receiver.close();
        assert_eq!(thread.join().unwrap(), None);
        drop(sender);
    });
}

#[test]
fn loom_a_dropped_receiver_wakes_a_waiting_sender() {
    loom::model(|| {
        let (sender, receiver) = mailbox(1);
        let thread = thread::spawn(move || {
            let sent = wait_for(sender.send(1)).and_then(|()| wait_for(sender.send(2)));
            sent.is_ok_and(|()| unreachable!("nobody made room"))
        });
        drop(receiver);
        assert!(!thread.join().unwrap());
    });
}

#[test]
fn loom_the_last_sender_wakes_a_waiting_receiver() {
    loom::model(|| {
        let (sender, receiver) = mailbox::<u8>(1);
        let other = sender.clone();
        let thread = thread::spawn(move || drop(other));
        drop(sender);
        assert_eq!(wait_for(receiver.receive()), None);
        thread.join().unwrap();
    });
}

#[test]
fn loom_a_dropped_waiting_sender_passes_its_turn_on() {
    loom::model(|| {
        let (sender, receiver) = mailbox(1);
        sender.try_send(0).unwrap();
        let thread = thread::spawn({
            let sender = sender.clone();
            move || {
                let mut dropped = sender.send(1);
                let sent = poll_once(&mut dropped).is_ready();
                drop(dropped);
                wait_for(sender.send(2)).unwrap();
                sent
            }
        });
        drop(sender);
        let mut received = Vec::new();
        while let Some(number) = wait_for(receiver.receive()) {
            received.push(number);
        }
        let sent = thread.join().unwrap();
        assert!(received == [0, 1, 2] || (!sent && received == [0, 2]), "{sent} {received:?}");
    });
}

#[test]
fn loom_a_dropped_receive_passes_its_wake_up_on() {
    loom::model(|| {
        let (sender, receiver) = mailbox(1);
        let receiver = Arc::new(receiver);
        let mut dropped = receiver.receive();
        assert!(poll_once(&mut dropped).is_pending());
        let thread = thread::spawn({
            let receiver = receiver.clone();
            move || wait_for(receiver.receive())
        });
        let sending = thread::spawn(move || {
            sender.try_send(1).unwrap();
            sender // kept, so that its end wakes nobody
        });
        drop(dropped);
        assert_eq!(thread.join().unwrap(), Some(1));
        sending.join().unwrap();
    });
}

#[test]
fn loom_two_receivers_share_two_messages() {
    loom::model(|| {
        let (sender, receiver) = mailbox(2);
        let receiver = Arc::new(receiver);
        let thread = thread::spawn({
            let receiver = receiver.clone();
            move || wait_for(receiver.receive()).unwrap()
        });
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let here = wait_for(receiver.receive()).unwrap();
        assert_eq!(thread.join().unwrap() + here, 3);
    });
}
