//! A client of `tls_msg_server`: it verifies the server, sends some messages, and ends cleanly.
//!
//! ```text
//! cargo run --release --example tls_msg_client ADDRESS CA
//! ```
//!
//! ADDRESS is HOST:PORT, and the server must prove that it is HOST. CA is a PEM file of
//! certificates to trust, for example the one that `tls_msg_server` prints.

use std::{env, io};

use asyncoro::{AsyncSocket, Tls};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(ca)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: tls_msg_client ADDRESS CA");
        std::process::exit(2);
    };
    let tls = Tls::client()?.ca_file(ca)?;
    asyncoro::run(async {
        let socket = AsyncSocket::create_tls_connection(address.as_str(), &tls).await?;
        if let Some(version) = socket.protocol_version() {
            println!("connected to {address}, {version}");
        }
        for length in [0, 1, 1_000, 1_000_000] {
            socket.send_msg(&vec![b'x'; length]).await?;
            let answer = socket.recv_msg().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            println!("{} bytes there and back", answer.len());
        }
        socket.close().await
    })
}
