//! Creates sockets with the usual steps: servers, connections, datagram sockets.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::Type;

use super::AsyncSocket;
use crate::{
    addr::{Address, Target, ToAddress},
    coro::current,
    driver::Driver,
    error, resolve,
    socket::{
        make::{bind_first, open},
        op::connect,
        race::{Next, Race},
    },
    time::{Sleep, sleep_until},
};

impl AsyncSocket {
    /// Makes a listening socket: opened, bound, listening, with TCP_NODELAY and SO_REUSEADDR.
    ///
    /// A host name is resolved, and the first of its addresses that can be bound is used. A path
    /// makes a Unix socket; the file must not exist.
    ///
    /// # Errors
    /// The system's, with the address in the text ([`error::os_code`] finds the code); `NotFound`
    /// ([`error::Unresolved`]) for a name without an address.
    pub async fn create_server(address: impl ToAddress) -> io::Result<AsyncSocket> {
        bound(&address, "create_server", Type::STREAM).await
    }

    /// Connects to an address: opens the socket and sets TCP_NODELAY.
    ///
    /// A host name is resolved. Several addresses are tried one after another, the next one after
    /// 250 ms or when one fails; the first connection wins (Happy Eyeballs, RFC 8305).
    ///
    /// ```no_run
    /// # async fn f() -> std::io::Result<()> {
    /// use std::time::Duration;
    /// use asyncoro::{AsyncSocket, time::timeout};
    ///
    /// let connecting = AsyncSocket::create_connection(("example.org", 80));
    /// let socket = timeout(Duration::from_secs(10), connecting).await??;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of the attempt that failed first, with host and port in the text
    /// ([`error::os_code`] finds the code); `NotFound` ([`error::Unresolved`]) for a name without
    /// an address.
    ///
    /// # Cancel
    /// All attempts are abandoned.
    pub async fn create_connection(address: impl ToAddress) -> io::Result<AsyncSocket> {
        current::expect("create_connection", |_| ());
        let target = address.to_target()?;
        let shown = target.to_string();
        let connected = connection(target).await;
        connected.map_err(|error| error::context("create_connection", shown, error))
    }

    /// Makes a datagram socket bound to an address.
    ///
    /// # Errors
    /// As [`AsyncSocket::create_server`].
    pub async fn create_datagram(address: impl ToAddress) -> io::Result<AsyncSocket> {
        bound(&address, "create_datagram", Type::DGRAM).await
    }
}

/// Connects to the first address of a target that answers.
pub(super) async fn connection(target: Target) -> io::Result<AsyncSocket> {
    connect_to_any(resolve::target(target).await?).await
}

async fn bound(
    address: &impl ToAddress,
    verb: &'static str,
    kind: Type,
) -> io::Result<AsyncSocket> {
    // Checked even if nothing has to wait: a call outside a scheduler must not work by chance.
    current::expect(verb, |_| ());
    let target = address.to_target()?;
    let shown = target.to_string();
    let made = async {
        let sys = bind_first(&resolve::target(target).await?, kind)?;
        Ok(AsyncSocket::from_parts(sys.into()))
    };
    made.await.map_err(|error| error::context(verb, shown, error))
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<AsyncSocket>>>>;

/// Connects to several addresses, each some time after the previous; the first connection wins.
fn connect_to_any(addresses: Vec<Address>) -> Attempt {
    let mut race = Race::new(addresses);
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut pause: Option<Sleep> = None;
    Box::pin(poll_fn(move |cx| {
        loop {
            if let Some(winner) = look(&mut attempts, &mut race, cx) {
                return Poll::Ready(Ok(winner));
            }
            match race.next(Driver::now()) {
                Next::Begin(address) => {
                    attempts.push(Box::pin(attempt(address)));
                    pause = None;
                }
                Next::Wait(until) => {
                    let Some(until) = until else { return Poll::Pending };
                    let pause = pause.get_or_insert_with(|| sleep_until(until));
                    if Pin::new(pause).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                Next::Fail(error) => return Poll::Ready(Err(error)),
            }
        }
    }))
}

/// Polls the attempts under way; returns the first that has succeeded.
fn look(attempts: &mut Vec<Attempt>, race: &mut Race, cx: &mut Context<'_>) -> Option<AsyncSocket> {
    let mut winner = None;
    attempts.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
        Poll::Pending => true,
        Poll::Ready(Ok(socket)) => {
            winner.get_or_insert(socket);
            false
        }
        Poll::Ready(Err(error)) => {
            race.fail(error);
            false
        }
    });
    winner
}

