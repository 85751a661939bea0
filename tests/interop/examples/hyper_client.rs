//! A client of HTTP/1.1: hyper on asyncoro's sockets, with a pool of connections.
//!
//! ```text
//! cargo run --release -p asyncoro-interop --example hyper_client URL...
//! ```
//!
//! It gets the pages one after another and prints status and length of each. Connections are kept
//! in hyper-util's pool, one of connections for each server, so pages of one server take one
//! connection. Bodies are received piece by piece, and nothing is kept of them.

use std::{
    env,
    error::Error,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use asyncoro::{AsyncSocket, Tls};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, Uri, body::Incoming, client::conn::http1, header::HOST};
use hyper_util::client::pool::{cache, map::Map};
use tower_service::Service;

type Failure = Box<dyn Error + Send + Sync>;
type Pending<T, E> = Pin<Box<dyn Future<Output = Result<T, E>>>>;

fn main() -> Result<(), Failure> {
    let pages: Vec<Uri> = env::args().skip(1).map(|url| url.parse()).collect::<Result<_, _>>()?;
    asyncoro::run_until(async {
        let mut servers = Map::builder::<Uri>()
            .keys(|page: &Uri| (page.scheme().cloned(), page.authority().cloned()))
            .values(|_| cache::builder().executor(asyncoro::interop::Executor).build(Connect))
            .build();
        for page in pages {
            let pool = servers.service(&page);
            let mut connection = pool.call(page.clone()).await?;
            // The server may have ended one that was in the pool, which does not go back there.
            while poll_fn(|cx| connection.poll_ready(cx)).await.is_err() {
                connection = pool.call(page.clone()).await?;
            }
            let authority = page.authority().map_or("", |authority| authority.as_str());
            let path = page.path_and_query().map_or("/", |path| path.as_str());
            let request = Request::get(path).header(HOST, authority).body(Empty::new())?;
            let mut response = connection.call(request).await?;
            let mut bytes = 0;
            while let Some(frame) = response.frame().await {
                bytes += frame?.data_ref().map_or(0, Bytes::len);
            }
            println!("{} {bytes} bytes {page}", response.status());
            // Dropped, the connection goes back to the pool.
        }
        Ok(())
    })
}

/// Connects to the server of a page.
struct Connect;

impl Service<Uri> for Connect {
    type Response = Connection;
    type Error = Failure;
    type Future = Pending<Connection, Failure>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, page: Uri) -> Self::Future {
        Box::pin(async move {
            let host = page.host().ok_or("a page has a server")?;
            // Of an IPv6 address in brackets.
            let host = host.trim_matches(['[', ']']);
            let is_secure = page.scheme_str() == Some("https");
            let port = page.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
            let socket = match is_secure {
                true => AsyncSocket::create_tls_connection((host, port), &Tls::client()?).await?,
                false => AsyncSocket::create_connection((host, port)).await?,
            };
            println!("connected to {}", socket.peer_addr()?);
            let (sender, connection) = http1::handshake(socket).await?;
            asyncoro::spawn(connection).or_log();
            Ok(Connection(sender))
        })
    }
}

/// A connection in the pool.
struct Connection(http1::SendRequest<Empty<Bytes>>);

impl Service<Request<Empty<Bytes>>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pending<Response<Incoming>, hyper::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
