//! A port forwarder: passes each connection on to another address, in both directions.
//!
//! ```text
//! cargo run --release --example forwarder [ADDRESS [TARGET]]
//! nc 127.0.0.1 7009                       (forwarded to the echo server at 127.0.0.1:7007)
//! ```
//!
//! `copy_both` passes on the end of each direction, holds up a sender whose receiver does not read,
//! and gives up when nothing has moved for a while. Ctrl-C and SIGTERM end it.

use std::{env, io, time::Duration};

use asyncoro::{AsyncSocket, copy_both, signal, time::timeout};

/// How long a connection may be silent in both directions.
const IDLE: Duration = Duration::from_secs(300);

/// How long connecting to the target may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:7009".to_owned());
    let target = arguments.next().unwrap_or("127.0.0.1:7007".to_owned());
    asyncoro::run_until(async {
        let shutdown = signal::shutdown();
        let server = AsyncSocket::create_server(address).await?;
        println!("listening on {}", server.local_addr()?);
        asyncoro::spawn(serve(server, target)).or_log();
        shutdown.await
    })
}

async fn serve(server: AsyncSocket, target: String) -> io::Result<()> {
    loop {
        let (client, from) = server.accept().await?;
        let target = target.clone();
        drop(asyncoro::spawn(async move {
            match forward(&client, &target).await {
                Ok((there, back)) => println!("{from}: {there} bytes there, {back} bytes back"),
                // A reset or a silent peer is no fault of this program.
                Err(error) => println!("{from}: {error}"),
            }
        }));
    }
}

async fn forward(client: &AsyncSocket, target: &str) -> io::Result<(u64, u64)> {
    let target = timeout(PATIENCE, AsyncSocket::create_connection(target)).await??;
    copy_both(client, &target, Some(IDLE)).await
}
