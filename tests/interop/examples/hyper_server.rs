//! A server of HTTP/1.1 and HTTP/2: hyper on asyncoro's sockets.
//!
//! ```text
//! cargo run --release -p asyncoro-interop --example hyper_server [ADDRESS [CHAIN KEY]]
//! curl http://127.0.0.1:8080/
//! curl --http2-prior-knowledge http://127.0.0.1:8080/
//! curl -T FILE http://127.0.0.1:8080/echo
//! ```
//!
//! `/` greets, `/echo` sends the body of a request back while it comes, `/count` tells its length.
//! With PEM files of a certificate chain and its key it speaks TLS, and HTTP/2 with clients that
//! ask for it. At Ctrl-C and SIGTERM it accepts nobody any more, answers the requests that have
//! come, and ends; what takes longer than 10 s is cut off.

use std::{env, io, pin::pin, time::Duration};

use asyncoro::{
    AsyncSocket, Tls,
    interop::{Executor, Timer},
    signal,
    time::timeout,
};
use bytes::Bytes;
use futures_util::future::select;
use http_body_util::{BodyExt, Either, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::server::{conn::auto, graceful::GracefulShutdown};

/// How long the head of a request may take, and how long a client of HTTP/2 may be silent before it
/// is asked whether it is still there.
const LONGEST_HEAD: Duration = Duration::from_secs(10);
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// How long the end may take.
const LONGEST_END: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".to_owned());
    let files = arguments.next().zip(arguments.next());
    asyncoro::run_until(async {
        let shutdown = signal::shutdown();
        let mut server = AsyncSocket::create_server(address).await?;
        if let Some((chain, key)) = files {
            server = server.with_tls(Tls::server(chain, key)?.alpn(["h2", "http/1.1"]))?;
        }
        println!("listening on {}", server.local_addr()?);
        let connections = GracefulShutdown::new();
        select(pin!(serve(server, &connections)), shutdown).await.factor_first().0?;
        if timeout(LONGEST_END, connections.shutdown()).await.is_err() {
            eprintln!("cut off what was not answered within {LONGEST_END:?}");
        }
        Ok(())
    })
}

async fn serve(server: AsyncSocket, connections: &GracefulShutdown) -> io::Result<()> {
    // Each request of HTTP/2 becomes a coroutine.
    let mut http = auto::Builder::new(Executor);
    http.http1().timer(Timer).header_read_timeout(LONGEST_HEAD);
    http.http2().timer(Timer).keep_alive_interval(LONGEST_SILENCE);
    loop {
        let (client, _) = server.accept().await?;
        let connection = http.serve_connection(client, service_fn(answer)).into_owned();
        asyncoro::spawn(connections.watch(connection)).or_log();
    }
}

/// The body of an answer: one piece, or that of the request.
type Body = Either<Full<Bytes>, Incoming>;

async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Body>> {
    match request.uri().path() {
        "/" => Ok(Response::new(text("Hello, world!\n"))),
        "/echo" => Ok(Response::new(Either::Right(request.into_body()))),
        "/count" => Ok(Response::new(text(format!("{} bytes\n", count(request).await?)))),
        _ => {
            let mut response = Response::new(text("There is no such page.\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok(response)
        }
    }
}

/// Receives a body piece by piece, and keeps none.
async fn count(mut request: Request<Incoming>) -> hyper::Result<usize> {
    let mut bytes = 0;
    while let Some(frame) = request.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

fn text(text: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(text.into()))
}
