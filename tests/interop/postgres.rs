//! tokio-postgres over our sockets, against a real server.

use std::{future::poll_fn, io, net::Shutdown, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use asyncoro::{AsyncSocket, ClientTls, Coro, ServerTls, Tls, TlsVersion, spawn, time::timeout};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt, TryStreamExt, future::join_all};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm,
};
use rustix::process::Signal;
use tokio_postgres::{
    AsyncMessage, Client, Config, Error,
    config::{ChannelBinding, SslMode},
    error::SqlState,
    types::ToSql,
};

use crate::{
    pairs::run,
    postgres_example::{self, tls::PostgresTls},
    servers::{Folder, Server, Shared, bound, program, start_on_free_port},
};

const PASSWORD: &str = "opossum";

/// The names that are in the server's certificates.
const HOST: &str = "localhost";

pub(crate) struct Postgres {
    /// Ended before its folder goes.
    _server: Server,
    pub(crate) port: u16,
    /// The certificate, which is its own authority.
    pem: String,
    folder: Folder,
}

static POSTGRES: Shared<Postgres> = Shared::new();

/// Returns the server of the tests that run now.
pub(crate) fn postgres() -> Option<Arc<Postgres>> {
    POSTGRES.get(|| Postgres::start(&PKCS_ECDSA_P256_SHA256))
}

/// A connection's driver.
type Driver = Coro<Result<(), Error>>;

impl Postgres {
    fn start(algorithm: &'static SignatureAlgorithm) -> Option<Postgres> {
        let initdb = program("initdb", &folders())?;
        let postgres = program("postgres", &folders())?;
        let folder = Folder::name("postgres");
        // Not as root, which the server refuses to run as.
        let mut init = bound("TERM", Some("postgres"), "timeout".as_ref());
        init.arg("60").arg(initdb).arg("-D").arg(folder.path());
        init.args(["--no-sync", "--auth=trust", "--username=postgres"]);
        init.args(["--encoding=UTF8", "--locale=C"]);
        let output = init.current_dir("/").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        folder.write("pg_hba.conf", ACCESS);
        let (certificate, key) = certificate(algorithm);
        folder.write("server.crt", &certificate);
        folder.write("server.key", &key);
        let (server, port) = start_on_free_port(|port| {
            let mut command = bound("QUIT", Some("postgres"), &postgres);
            command.current_dir("/").arg("-D").arg(folder.path());
            command.arg("-k").arg(folder.path()).args(["-p", &port.to_string()]);
            for setting in SETTINGS {
                command.args(["-c", setting]);
            }
            let server = Server::start(command, "ready to accept", true, Signal::QUIT)?;
            Ok((server, port))
        });
        let postgres = Postgres { _server: server, port, pem: certificate, folder };
        run(async {
            let (client, _driver) = postgres.client(Over::Unix).await;
            let password = format!("ALTER ROLE postgres PASSWORD '{PASSWORD}'");
            client.batch_execute(&password).await.unwrap();
        });
        Some(postgres)
    }

    async fn socket(&self, over: Over) -> AsyncSocket {
        let connected = match over {
            Over::Unix => {
                let path = self.folder.join(&format!(".s.PGSQL.{}", self.port));
                AsyncSocket::create_connection(path).await
            }
            _ => AsyncSocket::create_connection(("127.0.0.1", self.port)).await,
        };
        connected.unwrap()
    }

    /// Makes a configuration that is held to what it asks for.
    fn config(&self, over: Over) -> Config {
        let mut config = Config::new();
        config.user("postgres").dbname("postgres").ssl_mode(SslMode::Disable);
        if over == Over::Tls {
            config.password(PASSWORD);
            config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Require);
        }
        config
    }

    fn tls(&self) -> ClientTls {
        let tls = Tls::client().unwrap().server_name(HOST).unwrap().alpn(["postgresql"]);
        tls.ca_from_pem(self.pem.as_bytes()).unwrap()
    }

    async fn connect(&self, over: Over) -> Result<(Client, Driver), Error> {
        let socket = self.socket(over).await;
        let tls = PostgresTls(self.tls());
        let (client, connection) = self.config(over).connect_raw(socket, tls).await?;
        Ok((client, spawn(connection)))
    }

    async fn client(&self, over: Over) -> (Client, Driver) {
        self.connect(over).await.unwrap()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Tcp,
    Unix,
    Tls,
}

const WAYS: [Over; 3] = [Over::Tcp, Over::Unix, Over::Tls];

/// Who may connect, and how.
const ACCESS: &str = "
local     all all                trust
hostnossl all all 127.0.0.1/32   trust
hostssl   all all 127.0.0.1/32   scram-sha-256
";

