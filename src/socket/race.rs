//! Happy Eyeballs (RFC 8305): in which order several addresses are tried, and when.
//!
//! A state machine without I/O. Its caller reports failures and the time, and gets the next action.
//! The first connection wins; its caller asks no more.

use std::{io, time::Instant, vec};

use crate::{addr::Address, resolve::ATTEMPT_DELAY};

/// The attempts to connect to several addresses.
pub(crate) struct Race {
    addresses: vec::IntoIter<Address>,
    under_way: usize,
    /// An attempt has failed, so that the next one begins at once.
    has_failed: bool,
    /// When the next attempt begins beside those under way.
    next_at: Option<Instant>,
    /// The failure that came first.
    error: Option<io::Error>,
}

/// The next action.
pub(crate) enum Next {
    /// Begin an attempt to this address.
    Begin(Address),
    /// Wait until an attempt under way ends, or until this instant.
    Wait(Option<Instant>),
    /// Fail: all attempts have failed.
    Fail(io::Error),
}

impl Race {
    /// Makes a race between addresses, which are tried in this order.
    pub(crate) fn new(addresses: Vec<Address>) -> Race {
        let addresses = addresses.into_iter();
        Race { addresses, under_way: 0, has_failed: false, next_at: None, error: None }
    }

    /// Notes that an attempt has failed.
    pub(crate) fn fail(&mut self, error: io::Error) {
        self.under_way -= 1;
        self.has_failed = true;
        self.error.get_or_insert(error);
    }

    /// Returns the next action.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        let is_time = self.next_at.is_some_and(|next_at| now >= next_at);
        if (self.has_failed || self.under_way == 0 || is_time)
            && let Some(address) = self.addresses.next()
        {
            self.under_way += 1;
            self.has_failed = false;
            let more = !self.addresses.as_slice().is_empty();
            self.next_at = more.then(|| now + ATTEMPT_DELAY);
            return Next::Begin(address);
        }
        if self.under_way > 0 {
            return Next::Wait(self.next_at);
        }
        Next::Fail(self.error.take().unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;

    fn race(ports: std::ops::Range<u16>) -> Race {
        Race::new(ports.map(|port| format!("127.0.0.1:{port}").parse().unwrap()).collect())
    }

    fn begun(next: Next) -> String {
        match next {
            Next::Begin(address) => address.to_string(),
            Next::Wait(_) => "waits".to_owned(),
            Next::Fail(error) => error.to_string(),
        }
    }

    #[test]
    fn the_next_address_is_tried_after_a_failure_or_a_while() {
        let (mut race, now) = (race(1..5), Driver::now());
        assert_eq!(begun(race.next(now)), "127.0.0.1:1");
        assert!(matches!(race.next(now), Next::Wait(Some(at)) if at == now + ATTEMPT_DELAY));
        assert_eq!(begun(race.next(now + ATTEMPT_DELAY)), "127.0.0.1:2");
        race.fail(io::Error::other("first"));
        race.fail(io::Error::other("second"));
        // Two failures together begin one attempt.
        assert_eq!(begun(race.next(now)), "127.0.0.1:3");
        assert_eq!(begun(race.next(now)), "waits");
        race.fail(io::Error::other("third"));
        assert_eq!(begun(race.next(now)), "127.0.0.1:4");
        assert!(matches!(race.next(now), Next::Wait(None)), "there is no other");
        race.fail(io::Error::other("fourth"));
        assert_eq!(begun(race.next(now)), "first");
    }

    #[test]
    fn a_race_without_addresses_fails() {
        let next = race(1..1).next(Driver::now());
        assert!(matches!(next, Next::Fail(error) if error.kind() == io::ErrorKind::NotFound));
    }
}
