//! `msg_server` over TLS: the same verbs, and one more value.
//!
//! ```text
//! cargo run --release --example tls_msg_server [ADDRESS [CHAIN KEY]]
//! cargo run --release --example tls_msg_client ADDRESS CA
//! ```
//!
//! CHAIN and KEY are PEM files. Without them it makes a temporary certificate for `localhost`,
//! prints the paths of its files and removes them at the end. The certificate serves as CA for the
//! client; only its owner can read the key. Clients that speak no TLS, or send nothing, delay
//! nobody. Ctrl-C and SIGTERM end the server.

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
            (Tls::server(&file.certificate, &file.key)?, Some(file))
        }
    };
    asyncoro::run_until(async {
        let shutdown = signal::shutdown();
        let server = AsyncSocket::create_server(address).await?.with_tls(&tls)?;
        println!("listening on {}", server.local_addr()?);
        if let Some(file) = &throwaway {
            println!("certificate in {}", file.certificate.display());
            println!("key in {}", file.key.display());
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
    // `None` only after the client's close_notify; a stream that somebody cut is an error.
    while let Some(message) = client.recv_msg().await? {
        client.send_msg(&message).await?;
    }
    client.close().await
}

/// The files of a temporary certificate, removed when this is dropped.
struct Throwaway {
    certificate: PathBuf,
    key: PathBuf,
}

impl Throwaway {
    fn new() -> io::Result<Throwaway> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let path =
            |what| env::temp_dir().join(format!("asyncoro-tls-{}-{what}.pem", process::id()));
        let files = Throwaway { certificate: path("certificate"), key: path("key") };
        let write = |path, mode, text: String| {
            let mut options = fs::File::options();
            let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
            file.write_all(text.as_bytes())
        };
        write(&files.certificate, 0o644, made.cert.pem())?;
        write(&files.key, 0o600, made.signing_key.serialize_pem())?;
        Ok(files)
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        for file in [&self.certificate, &self.key] {
            let _ = fs::remove_file(file);
        }
    }
}