const SETTINGS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    "ssl=on",
    "password_encryption=scram-sha-256",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_wal_size=2GB",
    "autovacuum=off",
];

/// Where Debian has the programs, the newest version first.
fn folders() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<u32> =
        versions.filter_map(|version| version.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions.iter().map(|version| format!("/usr/lib/postgresql/{version}/bin").into()).collect()
}

fn certificate(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = CertificateParams::new([HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Ends a client in order; what drives its connection must succeed.
async fn end(client: Client, driver: Driver) {
    drop(client);
    driver.await.unwrap().unwrap();
}

#[test]
fn queries_simple_and_prepared_are_answered_in_every_way_to_connect() {
    let Some(server) = postgres() else { return };
    for over in WAYS {
        run(async {
            let (client, driver) = server.client(over).await;
            let messages = client.simple_query("SELECT 1; SELECT 'two'").await.unwrap();
            let rows: Vec<_> = messages
                .iter()
                .filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                    _ => None,
                })
                .collect();
            assert_eq!(rows, ["1", "two"]);

            let blob: Vec<u8> = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect();
            let echo = client.prepare("SELECT $1::int8, $2::text, $3::bytea").await.unwrap();
            let row = client.query_one(&echo, &[&7_i64, &"größer", &blob]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), 7);
            assert_eq!(row.get::<_, &str>(1), "größer");
            assert!(row.get::<_, &[u8]>(2) == blob);

            // Rows as they come, more than any buffer holds.
            let count = "SELECT generate_series(1, $1::int4), repeat('x', 100)";
            let none: [&(dyn ToSql + Sync); 1] = [&50_000];
            let mut rows = pin!(client.query_raw(count, none).await.unwrap());
            let mut sum = 0;
            while let Some(row) = rows.next().await {
                sum += i64::from(row.unwrap().get::<_, i32>(0));
            }
            assert_eq!(sum, 50_000 * 50_001 / 2);

            // An error is told, and the connection goes on.
            let error = client.query("SELECT nonsense", &[]).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN));
            assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
            end(client, driver).await;
        });
    }
}

#[test]
fn coroutines_share_a_connection_and_their_statements_are_under_way_at_once() {
    let Some(server) = postgres() else { return };
    for over in WAYS {
        run(async {
            let (client, driver) = server.client(over).await;
            let square = client.prepare("SELECT $1::int8 * $1").await.unwrap();
            let answers =
                join_all(
                    (0..1000_i64).map(|number| {
                        let (client, square) = (&client, &square);
                        async move {
                            client.query_one(square, &[&number]).await.unwrap().get::<_, i64>(0)
                        }
                    }),
                );
            assert!(answers.await.into_iter().eq((0..1000).map(|number| number * number)));
            end(client, driver).await;
        });
    }
}

#[test]
fn a_transaction_that_is_dropped_is_rolled_back_before_what_comes_next() {
    let Some(server) = postgres() else { return };
    run(async {
        let (mut client, driver) = server.client(Over::Tcp).await;
        client.batch_execute("CREATE TEMPORARY TABLE t (n int)").await.unwrap();
        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
        drop(transaction);
        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
        transaction.commit().await.unwrap();
        let rows = client.query("SELECT n FROM t", &[]).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [2]);
        end(client, driver).await;
    });
}

/// Makes a row to be copied.
fn row(number: usize) -> String {
    format!("{number}\t{FILL}{number:09}\n")
}

const FILL: &str = match std::str::from_utf8(&[b'.'; 1000]) {
    Ok(text) => text,
    Err(_) => unreachable!(),
};

/// How many rows of about 1 KiB: 100 MB.
const ROWS: usize = 100_000;

#[test]
fn a_hundred_megabytes_are_copied_in_and_come_out_the_same() {
    let Some(server) = postgres() else { return };
    for (over, rows) in [(Over::Tcp, ROWS), (Over::Tls, ROWS / 10)] {
        run(async {
            let (client, driver) = server.client(over).await;
            client.batch_execute("CREATE TEMPORARY TABLE big (n int, t text)").await.unwrap();
            let mut sink = pin!(client.copy_in("COPY big FROM STDIN").await.unwrap());
            for first in (0..rows).step_by(64) {
                let piece: String = (first..rows.min(first + 64)).map(row).collect();
                sink.send(Bytes::from(piece)).await.unwrap();
            }
            assert_eq!(sink.finish().await.unwrap(), rows as u64);

            let out = client.copy_out("COPY big TO STDOUT").await.unwrap();
            let mut out = pin!(out);
            let (mut held, mut number) = (BytesMut::new(), 0);
            while let Some(piece) = out.try_next().await.unwrap() {
                held.extend_from_slice(&piece);
                while number < rows && held.len() >= row(number).len() {
                    let row = row(number);
                    assert!(held.split_to(row.len()) == row, "row {number}");
                    number += 1;
                }
            }
            assert_eq!((number, held.len()), (rows, 0));
            end(client, driver).await;
        });
    }
}

