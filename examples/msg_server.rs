//! A server that sends each message back, whole, however TCP split it.
//!
//! ```text
//! cargo run --release --example msg_server [ADDRESS]      (127.0.0.1:7008 if none is given)
//! cargo run --release --example retry
//! ```
//!
//! A message is 4 bytes of length, big-endian, then the payload: the format of `send_msg` and
//! `recv_msg` in both asyncoro and pycos (Python). Ctrl-C and SIGTERM end the server.

use std::{env, io};

use asyncoro::{AsyncSocket, signal};

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7008".to_owned());
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
        client.set_message_limit(16 << 20); // the most bytes that one client may make us hold
        asyncoro::spawn(echo(client)).or_log();
    }
}

async fn echo(client: AsyncSocket) -> io::Result<()> {
    // `None` if the client ends its stream between two messages; an error if within one.
    while let Some(message) = client.recv_msg().await? {
        client.send_msg(&message).await?;
    }
    Ok(())
}
