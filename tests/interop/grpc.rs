//! tonic without a runtime of its own: served by hyper over our sockets, asked over a connection of
//! ours; and its `Channel`, which needs tokio, in a guest.
//!
//! The service is by hand what a compiler of Protocol Buffers would write.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use async_channel::{Sender, unbounded};
use asyncoro::{
    AsyncSocket, Coro,
    interop::{Executor, ThreadBound},
    spawn, time,
};
use futures_util::{
    StreamExt,
    future::{BoxFuture, LocalBoxFuture, join_all},
    stream::{self, BoxStream},
};
use http::{Uri, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::http2, server::conn as server};
use hyper_util::service::TowerToHyperService;
use prost::Message;
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    client::{Grpc as Client, GrpcService},
    codegen::StdError,
    server::{
        Grpc as Server, NamedService, ServerStreamingService, StreamingService, UnaryService,
    },
    service::Routes,
    transport::Endpoint,
};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::pairs::{KINDS, LIMIT, pair, run};

#[derive(Clone, Copy, PartialEq, Message)]
struct Number {
    #[prost(int64, tag = "1")]
    value: i64,
}

fn codec() -> ProstCodec<Number, Number> {
    ProstCodec::default()
}

const SQUARE: &str = "/numbers.Numbers/Square";
const COUNT: &str = "/numbers.Numbers/Count";
const SUMS: &str = "/numbers.Numbers/Sums";

/// The service; `ended` is told when a stream of answers is dropped.
#[derive(Clone)]
struct Numbers {
    ended: Sender<()>,
}

impl NamedService for Numbers {
    const NAME: &'static str = "numbers.Numbers";
}

impl Service<http::Request<Body>> for Numbers {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let numbers = self.clone();
        // What the methods wait for need not be `Send` in here.
        Box::pin(ThreadBound::new(async move {
            let mut grpc = Server::new(codec());
            Ok(match request.uri().path() {
                SQUARE => grpc.unary(Square, request).await,
                COUNT => grpc.server_streaming(Count(numbers), request).await,
                SUMS => grpc.streaming(Sums, request).await,
                path => Status::unimplemented(path).into_http(),
            })
        }))
    }
}

type Answer<T> = LocalBoxFuture<'static, Result<Response<T>, Status>>;
type Stream = BoxStream<'static, Result<Number, Status>>;

struct Square;

impl UnaryService<Number> for Square {
    type Response = Number;
    type Future = Answer<Number>;

    fn call(&mut self, request: Request<Number>) -> Self::Future {
        Box::pin(async move {
            // Not `Send`, and kept while it waits.
            let number = Rc::new(request.into_inner().value);
            time::sleep(Duration::from_millis(1)).await;
            let square = number.checked_mul(*number);
            let value = square.ok_or_else(|| Status::out_of_range(format!("{number} is large")))?;
            Ok(Response::new(Number { value }))
        })
    }
}

/// Counts up to a number.
struct Count(Numbers);

impl ServerStreamingService<Number> for Count {
    type Response = Number;
    type ResponseStream = Stream;
    type Future = Answer<Stream>;

    fn call(&mut self, request: Request<Number>) -> Self::Future {
        let ended = Ended(self.0.ended.clone());
        let numbers = stream::iter(1..=request.into_inner().value).then(move |value| {
            let _ended = &ended;
            async move {
                // `yield_now` yields to nobody here: tonic hides that it is pending, and sends on.
                time::sleep(Duration::ZERO).await;
                Ok(Number { value })
            }
        });
        Box::pin(async { Ok(Response::new(ThreadBound::new(numbers).boxed())) })
    }
}

