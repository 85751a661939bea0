//! An echo server: sends back whatever a client sends, for any number of clients at once.
//!
//! ```text
//! cargo run --release --example echo_server [ADDRESS]     (127.0.0.1:7007 if none is given)
//! nc 127.0.0.1 7007
//! ```
//!
//! It is written like a server with blocking sockets and a thread for each client, with `.await`
//! where a call would block and `spawn` in place of a thread. Ctrl-C and SIGTERM end it.

use std::{env, io};

use asyncoro::{AsyncSocket, signal};

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
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

async fn echo(client: AsyncSocket) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = client.recv(&mut buffer).await?;
        if count == 0 {
            return Ok(()); // the client has ended its stream
        }
        client.send_all(&buffer[..count]).await?;
    }
}
