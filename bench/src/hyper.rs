//! Servers of HTTP/1.1: hyper on each runtime, by the traits that the runtime's users take.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;

use asyncoro::AsyncSocket;
use asyncoro::coro::Scheduler;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use smol_hyper::rt::FuturesIo;

use crate::listening::listen;
use crate::runtime::Net;
use crate::subject::{smol::Smol, tokio::Tokio};

/// A runtime whose streams hyper can use.
pub(crate) trait Hyper: Net {
    /// A stream with hyper's traits.
    type Io: Read + Write + Unpin + 'static;

    /// Gives a stream hyper's traits.
    fn io(stream: Self::Stream) -> Self::Io;
}

impl Hyper for Tokio {
    type Io = TokioIo<Self::Stream>;

    fn io(stream: Self::Stream) -> Self::Io {
        TokioIo::new(stream)
    }
}

impl Hyper for Smol {
    type Io = FuturesIo<Self::Stream>;

    fn io(stream: Self::Stream) -> Self::Io {
        FuturesIo::new(stream)
    }
}

impl Hyper for Scheduler {
    type Io = AsyncSocket;

    fn io(stream: AsyncSocket) -> AsyncSocket {
        stream
    }
}

/// Greets whoever asks, with connections that are kept.
pub(crate) fn greet<R: Hyper>(listener: TcpListener, _: usize) -> io::Result<()> {
    listen::<R, _>(listener, |stream| async {
        let greet = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(GREETING))))
        });
        // The clients leave by a reset.
        let _ = http1::Builder::new().serve_connection(R::io(stream), greet).await;
    })
}

const GREETING: &[u8] = b"Hello, World!";
