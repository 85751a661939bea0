//! Making sockets with the usual steps: servers, connections, datagram sockets.

use std::{
    future::{self, Future, IntoFuture},
    io,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::Type;

use super::{AsyncSocket, verb::Verb};
use crate::{
    addr::{Address, Target, ToAddress},
    coro::current,
    driver::Driver,
    error, resolve,
    socket::{
        make::{UNIX_PAUSE, bind_one, of_family, open},
        op::Connect,
    },
    time::{Sleep, sleep},
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
    /// A host name is resolved; if it has several addresses they are tried one after another, the
    /// next one after 250 ms or when one fails, and the first connection wins (Happy Eyeballs,
    /// RFC 8305).
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
    /// That of the attempt that failed first, with host and port in the text ([`error::os_code`]
    /// finds the code); `NotFound` ([`error::Unresolved`]) for a name without an address.
    ///
    /// # Cancel
    /// All attempts are given up.
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
    Race::new(resolve::target(target).await?).await
}

/// The address that a socket can use: the first of its family, resolved if need be.
pub(super) async fn first(socket: &AsyncSocket, target: Target) -> io::Result<Address> {
    match target {
        Target::Address(address) => Ok(address),
        name => {
            let addresses = resolve::target(name).await?;
            let domain = socket.core.with_sys(|sys| Ok(sys.domain()))?;
            Ok(of_family(addresses, domain))
        }
    }
}

/// Connects, and waits where a Unix listener's queue is full.
pub(super) async fn connect(socket: &AsyncSocket, address: Address) -> io::Result<()> {
    patiently(socket, async || Verb::new(&socket.core, Connect::To(address.clone())).await).await
}

/// Attempts anew where the queue of another Unix socket is full, under the socket's timeout.
pub(super) async fn patiently<T>(
    socket: &AsyncSocket,
    mut attempt: impl AsyncFnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut deadline = None;
    loop {
        match attempt().await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let now = Driver::now();
                let timeout = socket.timeout();
                let deadline = *deadline.get_or_insert_with(|| now.checked_add(timeout?));
                if deadline.is_some_and(|deadline| now >= deadline) {
                    return Err(error::timed_out(0, false));
                }
                sleep(UNIX_PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn bound(
    address: &impl ToAddress,
    verb: &'static str,
    kind: Type,
) -> io::Result<AsyncSocket> {
    // Also where there is nothing to wait for: what works by chance outside must not.
    current::expect(verb, |_| ());
    let target = address.to_target()?;
    let shown = target.to_string();
    let made = async {
        let mut first_error = None;
        for address in resolve::target(target).await? {
            match bind_one(&address, kind) {
                Ok(sys) => return Ok(AsyncSocket::from_parts(sys.into())),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    };
    made.await.map_err(|error| error::context(verb, shown, error))
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<AsyncSocket>>>>;

/// Connects to several addresses, each a while after the one before; the first connection wins.
struct Race {
    addresses: std::vec::IntoIter<Address>,
    attempts: Vec<Attempt>,
    /// When the next attempt begins.
    next: Option<Sleep>,
    error: Option<io::Error>,
}

impl Race {
    fn new(addresses: Vec<Address>) -> Race {
        let addresses = addresses.into_iter();
        Race { addresses, attempts: Vec::new(), next: None, error: None }
    }

    /// Begins the next attempt; `false` if there is none.
    fn begin(&mut self) -> bool {
        let Some(address) = self.addresses.next() else { return false };
        self.attempts.push(Box::pin(async move {
            let socket = AsyncSocket::from_parts(open(&address, Type::STREAM)?.into());
            connect(&socket, address).await?;
            Ok(socket)
        }));
        let more = !self.addresses.as_slice().is_empty();
        self.next = more.then(|| sleep(resolve::ATTEMPT_DELAY));
        true
    }

    /// Looks at the attempts under way; `Err` says how many have failed.
    fn look(&mut self, cx: &mut Context<'_>) -> Result<AsyncSocket, usize> {
        let mut failed = 0;
        let mut winner = None;
        self.attempts.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(socket)) => {
                winner.get_or_insert(socket);
                false
            }
            Poll::Ready(Err(error)) => {
                failed += 1;
                self.error.get_or_insert(error);
                false
            }
        });
        winner.ok_or(failed)
    }

    fn is_time(&mut self, cx: &mut Context<'_>) -> bool {
        self.next.as_mut().is_some_and(|next| Pin::new(next).poll(cx).is_ready())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncSocket>> {
        loop {
            match self.look(cx) {
                Ok(socket) => return Poll::Ready(Ok(socket)),
                Err(failed) => {
                    let due = failed > 0 || self.attempts.is_empty() || self.is_time(cx);
                    if due && self.begin() {
                        continue;
                    }
                }
            }
            if !self.attempts.is_empty() {
                return Poll::Pending;
            }
            let error = self.error.take();
            return Poll::Ready(Err(error.unwrap_or_else(|| io::ErrorKind::NotFound.into())));
        }
    }
}

impl IntoFuture for Race {
    type Output = io::Result<AsyncSocket>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(future::poll_fn(move |cx| self.poll(cx)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, TcpStream},
        time::{Duration, Instant},
    };

    use socket2::{Domain, Socket};

    use super::*;
    use crate::coro;

    /// A socket that has an address, and listens where there is a backlog.
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

    /// One that nobody listens at.
    fn refusing() -> (Socket, Address) {
        listener(None)
    }

    /// One whose queue is full, so that the system does not answer.
    fn silent() -> (Socket, Address, TcpStream) {
        let (socket, address) = listener(Some(0));
        let first = TcpStream::connect(address.socket_addr().unwrap()).unwrap();
        (socket, address, first)
    }

    /// One that the system refuses at once.
    fn unreachable() -> Address {
        "255.255.255.255:9".parse().unwrap()
    }

    fn race(addresses: &[&Address]) -> (io::Result<Address>, Duration) {
        let addresses = addresses.iter().map(|address| (*address).clone()).collect();
        coro::run(async {
            let before = Instant::now();
            let winner = Race::new(addresses).await.map(|socket| socket.peer_addr().unwrap());
            (winner, before.elapsed())
        })
    }

    #[test]
    fn an_address_of_the_sockets_family_is_chosen() {
        let all = ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1"];
        let all = || all.map(|text| text.parse::<Address>().unwrap()).to_vec();
        let chosen = |family| of_family(all(), family).to_string();
        assert_eq!(chosen(Some(Domain::IPV4)), "127.0.0.1:1");
        assert_eq!(chosen(Some(Domain::IPV6)), "[::1]:1");
        // Nothing fits, or nothing is known: the system says what is wrong with the first.
        assert_eq!(chosen(Some(Domain::UNIX)), "[::1]:1");
        assert_eq!(chosen(None), "[::1]:1");
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
        // A failure beside a silent one does not wait for the delay again.
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
            let race = coro::spawn(Race::new(addresses).into_future());
            sleep(resolve::ATTEMPT_DELAY * 2).await;
            // Room in the queue: the system's next attempt to reach it succeeds.
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
