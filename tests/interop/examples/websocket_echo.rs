//! A WebSocket server: tokio-tungstenite on asyncoro's sockets.
//!
//! ```text
//! cargo run --release -p asyncoro-interop --example websocket_echo [ADDRESS]
//! ```
//!
//! It sends back each message, text or binary; tungstenite answers pings and closes. Nothing of
//! tokio's runtime is used, only its traits. At Ctrl-C and SIGTERM it ends.

use std::{env, io};

use asyncoro::{AsyncSocket, signal};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::{
    accept_async,
    tungstenite::{Message, Result},
};

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:9001".to_owned());
    asyncoro::run_until(async {
        let shutdown = signal::shutdown();
        let server = AsyncSocket::create_server(address).await?;
        println!("listening on {}", server.local_addr()?);
        asyncoro::spawn(serve(server)).or_log();
        shutdown.await
    })
}

async fn serve(server: AsyncSocket) -> io::Result<()> {
    loop {
        let (client, _) = server.accept().await?;
        asyncoro::spawn(echo(client)).or_log();
    }
}

async fn echo(client: AsyncSocket) -> Result<()> {
    let mut socket = accept_async(client).await?;
    while let Some(message) = socket.next().await {
        if let message @ (Message::Text(_) | Message::Binary(_)) = message? {
            socket.send(message).await?;
        }
    }
    Ok(())
}
