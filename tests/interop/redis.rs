//! The crate redis, over our sockets and with its own, against a real server.

use std::time::{Duration, Instant};

use asyncoro::{AsyncSocket, Coro, interop::ThreadBound, spawn, sync, time::timeout};
use futures_util::{StreamExt, future::join_all};
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, Msg, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisResult, aio::MultiplexedConnection,
};
use rustix::process::Signal;

use crate::{
    pairs::run,
    redis_example,
    servers::{Folder, Server, bound, program, start_on_free_port},
};

struct Redis {
    /// Ended before its folder goes.
    _server: Server,
    port: u16,
    folder: Folder,
}

impl Redis {
    fn start() -> Option<Redis> {
        let redis = program("redis-server", &[])?;
        let folder = Folder::make("redis");
        let (server, port) = start_on_free_port(|port| {
            let mut command = bound("KILL", None, &redis);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
            command.arg("--dir").arg(folder.path());
            command.arg("--unixsocket").arg(folder.join("socket"));
            let server = Server::start(command, "ccept connections", false, Signal::KILL)?;
            Ok((server, port))
        });
        Some(Redis { _server: server, port, folder })
    }

    async fn socket(&self, over: Over) -> AsyncSocket {
        let connected = match over {
            Over::Tcp => AsyncSocket::create_connection(("127.0.0.1", self.port)).await,
            Over::Unix => AsyncSocket::create_connection(self.folder.join("socket")).await,
        };
        connected.unwrap()
    }

    async fn connect(&self, over: Over) -> (MultiplexedConnection, Coro<()>) {
        self.connect_with(over, AsyncConnectionConfig::new().set_response_timeout(None)).await
    }