#[test]
fn a_copy_that_is_dropped_is_undone_and_the_connection_goes_on() {
    let Some(server) = postgres() else { return };
    run(async {
        let (client, driver) = server.client(Over::Tcp).await;
        client.batch_execute("CREATE TEMPORARY TABLE cut (n int, t text)").await.unwrap();
        {
            let mut sink = pin!(client.copy_in("COPY cut FROM STDIN").await.unwrap());
            sink.send(Bytes::from(row(1))).await.unwrap();
        }
        let count = client.query_one("SELECT count(*) FROM cut", &[]).await.unwrap();
        assert_eq!(count.get::<_, i64>(0), 0);
        end(client, driver).await;
    });
}

#[test]
fn a_query_is_cancelled_over_a_connection_of_its_own_and_the_next_one_is_answered() {
    let Some(server) = postgres() else { return };
    for over in WAYS {
        run(async {
            let (client, driver) = server.client(over).await;
            let (watcher, watching) = server.client(Over::Unix).await;
            let own = "SELECT pg_backend_pid()";
            let process: i32 = client.query_one(own, &[]).await.unwrap().get(0);
            let token = client.cancel_token();
            let sleeping = spawn(async move {
                let slept = client.batch_execute("SELECT pg_sleep(600)").await;
                (client, slept)
            });
            until_asleep(&watcher, process).await;
            let socket = server.socket(over).await;
            token.cancel_query_raw(socket, PostgresTls(server.tls())).await.unwrap();
            let (client, slept) = sleeping.await.unwrap();
            assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
            assert_eq!(client.query_one(own, &[]).await.unwrap().get::<_, i32>(0), process);
            end(client, driver).await;
            end(watcher, watching).await;
        });
    }
}

/// Waits until a session of the server sleeps.
async fn until_asleep(watcher: &Client, process: i32) {
    let event = "SELECT wait_event FROM pg_stat_activity WHERE pid = $1";
    loop {
        let row = watcher.query_one(event, &[&process]).await.unwrap();
        if row.get::<_, Option<&str>>(0) == Some("PgSleep") {
            return;
        }
    }
}

#[test]
fn a_query_that_times_out_here_is_dropped_and_the_next_one_gets_its_own_answer() {
    let Some(server) = postgres() else { return };
    run(async {
        let (client, driver) = server.client(Over::Tcp).await;
        let slow = client.query("SELECT pg_sleep(0.2), 1", &[]);
        assert!(timeout(Duration::from_millis(20), slow).await.is_err());
        assert_eq!(client.query_one("SELECT 2", &[]).await.unwrap().get::<_, i32>(0), 2);
        end(client, driver).await;
    });
}

#[test]
fn notifications_arrive_in_order_while_nobody_queries() {
    let Some(server) = postgres() else { return };
    for over in WAYS {
        run(async {
            let socket = server.socket(over).await;
            let tls = PostgresTls(server.tls());
            let connected = server.config(over).connect_raw(socket, tls).await;
            let (listener, mut connection) = connected.unwrap();
            let (sender, notes) = asyncoro::sync::mailbox(10);
            let driver = spawn(async move {
                while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(note) = message? {
                        sender
                            .send((note.channel().to_owned(), note.payload().to_owned()))
                            .await
                            .unwrap();
                    }
                }
                Ok(())
            });
            let channel = format!("news_{over:?}").to_lowercase();
            listener.batch_execute(&format!("LISTEN {channel}")).await.unwrap();
            let (client, other) = server.client(Over::Unix).await;
            let telling = spawn(async move {
                let notify = client.prepare("SELECT pg_notify($1, $2)").await?;
                for number in 0..1000 {
                    client.execute(&notify, &[&channel, &number.to_string()]).await?;
                }
                Ok::<_, Error>((client, channel))
            });
            for number in 0..1000 {
                let (from, note) = notes.receive().await.unwrap();
                assert!(from.starts_with("news_") && note == number.to_string(), "{from} {note}");
            }
            let (client, _) = telling.await.unwrap().unwrap();
            end(client, other).await;
            end(listener, driver).await;
        });
    }
}

