//! An axum application on asyncoro's scheduler: routes, state, JSON, a WebSocket.
//!
//! ```text
//! cargo run --release -p asyncoro-interop --example axum_app [ADDRESS]
//! curl http://127.0.0.1:8080/
//! curl --json '{"numbers": [1, 2, 3]}' http://127.0.0.1:8080/sum
//! curl http://127.0.0.1:8080/shout/hello
//! ```
//!
//! The WebSocket at `/socket` sends each message back. axum's own `serve` and `ws` start tasks in
//! tokio's runtime; here hyper-util serves the router, which is a service of tower.
//!
//! axum demands handlers whose futures are `Send`, and connections that are `Send` if they may be
//! upgraded, although one thread runs them all. Our sockets are not, nor is a future that holds one
//! over an `.await`: `ThreadBound` around either makes it so ([`serve`], [`shout`]).

use std::{
    env,
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use asyncoro::{
    AsyncSocket,
    interop::{Executor, ThreadBound},
    signal,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade;
use hyper_util::{
    server::conn::auto::{
        self,
        upgrade::{Parts, downcast},
    },
    service::TowerToHyperService,
};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::server::create_response_with_body, protocol::Role},
};

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    asyncoro::run_until(async {
        let shutdown = signal::shutdown();
        let shouting = AsyncSocket::create_server("127.0.0.1:0").await?;
        let app = Router::new()
            .route("/", get(visit))
            .route("/sum", post(sum))
            .route("/shout/{text}", get(shout))
            .route("/socket", get(echo))
            .with_state(Arc::new(App {
                visits: AtomicU64::new(0),
                shouting: shouting.local_addr()?.to_string(),
            }));
        asyncoro::spawn(serve_shouting(shouting)).or_log();
        let server = AsyncSocket::create_server(address).await?;
        println!("listening on {}", server.local_addr()?);
        asyncoro::spawn(serve(server, app)).or_log();
        shutdown.await
    })
}

async fn serve(server: AsyncSocket, app: Router) -> io::Result<()> {
    let http = auto::Builder::new(Executor);
    loop {
        let (client, _) = server.accept().await?;
        let service = TowerToHyperService::new(app.clone());
        let client = ThreadBound::new(client);
        let connection = http.serve_connection_with_upgrades(client, service).into_owned();
        asyncoro::spawn(connection).or_log();
    }
}

struct App {
    visits: AtomicU64,
    /// Where the service that [`shout`] asks is.
    shouting: String,
}

async fn visit(State(app): State<Arc<App>>) -> String {
    format!("You are visitor {}.\n", app.visits.fetch_add(1, Relaxed) + 1)
}

#[derive(Deserialize)]
struct Numbers {
    numbers: Vec<i64>,
}

#[derive(Serialize)]
struct Sum {
    sum: i64,
}

async fn sum(Json(Numbers { numbers }): Json<Numbers>) -> Json<Sum> {
    Json(Sum { sum: numbers.iter().sum() })
}

/// Asks another service, over one of asyncoro's sockets.
async fn shout(
    State(app): State<Arc<App>>,
    Path(text): Path<String>,
) -> Result<String, (StatusCode, String)> {
    let asked = ThreadBound::new(async move {
        let service = AsyncSocket::create_connection(app.shouting.as_str()).await?;
        service.send_msg(text.as_bytes()).await?;
        let answer = service.recv_msg().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    });
    asked.await.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
}

/// Sends back each message of a WebSocket.
async fn echo(mut request: Request) -> Result<Response, (StatusCode, String)> {
    let response = create_response_with_body(&request, Body::empty)
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let upgrade = upgrade::on(&mut request);
    asyncoro::spawn(async {
        let connection = downcast::<ThreadBound<AsyncSocket>>(upgrade.await?);
        let Ok(Parts { io, read_buf, .. }) = connection else { return Ok(()) };
        let (role, early) = (Role::Server, read_buf.into());
        let mut socket = WebSocketStream::from_partially_read(io, early, role, None).await;
        while let Some(message) = socket.next().await.transpose()? {
            if message.is_text() || message.is_binary() {
                socket.send(message).await?;
            }
        }
        Ok::<_, Box<dyn Error>>(())
    })
    .or_log();
    Ok(response)
}

/// The other service: answers each message in capitals.
async fn serve_shouting(server: AsyncSocket) -> io::Result<()> {
    loop {
        let (client, _) = server.accept().await?;
        asyncoro::spawn(async move {
            while let Some(text) = client.recv_msg().await? {
                client.send_msg(&text.to_ascii_uppercase()).await?;
            }
            Ok(())
        })
        .or_log();
    }
}
