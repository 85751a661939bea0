//! `msg_server` over TLS: the same verbs, one value more.
//!
//! ```text
//! cargo run --release --example tls_msg_server [ADDRESS [CHAIN KEY]]
//! cargo run --release --example tls_msg_client ADDRESS CA
//! ```
//!
//! CHAIN and KEY are PEM files. Without them a throw-away certificate for `localhost` is made, and
//! the file that it is in is told: it serves as CA for the client, and is removed at the end.
//! Clients that speak no TLS, or say nothing, hold up nobody. Ctrl-C and SIGTERM end the server.

use std::{env, fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf, process};

use asyncoro::{AsyncSocket, Tls, signal};

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:7009".to_owned());
    let (tls, throwaway) = match (arguments.next(), arguments.next()) {
        (Some(chain), Some(key)) => (Tls::server(chain, key)?, None),
        _ => {
            let file = Throwaway::new()?;
            (Tls::server(&file.0, &file.0)?, Some(file))
        }
    };
    asyncoro::run_until(async {
        let shutdown = signal::shutdown();
        let server = AsyncSocket::create_server(address).await?.with_tls(&tls)?;
        println!("listening on {}", server.local_addr()?);
        if let Some(file) = &throwaway {
            println!("certificate in {}", file.0.display());
        }
        asyncoro::spawn(serve(server)).or_log();
        shutdown.await
    })
}

async fn serve(server: AsyncSocket) -> io::Result<()> {
    loop {
        let (client, from) = server.accept().await?; // the handshake is done
        if let Some(version) = client.protocol_version() {
            tracing::info!("{from} speaks {version}");
        }
        asyncoro::spawn(echo(client)).or_log();
    }
}

async fn echo(client: AsyncSocket) -> io::Result<()> {
    // `None` only if the client has said that it ends; a stream that somebody cut is an error.
    while let Some(message) = client.recv_msg().await? {
        client.send_msg(&message).await?;
    }
    client.close().await
}

/// A certificate and its key in a file that only we may read.
struct Throwaway(PathBuf);

impl Throwaway {
    fn new() -> io::Result<Throwaway> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let path = env::temp_dir().join(format!("asyncoro-tls-{}.pem", process::id()));
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let file_of = Throwaway(path);
        write!(file, "{}{}", made.cert.pem(), made.signing_key.serialize_pem())?;
        Ok(file_of)
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