async fn attempt(address: Address) -> io::Result<AsyncSocket> {
    let socket = AsyncSocket::from_parts(open(&address, Type::STREAM)?.into());
    connect(&socket.core, address).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, TcpStream},
        time::{Duration, Instant},
    };

    use socket2::{Domain, Socket};

    use super::*;
    use crate::{coro, time::sleep};

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

    fn good() -> (Socket, Address) {
        listener(Some(8))
    }

    /// Returns an address at which nobody listens.
    fn refusing() -> (Socket, Address) {
        listener(None)
    }

    /// Returns a listener whose queue is full, so that the system does not answer.
    fn silent() -> (Socket, Address, TcpStream) {
        let (socket, address) = listener(Some(0));
        let first = TcpStream::connect(address.socket_addr().unwrap()).unwrap();
        (socket, address, first)
    }

    /// Returns an address that the system refuses at once.
    fn unreachable() -> Address {
        "255.255.255.255:9".parse().unwrap()
    }

    fn race(addresses: &[&Address]) -> (io::Result<Address>, Duration) {
        let addresses = addresses.iter().map(|address| (*address).clone()).collect();
        coro::run(async {
            let before = Instant::now();
            let winner = connect_to_any(addresses).await.map(|socket| socket.peer_addr().unwrap());
            (winner, before.elapsed())
        })
    }

    #[test]
    fn an_address_that_fails_is_followed_by_the_next_at_once() {
        let ((_refusing, refused), (_good, good)) = (refusing(), good());
        let (winner, _) = race(&[&refused, &unreachable(), &refused, &good]);
        assert_eq!(winner.unwrap(), good);
    }

    #[test]
    fn a_silent_address_is_overtaken_after_the_delay() {
        let ((_silent, silent, _first), (_good, good)) = (silent(), good());
        let (winner, took) = race(&[&silent, &good]);
        assert_eq!(winner.unwrap(), good);
        assert!(took >= resolve::ATTEMPT_DELAY, "{took:?}");
        // A failure beside an address that does not answer does not wait for the delay again.
        let (_refusing, refused) = refusing();
        let (winner, took) = race(&[&silent, &refused, &good]);
        assert_eq!(winner.unwrap(), good);
        assert!(took >= resolve::ATTEMPT_DELAY, "{took:?}");
    }

    #[test]
    fn the_first_address_wins_when_it_answers() {
        let ((_first, first), (second, other)) = (good(), good());
        assert_eq!(race(&[&first, &other]).0.unwrap(), first);
        second.set_nonblocking(true).unwrap();
        assert_eq!(second.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_slow_first_address_still_wins_while_later_ones_are_silent() {
        let ((slow, slow_address, _first), (_silent, silent, _)) = (silent(), silent());
        let addresses = vec![slow_address.clone(), silent];
        let winner = coro::run(async {
            let race = coro::spawn(connect_to_any(addresses));
            sleep(resolve::ATTEMPT_DELAY * 2).await;
            // Makes room in the queue: the system's next attempt to reach it succeeds.
            drop(slow.accept().unwrap());
            race.await.unwrap().unwrap().peer_addr().unwrap()
        });
        assert_eq!(winner, slow_address);
    }

    #[test]
    fn when_all_fail_the_first_failure_is_told() {
        let (_refusing, refused) = refusing();
        let (error, _) = race(&[&refused, &unreachable()]);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let (error, _) = race(&[&unreachable(), &refused]);
        assert_ne!(error.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
