//! A port forwarder: passes each connection on to another address, in both directions.
//!
//! ```text
//! cargo run --release --example forwarder [ADDRESS [TARGET]]
//! nc 127.0.0.1 7009                       (forwarded to the echo server at 127.0.0.1:7007)
//! ```
//!
//! `copy_both` passes on the end of each direction, holds up a sender whose receiver does not read,
//! and gives up when nothing has moved for a while. At Ctrl-C and SIGTERM no new connection is
//! accepted, those that are silent end, and the others may go on for a while; a second one ends all
//! at once.

use std::{env, io, time::Duration};

use asyncoro::{AsyncSocket, copy_both, serve::Server, time::timeout};

/// How many connections are forwarded at once; each takes two descriptors.
const MOST: usize = 500;

/// How long a connection may be silent in both directions.
const IDLE: Duration = Duration::from_secs(300);

/// How long connecting to the target may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long connections may go on at the end, and how long they may be silent then.
const GRACE: Duration = Duration::from_secs(8);
const QUIET: Duration = Duration::from_millis(500);

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:7009".to_owned());
    let target = arguments.next().unwrap_or("127.0.0.1:7007".to_owned());
    asyncoro::run_until(async {
        let listener = AsyncSocket::create_server(address).await?;
        println!("listening on {}", listener.local_addr()?);
        let server = Server::new(listener).limit(MOST).grace(GRACE).quiet(Some(QUIET));
        let served = server
            .serve(move |client, from| {
                let target = target.clone();
                async move {
                    match forward(&client, &target).await {
                        Ok((there, back)) => {
                            println!("{from}: {there} bytes there, {back} bytes back");
                        }
                        // A reset or a silent peer is no fault of this program.
                        Err(error) => println!("{from}: {error}"),
                    }
                }
            })
            .await?;
        println!("{} connections, {} ended by force", served.connections, served.forced);
        Ok(())
    })
}

async fn forward(client: &AsyncSocket, target: &str) -> io::Result<(u64, u64)> {
    let target = timeout(PATIENCE, AsyncSocket::create_connection(target)).await??;
    copy_both(client, &target, Some(IDLE)).await
}
