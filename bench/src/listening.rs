//! Servers that listen in a process of their own, with their clients in the parent.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_tcp_congestion, set_tcp_nodelay};

use crate::child::{self, Child};
use crate::runtime::Net;
use crate::served::echo_stream;

/// Serves a listener forever, with buffers of the given length.
pub(crate) type Listen = fn(TcpListener, usize) -> io::Result<()>;

/// Sends back what it receives, in a coroutine for each connection.
pub(crate) fn echo<R: Net>(listener: TcpListener, length: usize) -> io::Result<()> {
    listen::<R, _>(listener, move |stream| echo_stream::<R>(stream, length, |_| ()))
}

/// Accepts, and spawns a coroutine for each connection.
pub(crate) fn listen<R: Net, F: Future<Output = ()> + 'static>(
    listener: TcpListener,
    serve: impl Fn(R::Stream) -> F + 'static,
) -> io::Result<()> {
    R::new()?.block_on(async move {
        let listener = R::listener(listener)?;
        loop {
            R::detach(R::spawn(serve(R::accept(&listener).await?)));
        }
    })
}

/// In a child: listens, prints the port, and serves until the parent ends it.
pub(crate) fn run(serve: impl FnOnce(TcpListener) -> io::Result<()>) -> io::Result<()> {
    let _orders = child::begin()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, 1024)?;
    // Accepted sockets inherit both: see `load.rs`.
    set_tcp_nodelay(&listener, true)?;
    set_tcp_congestion(&listener, "reno")?;
    println!("{}", listener.local_addr()?.port());
    serve(listener)
}

/// In the parent: starts a child that listens; returns its port.
pub(crate) fn start(part: &[&str]) -> io::Result<(Child, u16)> {
    start_with(part, &[])
}

/// Does the same with variables of the environment.
pub(crate) fn start_with(part: &[&str], variables: &[(&str, &str)]) -> io::Result<(Child, u16)> {
    let mut child = Child::start_with(part, variables)?;
    let [port] = child.numbers()?;
    Ok((child, u16::try_from(port).map_err(io::Error::other)?))
}

/// Connects to the child with a blocking socket.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    set_tcp_congestion(&client, "reno")?;
    // The client closes first, by a reset, so that no port stays in TIME_WAIT.
    set_socket_linger(&client, Some(Duration::ZERO))?;
    Ok(client)
}

/// Far longer than loopback ever takes.
const PATIENCE: Duration = Duration::from_secs(5);