#[test]
fn a_password_is_bound_to_the_tls_connection_in_each_version_whatever_hash_signs() {
    let Some(other) = Postgres::start(&PKCS_ECDSA_P384_SHA384) else { return };
    let Some(server) = postgres() else { return };
    for server in [&*server, &other] {
        for (version, name) in [(TlsVersion::V1_2, "TLSv1.2"), (TlsVersion::V1_3, "TLSv1.3")] {
            run(async {
                let tls = PostgresTls(server.tls().versions(&[version]).unwrap());
                let socket = server.socket(Over::Tls).await;
                let connected = server.config(Over::Tls).connect_raw(socket, tls).await;
                let (client, connection) = connected.unwrap();
                let driver = spawn(connection);
                let used = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
                let used = client.query_one(used, &[]).await.unwrap();
                assert_eq!(used.get::<_, &str>(0), name);
                end(client, driver).await;
            });
        }
    }
}

#[test]
fn a_password_is_of_no_use_to_who_stands_between_with_a_trusted_certificate() {
    let Some(server) = postgres() else { return };
    let (pem, key) = certificate(&PKCS_ECDSA_P256_SHA256);
    run(async {
        let listener = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ours = Tls::server_from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
        let between = spawn({
            let server = Arc::clone(&server);
            async move {
                loop {
                    let (client, _) = listener.accept().await?;
                    let far = server.socket(Over::Tls).await;
                    drop(spawn(stand_between(client, far, ours.clone(), server.tls())));
                }
                #[expect(unreachable_code)]
                std::io::Result::Ok(())
            }
        });
        for (binding, is_refused) in
            [(ChannelBinding::Disable, false), (ChannelBinding::Require, true)]
        {
            let mut config = server.config(Over::Tls);
            config.channel_binding(binding);
            let tls = PostgresTls(server.tls().ca_from_pem(pem.as_bytes()).unwrap());
            let socket = AsyncSocket::create_connection(&address).await.unwrap();
            let connected = config.connect_raw(socket, tls).await;
            assert_eq!(connected.is_err(), is_refused, "{binding:?}: {:?}", connected.err());
            if let Err(error) = connected {
                let told = error.as_db_error().expect("the server refuses it").message();
                assert!(told.contains("channel binding check failed"), "{told}");
            }
        }
        between.terminate();
    });
}

/// Answers a client's request for TLS, makes one at the server, and passes on what both say.
async fn stand_between(
    client: AsyncSocket,
    server: AsyncSocket,
    ours: ServerTls,
    theirs: ClientTls,
) -> io::Result<()> {
    let request = client.recv_all_bytes(8).await?;
    server.send_all(&request).await?;
    let answer = server.recv_all_bytes(1).await?;
    server.start_tls(theirs).await?;
    client.send_all(&answer).await?;
    client.start_tls(ours).await?;
    let up = pass(client.clone(), server.clone());
    let down = pass(server, client);
    futures_util::future::try_join(up, down).await.map(|_| ())
}

async fn pass(from: AsyncSocket, to: AsyncSocket) -> io::Result<()> {
    loop {
        let bytes = from.recv_bytes(8192).await?;
        if bytes.is_empty() {
            return to.shutdown(Shutdown::Write).await;
        }
        to.send_all(&bytes).await?;
    }
}

#[test]
fn a_server_that_ends_a_session_is_told_to_queries_and_to_the_driver() {
    let Some(server) = postgres() else { return };
    for over in WAYS {
        run(async {
            let (client, driver) = server.client(over).await;
            let (killer, killing) = server.client(Over::Unix).await;
            let process: i32 =
                client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
            let sleeping = spawn(async move { client.batch_execute("SELECT pg_sleep(600)").await });
            until_asleep(&killer, process).await;
            killer.query("SELECT pg_terminate_backend($1)", &[&process]).await.unwrap();
            let slept = sleeping.await.unwrap().unwrap_err();
            assert_eq!(slept.code(), Some(&SqlState::ADMIN_SHUTDOWN), "{slept:?}");
            let driven = driver.await.unwrap().unwrap_err();
            assert!(driven.is_closed(), "{driven:?}");
            end(killer, killing).await;
        });
    }
}

#[test]
fn the_example_runs_with_tls_and_without() {
    let Some(server) = postgres() else { return };
    server.folder.write("ca.pem", &server.pem);
    let ca = server.folder.join("ca.pem");
    let port = server.port;
    let plain = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let secret = format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user=postgres \
         dbname=postgres password={PASSWORD}"
    );
    run(async {
        postgres_example::work(&plain, None).await.unwrap();
        postgres_example::work(&secret, ca.to_str()).await.unwrap();
        let folder = server.folder.path().display();
        let unix = format!("host={folder} port={port} user=postgres dbname=postgres");
        postgres_example::work(&unix, None).await.unwrap();
    });
}
