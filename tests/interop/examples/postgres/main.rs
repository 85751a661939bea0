//! A client of PostgreSQL: tokio-postgres on our sockets. Statements that are under way at once,
//! COPY, notifications.
//!
//! ```text
//! cargo run -p asyncoro-interop --example postgres -- \
//!     "host=localhost user=me password=secret dbname=mine" [CA.pem]
//! ```
//! With the certificate of an authority the connection is TLS, and its password is bound to it
//! (`tls.rs`, to be copied); without, it is plain.

pub(crate) mod tls;

use std::{env, error::Error, future::poll_fn, pin::pin};

use asyncoro::{AsyncSocket, Coro, Tls, spawn, sync};
use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt, future::try_join_all};
use tls::PostgresTls;
use tokio_postgres::{
    AsyncMessage, Client, Config,
    config::{ChannelBinding, Host, SslMode},
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [server] => asyncoro::run(work(server, None)),
        [server, authority] => asyncoro::run(work(server, Some(authority))),
        _ => Err("arguments: SERVER [CA.pem]".into()),
    }
}

pub(crate) async fn work(server: &str, authority: Option<&str>) -> Outcome {
    let (sender, notes) = sync::mailbox(100);
    let (client, connection) = connect(server, authority, sender).await?;
    client.batch_execute("CREATE TEMPORARY TABLE peaks (name text, metres int)").await?;

    // All of these are on their way before the first answer is there.
    let insert = client.prepare("INSERT INTO peaks VALUES ($1, $2)").await?;
    let peaks = [("Eiger", 3967), ("Rysy", 2501), ("Triglav", 2864)];
    try_join_all(peaks.iter().map(|(name, metres)| {
        let (client, insert) = (&client, &insert);
        async move { client.execute(insert, &[name, metres]).await }
    }))
    .await?;

    let mut sink = pin!(client.copy_in("COPY peaks FROM STDIN").await?);
    sink.send(Bytes::from("Musala\t2925\nMoldoveanu\t2544\n")).await?;
    sink.finish().await?;

    for row in client.query("SELECT name, metres FROM peaks ORDER BY metres", &[]).await? {
        println!("{}: {} m", row.get::<_, &str>("name"), row.get::<_, i32>("metres"));
    }
    let out = client.copy_out("COPY (SELECT count(*) FROM peaks) TO STDOUT").await?;
    let count: Vec<Bytes> = out.try_collect().await?;
    println!("count: {}", String::from_utf8(count.concat())?.trim_end());

    client.batch_execute("LISTEN hikers; NOTIFY hikers, 'snow above 2500 m'").await?;
    println!("note: {}", notes.receive().await.ok_or("the connection has ended")?);

    // The connection ends in order once nobody can send any more.
    drop(client);
    connection.await??;
    Ok(())
}

/// Connects. The coroutine drives the connection, and ends when the client is dropped.
async fn connect(
    server: &str,
    authority: Option<&str>,
    notes: sync::Sender<String>,
) -> Outcome<(Client, Coro<Result<(), tokio_postgres::Error>>)> {
    let mut config: Config = server.parse()?;
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let (host, socket) = match config.get_hosts().first().ok_or("which host?")? {
        Host::Tcp(host) => (host.clone(), AsyncSocket::create_connection((&**host, port)).await?),
        Host::Unix(folder) => {
            let path = folder.join(format!(".s.PGSQL.{port}"));
            ("localhost".to_owned(), AsyncSocket::create_connection(path).await?)
        }
    };
    let mut tls = Tls::client()?.server_name(&host)?.alpn(["postgresql"]);
    config.ssl_mode(SslMode::Disable);
    if let Some(file) = authority {
        tls = tls.ca_file(file)?;
        config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Require);
    }
    let (client, mut connection) = config.connect_raw(socket, PostgresTls(tls)).await?;
    let connection = spawn(async move {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(note) = message? {
                // Waits where the reader is slow; then the queries' answers wait, too.
                let _ = notes.send(note.payload().to_owned()).await;
            }
        }
        Ok(())
    });
    Ok((client, connection))
}
