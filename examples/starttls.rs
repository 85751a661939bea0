//! Starts TLS on an open connection, as SMTP and IMAP do; both ends are in one program.
//!
//! ```text
//! cargo run --release --example starttls
//! ```
//!
//! The client asks in plain text, the server agrees, and both call `start_tls`. It fails if bytes
//! were received that nobody took: an attacker may have injected them before TLS, so they must not
//! be used after it.

use std::{io, io::ErrorKind};

use asyncoro::{AsyncSocket, ClientTls, ServerTls, Tls};

/// The most bytes of a line.
const LONGEST: usize = 512;

fn main() -> io::Result<()> {
    let made = rcgen::generate_simple_self_signed(["mail.example".to_owned()]);
    let made = made.map_err(io::Error::other)?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let server_tls = Tls::server_from_pem(chain.as_bytes(), key.as_bytes())?;
    // The socket does not know the name that it was connected to.
    let client_tls = Tls::client()?.ca_from_pem(chain.as_bytes())?.server_name("mail.example")?;

    asyncoro::run(async {
        let server = AsyncSocket::create_server("127.0.0.1:0").await?;
        let address = server.local_addr()?;
        let serving = asyncoro::spawn(async move {
            let (client, _) = server.accept().await?;
            serve(&client, server_tls).await
        });
        let socket = AsyncSocket::create_connection(address).await?;
        talk(&socket, client_tls).await?;
        serving.await?
    })
}

async fn serve(client: &AsyncSocket, tls: ServerTls) -> io::Result<()> {
    client.send_all(b"220 mail.example\r\n").await?;
    loop {
        let line = client.recv_until(b"\r\n", LONGEST).await?;
        match &line[..] {
            b"STARTTLS\r\n" if client.protocol_version().is_none() => {
                client.send_all(b"220 go ahead\r\n").await?;
                client.start_tls(&tls).await?;
            }
            b"QUIT\r\n" => {
                client.send_all(b"221 bye\r\n").await?;
                return client.close().await;
            }
            _ => client.send_all(b"250 ok\r\n").await?,
        }
    }
}

async fn talk(socket: &AsyncSocket, tls: ClientTls) -> io::Result<()> {
    print!("S: {}", text(&socket.recv_until(b"\r\n", LONGEST).await?)?);
    ask(socket, "NOOP\r\n").await?;
    ask(socket, "STARTTLS\r\n").await?;
    socket.start_tls(tls).await?;
    if let Some(version) = socket.protocol_version() {
        println!("-- from here on {version}");
    }
    ask(socket, "NOOP\r\n").await?;
    ask(socket, "QUIT\r\n").await?;
    socket.close().await
}

async fn ask(socket: &AsyncSocket, line: &str) -> io::Result<()> {
    print!("C: {line}");
    socket.send_all(line.as_bytes()).await?;
    print!("S: {}", text(&socket.recv_until(b"\r\n", LONGEST).await?)?);
    Ok(())
}

fn text(line: &[u8]) -> io::Result<&str> {
    str::from_utf8(line).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}