struct Ended(Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

/// Answers each number by the sum so far.
struct Sums;

impl StreamingService<Number> for Sums {
    type Response = Number;
    type ResponseStream = Stream;
    type Future = Answer<Stream>;

    fn call(&mut self, request: Request<Streaming<Number>>) -> Self::Future {
        let sums = request.into_inner().scan(0, |sum, number| {
            let answer = number.map(|number| {
                *sum += number.value;
                Number { value: *sum }
            });
            async { Some(answer) }
        });
        Box::pin(async { Ok(Response::new(sums.boxed())) })
    }
}

/// Serves a connection.
fn serve(socket: AsyncSocket, ended: Sender<()>) -> Coro<hyper::Result<()>> {
    let router = Routes::new(Numbers { ended }).into_axum_router();
    let http = server::http2::Builder::new(Executor);
    spawn(http.serve_connection(socket, TowerToHyperService::new(router)))
}

/// A connection of hyper's as a service of tower's, which tonic's client takes.
#[derive(Clone)]
struct Connection(http2::SendRequest<Body>);

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

async fn connect(socket: AsyncSocket) -> Client<Connection> {
    let (sender, connection) = http2::handshake(Executor, socket).await.unwrap();
    spawn(connection).or_log();
    Client::with_origin(Connection(sender), Uri::from_static("http://numbers"))
}

/// Asks each method; the client ends thereby.
async fn ask<S>(client: Client<S>)
where
    S: GrpcService<Body, ResponseBody: hyper::body::Body<Error: Into<StdError>> + Send + 'static>
        + Clone,
{
    let path = PathAndQuery::from_static;

    // A hundred at once on one connection.
    let answers = join_all((0..100).map(|value| {
        let mut client = client.clone();
        async move {
            client.ready().await.map_err(Into::into).unwrap();
            client.unary(Request::new(Number { value }), path(SQUARE), codec()).await
        }
    }));
    for (value, answer) in (0..).zip(answers.await) {
        let answer: Response<Number> = answer.unwrap();
        assert_eq!(answer.into_inner().value, value * value);
    }

    // An error comes behind the answer, in trailers.
    let mut client = client;
    let mut errors = Vec::new();
    for (value, path) in [(i64::MAX, path(SQUARE)), (0, path("/numbers.Numbers/Cube"))] {
        client.ready().await.map_err(Into::into).unwrap();
        let answer = client.unary(Request::new(Number { value }), path, codec()).await;
        errors.push(answer.map(Response::<Number>::into_inner).unwrap_err());
    }
    assert_eq!(errors[0].code(), Code::OutOfRange);
    assert_eq!(errors[0].message(), format!("{} is large", i64::MAX));
    assert_eq!(errors[1].code(), Code::Unimplemented);

    client.ready().await.map_err(Into::into).unwrap();
    let count = Request::new(Number { value: 2_000 });
    let answer = client.server_streaming(count, path(COUNT), codec()).await.unwrap();
    let numbers: Vec<Result<Number, Status>> = answer.into_inner().collect().await;
    assert!(numbers.into_iter().map(|number| number.unwrap().value).eq(1..=2_000));

    // Each number is sent when the one before is answered.
    let (sender, numbers) = unbounded();
    sender.try_send(Number { value: 1 }).unwrap();
    client.ready().await.map_err(Into::into).unwrap();
    let answer = client.streaming(Request::new(numbers), path(SUMS), codec()).await.unwrap();
    let mut sums: Streaming<Number> = answer.into_inner();
    for value in 2..=100 {
        assert_eq!(sums.message().await.unwrap().unwrap().value, (value - 1) * value / 2);
        sender.try_send(Number { value }).unwrap();
    }
    sender.close();
    assert_eq!(sums.message().await.unwrap().unwrap().value, 5050);
    assert_eq!(sums.message().await.unwrap(), None);
}

#[test]
fn tonic_answers_over_each_kind_of_socket_without_a_runtime_of_its_own() {
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let served = serve(far, unbounded().0);
            ask(connect(near).await).await;
            served.await.unwrap().unwrap();
        });
    }
}

#[test]
fn a_stream_that_a_client_of_tonic_drops_is_dropped_at_the_server() {
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let (sender, ended) = unbounded();
            let served = serve(far, sender);
            let mut client = connect(near).await;
            client.ready().await.unwrap();
            let count = Request::new(Number { value: i64::MAX });
            let path = PathAndQuery::from_static(COUNT);
            let answer = client.server_streaming(count, path, codec()).await.unwrap();
            let mut numbers: Streaming<Number> = answer.into_inner();
            assert_eq!(numbers.message().await.unwrap().unwrap().value, 1);
            assert!(ended.is_empty());
            drop(numbers);
            ended.recv().await.unwrap();
            drop(client);
            // Numbers that were on their way may have met a closed socket.
            let _ = served.await.unwrap();
        });
    }
}

#[test]
fn a_channel_of_tonic_connects_by_our_sockets_in_a_guest() {
    asyncoro::tokio::run(async {
        let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = spawn(async move {
            let (client, _) = server.accept().await.unwrap();
            serve(client, unbounded().0).await.unwrap()
        });
        let connector = tower::service_fn(move |_: Uri| {
            let address = address.clone();
            ThreadBound::new(async move {
                AsyncSocket::create_connection(address).await.map(ThreadBound::new)
            })
        });
        let endpoint = Endpoint::from_static("http://numbers");
        let asking = async {
            let channel = endpoint.connect_with_connector(connector).await.unwrap();
            ask(Client::new(channel)).await;
            serving.await.unwrap().unwrap();
        };
        time::timeout(LIMIT, asking).await.expect("the test hangs");
    });
}
