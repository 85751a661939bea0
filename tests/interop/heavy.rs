//! Libraries that work as they are, since their sockets and timers are driven by a thread of their
//! own that wakes us, and that take long to build.

use std::{os::unix::net::UnixStream, time::Duration};

use asyncoro::{spawn, time};
use futures_util::{StreamExt, TryStreamExt, future::join_all};
use rustix::process::Signal;
use sqlx::{
    Row,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};
use zbus::connection::Builder;

use crate::{
    pairs::run,
    postgres::postgres,
    reqwest_example,
    servers::{Folder, Server, bound, program},
};

#[test]
fn sqlx_has_a_pool_that_coroutines_share() {
    let Some(server) = postgres() else { return };
    let options = PgConnectOptions::new()
        .host("127.0.0.1")
        .port(server.port)
        .username("postgres")
        .database("postgres")
        .ssl_mode(PgSslMode::Disable);
    run(async {
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        sqlx::query("CREATE TABLE squares (n int8, square int8)")
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        let coros: Vec<_> = (0..200_i64)
            .map(|number| {
                let pool = pool.clone();
                spawn(async move {
                    let insert = sqlx::query("INSERT INTO squares VALUES ($1, $1 * $1)");
                    insert.bind(number).execute(&pool).await.map(|done| done.rows_affected())
                })
            })
            .collect();
        for coro in coros {
            assert_eq!(coro.await.unwrap().unwrap(), 1);
        }
        let query = sqlx::query("SELECT n, square FROM squares ORDER BY n");
        let rows: Vec<_> = query.fetch(&pool).try_collect().await.unwrap();
        for (number, row) in (0..200).zip(&rows) {
            assert_eq!(row.get::<i64, _>("square"), number * number);
        }
        assert_eq!(rows.len(), 200);

        // Its connection goes back to the pool, and serves again once the server has answered.
        for _ in 0..4 {
            let slow = sqlx::query("SELECT pg_sleep(0.3)").execute(&pool);
            assert!(time::timeout(Duration::from_millis(20), slow).await.is_err());
        }
        sqlx::query("DROP TABLE squares").execute(&pool).await.unwrap();
        pool.close().await;
    });
}

#[test]
fn reqwest_is_a_guest() {
    reqwest_example::main().unwrap();
}

struct Clerk {
    calls: u32,
}

#[zbus::interface(name = "org.asyncoro.Clerk")]
impl Clerk {
    fn double(&mut self, number: u32) -> zbus::fdo::Result<u32> {
        self.calls += 1;
        let large = || zbus::fdo::Error::InvalidArgs(format!("{number} is large"));
        number.checked_mul(2).ok_or_else(large)
    }

    #[zbus(property)]
    fn calls(&self) -> u32 {
        self.calls
    }
}

#[zbus::proxy(
    interface = "org.asyncoro.Clerk",
    default_service = "org.asyncoro.Clerk",
    default_path = "/clerk"
)]
trait Clerk {
    fn double(&self, number: u32) -> zbus::Result<u32>;

    #[zbus(property)]
    fn calls(&self) -> zbus::Result<u32>;
}

#[test]
fn zbus_calls_methods_of_its_peer() {
    run(async {
        let (near, far) = UnixStream::pair().unwrap();
        let server = Builder::unix_stream(far)
            .server(zbus::Guid::generate())
            .p2p()
            .serve_at("/clerk", Clerk { calls: 0 })
            .build();
        let client = Builder::unix_stream(near).p2p().build();
        let (_server, client) = futures_util::future::try_join(server, client).await.unwrap();
        ask(&ClerkProxy::new(&client).await.unwrap()).await;
    });
}

async fn ask(clerk: &ClerkProxy<'_>) {
    // A bus lets a connection wait for 128 replies.
    let answers = join_all((0..100).map(|number| clerk.double(number))).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), 2 * number as u32);
    }
    let error = clerk.double(u32::MAX).await.unwrap_err().to_string();
    assert!(error.contains("4294967295 is large"), "{error}");
    assert_eq!(clerk.calls().await.unwrap(), 101);
}

struct Bus {
    /// Ended before its folder goes.
    _server: Server,
    address: String,
    _folder: Folder,
}

impl Bus {
    fn start() -> Option<Bus> {
        let bus = program("dbus-daemon", &[])?;
        let folder = Folder::make("bus");
        let address = format!("unix:path={}", folder.join("socket").display());
        folder.write("bus.conf", &CONFIGURATION.replace("ADDRESS", &address));
        let mut command = bound("KILL", None, &bus);
        command.args(["--nofork", "--nopidfile", "--print-address", "--config-file"]);
        command.arg(folder.join("bus.conf"));
        let server = Server::start(command, "unix:path=", false, Signal::KILL);
        Some(Bus { _server: server.unwrap(), address, _folder: folder })
    }
}

/// Of a bus where everybody may do everything.
const CONFIGURATION: &str = r#"<busconfig>
    <type>session</type>
    <listen>ADDRESS</listen>
    <auth>EXTERNAL</auth>
    <policy context="default">
        <allow send_destination="*"/>
        <allow receive_sender="*"/>
        <allow own="*"/>
    </policy>
</busconfig>"#;

#[test]
fn zbus_calls_methods_over_a_bus_and_sees_names_come_and_go() {
    let Some(bus) = Bus::start() else { return };
    run(async {
        let name = "org.asyncoro.Clerk";
        let client = Builder::address(&*bus.address).build().await.unwrap();
        let daemon = zbus::fdo::DBusProxy::new(&client).await.unwrap();
        let mut changes = daemon.receive_name_owner_changed_with_args(&[(0, name)]).await.unwrap();
        let clerk = Clerk { calls: 0 };
        let server = Builder::address(&*bus.address).name(name).serve_at("/clerk", clerk);
        let server = server.build().await.unwrap();
        let change = changes.next().await.unwrap();
        assert!(change.args().unwrap().new_owner().is_some());
        ask(&ClerkProxy::new(&client).await.unwrap()).await;

        server.close().await.unwrap();
        let change = changes.next().await.unwrap();
        assert!(change.args().unwrap().new_owner().is_none());
        assert!(!daemon.name_has_owner(name.try_into().unwrap()).await.unwrap());
    });
}
