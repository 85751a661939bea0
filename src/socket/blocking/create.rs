//! Creates blocking sockets with the usual steps: servers, connections, datagram sockets.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use socket2::Type;

use super::{BlockingSocket, interrupt};
#[cfg(doc)]
use crate::socket::AsyncSocket;
use crate::{
    addr::{Address, Target, ToAddress},
    coro::RETRY_PAUSE,
    driver::Driver,
    error, resolve,
    socket::{
        link::Link,
        make::{UNIX_PAUSE, bind_first, open},
        op::{Connect, Op},
        race::{Next, Race},
        settings::Settings,
        side::{Progress, WriteSide},
    },
    sys::{Call, Meaning, Sys, meaning, wait_for_room},
};

impl BlockingSocket {
    /// Makes a listening socket, see [`AsyncSocket::create_server`].
    ///
    /// # Errors
    /// As [`AsyncSocket::create_server`].
    pub fn create_server(address: impl ToAddress) -> io::Result<BlockingSocket> {
        bound(&address, "create_server", Type::STREAM)
    }

    /// Connects to an address, see [`AsyncSocket::create_connection`].
    ///
    /// # Errors
    /// As [`AsyncSocket::create_connection`].
    pub fn create_connection(address: impl ToAddress) -> io::Result<BlockingSocket> {
        let target = address.to_target()?;
        let shown = target.to_string();
        let connected = connection(target);
        connected.map_err(|error| error::context("create_connection", shown, error))
    }

    /// Makes a datagram socket bound to an address, see [`AsyncSocket::create_datagram`].
    ///
    /// # Errors
    /// As [`AsyncSocket::create_datagram`].
    pub fn create_datagram(address: impl ToAddress) -> io::Result<BlockingSocket> {
        bound(&address, "create_datagram", Type::DGRAM)
    }
}

fn bound(address: &impl ToAddress, verb: &'static str, kind: Type) -> io::Result<BlockingSocket> {
    let target = address.to_target()?;
    let shown = target.to_string();
    let addresses = resolve::target_blocking(target);
    let made = addresses.and_then(|addresses| bind_first(&addresses, kind));
    let made = made.map(|sys| BlockingSocket::from_parts(sys.into()));
    made.map_err(|error| error::context(verb, shown, error))
}

/// Connects to the first address of a target that answers.
pub(super) fn connection(target: Target) -> io::Result<BlockingSocket> {
    let connected = connect_to_any(resolve::target_blocking(target)?)?;
    Ok(BlockingSocket::from_parts(connected.into()))
}

/// Connects to several addresses, each some time after the previous; the first connection wins.
fn connect_to_any(addresses: Vec<Address>) -> io::Result<Sys> {
    let mut race = Race::new(addresses);
    let mut attempts: Vec<Attempt> = Vec::new();
    loop {
        let mut winner = None;
        attempts.retain_mut(|attempt| match attempt.go_on() {
            Progress::Done(Ok(())) => {
                winner.get_or_insert(attempt.link.take());
                false
            }
            Progress::Done(Err(error)) => {
                race.fail(error);
                false
            }
            Progress::Wait | Progress::Again => true,
        });
        if let Some(link) = winner.flatten() {
            return Ok(link.into_sys());
        }
        match race.next(Driver::now()) {
            Next::Begin(address) => match open(&address, Type::STREAM) {
                Ok(sys) => attempts.push(Attempt::new(sys, address)),
                Err(error) => race.fail(error),
            },
            Next::Wait(until) => wait(&attempts, until)?,
            Next::Fail(error) => return Err(error),
        }
    }
}

/// An attempt to connect to one address.
struct Attempt {
    /// `None` once the attempt has won.
    link: Option<Link>,
    address: Address,
    side: WriteSide,
    op: Connect,
    /// When to try again, if the queue of a Unix listener is full.
    again_at: Option<Instant>,
}

impl Attempt {
    fn new(sys: Sys, address: Address) -> Attempt {
        let op = Connect::To(address.clone());
        Attempt { link: Some(sys.into()), address, side: WriteSide::default(), op, again_at: None }
    }

    fn go_on(&mut self) -> Progress<()> {
        let Some(link) = &self.link else { return Progress::Wait };
        if self.again_at.is_some_and(|again_at| Driver::now() < again_at) {
            return Progress::Wait;
        }
        self.again_at = None;
        self.side.refill();
        match self.op.step(link, Settings::new(), &mut self.side) {
            Progress::Done(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.op = Connect::To(self.address.clone());
                self.again_at = Some(Driver::now() + UNIX_PAUSE);
                Progress::Wait
            }
            progress => progress,
        }
    }
}

/// Waits until an attempt may have ended or must be repeated, or until an instant.
fn wait(attempts: &[Attempt], until: Option<Instant>) -> io::Result<()> {
    let again_at = attempts.iter().filter_map(|attempt| attempt.again_at);
    let until = again_at.chain(until).min();
    let left = until.map(|until| until.saturating_duration_since(Driver::now()));
    let begun = attempts.iter().filter(|attempt| attempt.again_at.is_none());
    let begun: Vec<&Sys> = begun.filter_map(|attempt| Some(attempt.link.as_ref()?.sys())).collect();
    match wait_for_room(&begun, left) {
        Ok(true) => Ok(()),
        // A signal interrupted the wait.
        Ok(false) => interrupt::check(&begun),
        Err(error) if meaning(Call::Poll, error) == Meaning::Pause => {
            thread::sleep(left.map_or(RETRY_PAUSE, |left: Duration| left.min(RETRY_PAUSE)));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use socket2::{Domain, Socket};

    use super::*;

    /// Returns a bound socket, which listens if there is a backlog.
    fn listener(backlog: Option<i32>) -> (Socket, Address) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        if let Some(backlog) = backlog {
            socket.listen(backlog).unwrap();
        }
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address.into())
    }

    /// Returns an address that the system refuses at once.
    fn unreachable() -> Address {
        "255.255.255.255:9".parse().unwrap()
    }

    fn winner(addresses: &[&Address]) -> io::Result<Address> {
        let addresses = addresses.iter().map(|address| (*address).clone()).collect();
        Ok(connect_to_any(addresses)?.peer_addr()?)
    }

    #[test]
    fn an_address_that_fails_is_followed_by_the_next_at_once() {
        let ((_refusing, refused), (_good, good)) = (listener(None), listener(Some(8)));
        assert_eq!(winner(&[&refused, &unreachable(), &refused, &good]).unwrap(), good);
    }

    #[test]
    fn a_silent_address_is_overtaken_after_the_delay() {
        // The first one's queue is full, so that the system does not answer.
        let ((_silent, silent), (_good, good)) = (listener(Some(0)), listener(Some(8)));
        let _first = TcpStream::connect(silent.socket_addr().unwrap()).unwrap();
        let before = Instant::now();
        assert_eq!(winner(&[&silent, &good]).unwrap(), good);
        assert!(before.elapsed() >= resolve::ATTEMPT_DELAY);
    }

    #[test]
    fn when_all_fail_the_first_failure_is_told() {
        let (_refusing, refused) = listener(None);
        let kind = |addresses: &[&Address]| winner(addresses).unwrap_err().kind();
        assert_eq!(kind(&[&refused, &unreachable()]), io::ErrorKind::ConnectionRefused);
        assert_ne!(kind(&[&unreachable(), &refused]), io::ErrorKind::ConnectionRefused);
        assert_eq!(kind(&[]), io::ErrorKind::NotFound);
    }
}
