//! A UDP echo server: sends each datagram back to its sender.
//!
//! ```text
//! cargo run --release --example udp_echo [ADDRESS]        (127.0.0.1:7009 if none is given)
//! nc -u 127.0.0.1 7009
//! ```
//!
//! One coroutine serves all clients, as there are no connections. Ctrl-C and SIGTERM end it.

use std::{env, io};

use asyncoro::{AsyncSocket, signal};

/// The longest datagram over IP, in bytes.
const LONGEST: usize = 65_535;

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7009".to_owned());
    asyncoro::run_until(async {
        let shutdown = signal::shutdown();
        let socket = AsyncSocket::create_datagram(address).await?;
        println!("listening on {}", socket.local_addr()?);
        asyncoro::spawn(echo(socket)).or_log();
        shutdown.await
    })
}

async fn echo(socket: AsyncSocket) -> io::Result<()> {
    let mut buffer = vec![0; LONGEST];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        // An unreachable sender does not stop the service for others.
        if let Err(error) = socket.send_to(&buffer[..length], &from).await {
            eprintln!("no answer to {from}: {error}");
        }
    }
}
