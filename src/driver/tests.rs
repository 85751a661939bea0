//! Tests of the contract in `driver/mod.rs`, run on both backends.

use std::{
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::{Duration, Instant},
};

use super::{BackendKind, Driver, Interest, Ready, Token};

const KINDS: [BackendKind; 2] = [
    #[cfg(target_os = "linux")]
    BackendKind::Epoll,
    BackendKind::Portable,
];

const TOKEN: Token = Token(7);

fn each(test: impl Fn(Driver)) {
    for kind in KINDS {
        test(Driver::new(kind, Duration::ZERO).unwrap());
    }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(5))
}

fn ready(driver: &mut Driver) -> Option<Ready> {
    let events = driver.take_events();
    let ready = events.iter().map(|event| {
        assert_eq!(event.token, TOKEN);
        event.ready
    });
    let ready = ready.reduce(Ready::and);
    driver.recycle(events);
    ready
}

#[test]
fn what_is_ready_at_registration_is_reported() {
    each(|mut driver| {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"x").unwrap();
        driver.add(far.as_fd(), Interest::Read, TOKEN).unwrap();
        driver.idle(soon(), true).unwrap();
        assert!(ready(&mut driver).unwrap().any(Ready::READ));
        driver.remove(far.as_fd());
    });
}

#[test]
fn an_edge_is_reported_once_and_again_with_new_data() {
    each(|mut driver| {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        driver.add(far.as_fd(), Interest::Read, TOKEN).unwrap();
        driver.poll().unwrap();
        assert_eq!(ready(&mut driver), None);
        near.write_all(b"x").unwrap();
        driver.idle(soon(), true).unwrap();
        assert!(ready(&mut driver).unwrap().any(Ready::READ));
        driver.poll().unwrap();
        assert_eq!(ready(&mut driver), None, "no second report without news");
        far.read_exact(&mut [0]).unwrap();
        near.write_all(b"y").unwrap();
        driver.idle(soon(), true).unwrap();
        assert!(ready(&mut driver).unwrap().any(Ready::READ));
        driver.remove(far.as_fd());
    });
}

#[test]
fn interest_in_writing_can_be_added_later() {
    each(|mut driver| {
        let (_near, far) = UnixStream::pair().unwrap();
        driver.add(far.as_fd(), Interest::Read, TOKEN).unwrap();
        driver.poll().unwrap();
        assert_eq!(ready(&mut driver), None);
        driver.modify(far.as_fd(), Interest::Both, TOKEN).unwrap();
        driver.idle(soon(), true).unwrap();
        assert!(ready(&mut driver).unwrap().any(Ready::WRITE));
        driver.remove(far.as_fd());
    });
}

#[test]
fn registering_twice_is_refused_and_a_duplicate_is_told_as_well() {
    each(|mut driver| {
        let (mut near, far) = UnixStream::pair().unwrap();
        driver.add(far.as_fd(), Interest::Read, Token(8)).unwrap();
        let error = driver.add(far.as_fd(), Interest::Read, TOKEN).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        let duplicate = far.try_clone().unwrap();
        driver.add(duplicate.as_fd(), Interest::Read, TOKEN).unwrap();
        near.write_all(b"x").unwrap();
        let mut told = Vec::new();
        while told.len() < 2 {
            driver.idle(soon(), true).unwrap();
            let events = driver.take_events();
            told.extend(events.iter().map(|event| event.token.0));
            driver.recycle(events);
        }
        told.sort_unstable();
        assert_eq!(told, [7, 8]);
        driver.remove(duplicate.as_fd());
        driver.remove(far.as_fd());
    });
}

#[test]
fn modifying_what_is_not_there_works() {
    each(|mut driver| {
        let (_near, far) = UnixStream::pair().unwrap();
        driver.modify(far.as_fd(), Interest::Both, TOKEN).unwrap();
        driver.idle(soon(), true).unwrap();
        assert!(ready(&mut driver).unwrap().any(Ready::WRITE));
        driver.remove(far.as_fd());
        driver.remove(far.as_fd());
    });
}

#[test]
fn a_hangup_is_readable() {
    each(|mut driver| {
        let (near, far) = UnixStream::pair().unwrap();
        driver.add(far.as_fd(), Interest::Read, TOKEN).unwrap();
        drop(near);
        driver.idle(soon(), true).unwrap();
        let ready = ready(&mut driver).unwrap();
        assert!(ready.any(Ready::READ));
        assert!(!driver.tells_hangup() || ready.any(Ready::HANGUP));
        driver.remove(far.as_fd());
    });
}

#[test]
fn a_removed_source_is_silent() {
    each(|mut driver| {
        let (mut near, far) = UnixStream::pair().unwrap();
        driver.add(far.as_fd(), Interest::Read, TOKEN).unwrap();
        driver.remove(far.as_fd());
        near.write_all(b"x").unwrap();
        driver.poll().unwrap();
        assert_eq!(ready(&mut driver), None);
    });
}

#[test]
fn a_ring_ends_a_sleep_from_another_thread() {
    each(|mut driver| {
        let bell = driver.bell();
        let ringer = thread::spawn(move || bell.ring());
        driver.idle(soon(), true).unwrap();
        ringer.join().unwrap();
        assert!(driver.bell().is_rung());
    });
}

#[test]
fn a_ring_before_the_sleep_prevents_it() {
    each(|mut driver| {
        driver.bell().ring();
        let before = Instant::now();
        driver.idle(soon(), true).unwrap();
        assert!(before.elapsed() < Duration::from_secs(4));
    });
}

#[test]
fn a_sleep_never_ends_before_its_deadline() {
    each(|mut driver| {
        for us in [50, 300, 1700] {
            let deadline = Instant::now() + Duration::from_micros(us);
            while Instant::now() < deadline {
                driver.idle(Some(deadline), true).unwrap();
                assert_eq!(ready(&mut driver), None);
            }
        }
    });
}

#[test]
fn a_spinning_driver_hears_the_bell_and_events() {
    for kind in KINDS {
        let mut driver = Driver::new(kind, Duration::from_millis(50)).unwrap();
        for _ in 0..20 {
            driver.bell().ring();
            driver.idle(soon(), true).unwrap();
            assert!(driver.bell().answer());
        }
        let (mut near, far) = UnixStream::pair().unwrap();
        driver.add(far.as_fd(), Interest::Read, TOKEN).unwrap();
        for _ in 0..20 {
            near.write_all(b"x").unwrap();
            driver.idle(soon(), true).unwrap();
            assert!(ready(&mut driver).unwrap().any(Ready::READ));
        }
        driver.remove(far.as_fd());
    }
}