    async fn connect_with(
        &self,
        over: Over,
        config: AsyncConnectionConfig,
    ) -> (MultiplexedConnection, Coro<()>) {
        let socket = ThreadBound::new(self.socket(over).await);
        let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        let connected = MultiplexedConnection::new_with_config(&info, socket, config).await;
        let (connection, driver) = connected.unwrap();
        (connection, spawn(driver))
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

#[derive(Clone, Copy, Debug)]
enum Over {
    Tcp,
    Unix,
}

const WAYS: [Over; 2] = [Over::Tcp, Over::Unix];

/// Ends a connection in order.
async fn end(connection: MultiplexedConnection, driver: Coro<()>) {
    drop(connection);
    driver.await.unwrap();
}

#[test]
fn a_pipeline_of_ten_thousand_commands_is_answered_in_order() {
    let Some(server) = Redis::start() else { return };
    for over in WAYS {
        run(async {
            let (mut connection, driver) = server.connect(over).await;
            let mut pipeline = redis::pipe();
            pipeline.del("count").ignore();
            for number in 0..5000 {
                pipeline.set(format!("key:{number}"), number).ignore();
                pipeline.incr("count", 1);
            }
            let counts: Vec<usize> = pipeline.query_async(&mut connection).await.unwrap();
            assert!(counts.into_iter().eq(1..=5000));
            let mut pipeline = redis::pipe();
            (0..10_000).for_each(|number| {
                pipeline.get(format!("key:{}", number % 5000));
            });
            let values: Vec<usize> = pipeline.query_async(&mut connection).await.unwrap();
            assert!(values.into_iter().eq((0..10_000).map(|number| number % 5000)));
            end(connection, driver).await;
        });
    }
}

#[test]
fn a_hundred_coroutines_share_a_connection_and_each_gets_its_answers() {
    let Some(server) = Redis::start() else { return };
    for over in WAYS {
        run(async {
            let (connection, driver) = server.connect(over).await;
            let coros: Vec<_> = (0..100)
                .map(|coro| {
                    let mut connection = connection.clone();
                    spawn(async move {
                        let key = format!("coro:{coro}");
                        let _: () = connection.del(&key).await?;
                        for count in 1..=100 {
                            assert_eq!(connection.incr::<_, _, u32>(&key, 1).await?, count);
                        }
                        RedisResult::Ok(())
                    })
                })
                .collect();
            for coro in coros {
                coro.await.unwrap().unwrap();
            }
            end(connection, driver).await;
        });
    }
}

#[test]
fn a_value_of_many_megabytes_goes_both_ways() {
    let Some(server) = Redis::start() else { return };
    for over in WAYS {
        run(async {
            let (mut connection, driver) = server.connect(over).await;
            let value: Vec<u8> = (0..20 << 20).map(|at: u32| (at % 251) as u8).collect();
            let _: () = connection.set("large", &value).await.unwrap();
            assert!(connection.get::<_, Vec<u8>>("large").await.unwrap() == value);
            end(connection, driver).await;
        });
    }
}

#[test]
fn what_is_published_arrives_in_order_beside_the_answers_to_commands() {
    let Some(server) = Redis::start() else { return };
    for over in WAYS {
        run(async {
            let (sender, news) = sync::mailbox(2000);
            let config = AsyncConnectionConfig::new().set_response_timeout(None).set_push_sender(
                move |push: PushInfo| match Msg::from_push_info(push) {
                    Some(message) => sender.try_send(message).map_err(drop),
                    None => Ok(()),
                },
            );
            let (mut reader, driver) = server.connect_with(over, config).await;
            reader.subscribe("news").await.unwrap();
            reader.psubscribe("wea*").await.unwrap();
            let (mut writer, other) = server.connect(over).await;
            for number in 0..1000 {
                let channel = if number % 2 == 0 { "news" } else { "weather" };
                assert_eq!(writer.publish::<_, _, u32>(channel, number).await.unwrap(), 1);
                if number % 100 == 0 {
                    assert_eq!(reader.ping::<String>().await.unwrap(), "PONG");
                }
            }
            for number in 0..1000 {
                let message = news.receive().await.unwrap();
                assert_eq!(message.get_payload::<u32>().unwrap(), number);
            }
            end(reader, driver).await;
            end(writer, other).await;
        });
    }
}

#[test]
fn a_command_that_is_dropped_or_times_out_leaves_each_other_its_own_answer() {
    let Some(server) = Redis::start() else { return };
    for over in WAYS {
        run(async {
            let (mut connection, driver) = server.connect(over).await;
            let _: () = connection.set("n", 7).await.unwrap();
            let slow = connection.blpop::<_, ()>("nothing", 0.1);
            assert!(timeout(Duration::from_millis(10), slow).await.is_err());
            assert_eq!(connection.get::<_, u32>("n").await.unwrap(), 7);

            // The library's own limit: a timer of a thread of its own wakes us.
            connection.set_response_timeout(Duration::from_millis(20));
            let begun = Instant::now();
            let late = connection.blpop::<_, ()>("nothing", 0.1).await.unwrap_err();
            assert!(late.is_timeout() && begun.elapsed() >= Duration::from_millis(20), "{late}");
            end(connection, driver).await;
        });
    }
}

#[test]
fn a_server_that_dies_is_told_to_the_command_and_to_the_driver() {
    let Some(server) = Redis::start() else { return };
    run(async {
        let (mut connection, driver) = server.connect(Over::Tcp).await;
        let mut watcher = server.connect(Over::Unix).await.0;
        let waiting = spawn({
            let mut connection = connection.clone();
            async move { connection.blpop::<_, ()>("nothing", 0.0).await }
        });
        // Until the server holds the command.
        while !blocks_one(&mut watcher).await.unwrap() {}
        drop(server);
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.is_connection_dropped() || error.is_io_error(), "{error:?}");
        driver.await.unwrap();
        assert!(connection.get::<_, u32>("n").await.is_err());
    });
}

async fn blocks_one(watcher: &mut MultiplexedConnection) -> RedisResult<bool> {
    let info: String = redis::cmd("INFO").arg("clients").query_async(watcher).await?;
    Ok(info.contains("blocked_clients:1"))
}

#[test]
fn the_library_works_as_it_is_with_sockets_and_tasks_of_its_own_thread() {
    let Some(server) = Redis::start() else { return };
    run(async {
        let client = Client::open(server.url()).unwrap();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = connection.unwrap();
        let answers = join_all((0..100).map(|number| {
            let mut connection = connection.clone();
            async move {
                let _: () = connection.set(number, number).await?;
                connection.get::<_, u32>(number).await
            }
        }));
        for (number, answer) in answers.await.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), number as u32);
        }

        let (mut sink, mut news) = client.get_async_pubsub().await.unwrap().split();
        sink.subscribe("news").await.unwrap();
        let mut writer = connection;
        for number in 0..100 {
            let _: () = writer.publish("news", number).await.unwrap();
            let message = news.next().await.unwrap();
            assert_eq!(message.get_payload::<u32>().unwrap(), number);
        }
    });
}

#[test]
fn the_example_runs() {
    let Some(server) = Redis::start() else { return };
    run(async {
        redis_example::work(&format!("127.0.0.1:{}", server.port)).await.unwrap();
    });
}

#[test]
fn a_stream_that_a_library_takes_to_another_thread_is_refused_there() {
    let Some(server) = Redis::start() else { return };
    run(async {
        let socket = ThreadBound::new(server.socket(Over::Tcp).await);
        let info = RedisConnectionInfo::default();
        // Spawns its driver on a thread of smol's, where it panics.
        let mut subscriber = redis::aio::PubSub::new(&info, socket).await.unwrap();
        assert!(subscriber.subscribe("news").await.is_err());
    });
}
