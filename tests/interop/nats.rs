//! async-nats, which needs tokio's runtime, in coroutines of a guest, against a real server.

use std::thread;

use async_nats::Client;
use asyncoro::{spawn, time::timeout};
use futures_util::{StreamExt, future::join_all};
use rustix::process::Signal;

use crate::{
    pairs::LIMIT,
    servers::{Server, bound, program, start_on_free_port},
};

struct Nats {
    _server: Server,
    port: u16,
}

impl Nats {
    fn start() -> Option<Nats> {
        let nats = program("nats-server", &["/usr/sbin".into()])?;
        let (server, port) = start_on_free_port(|port| {
            let mut command = bound("KILL", None, &nats);
            command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
            let server = Server::start(command, "Server is ready", true, Signal::KILL)?;
            Ok((server, port))
        });
        Some(Nats { _server: server, port })
    }
}

/// Waits until the server has handled what a client has sent so far, which `flush` does not: a
/// message to itself comes behind that.
async fn arrived(client: &Client) {
    let inbox = client.new_inbox();
    let mut messages = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, "".into()).await.unwrap();
    messages.next().await.unwrap();
}

#[test]
fn async_nats_is_a_guest() {
    let Some(server) = Nats::start() else { return };
    let thread = thread::current().id();
    asyncoro::tokio::run(async {
        let talking = async {
            let url = format!("nats://127.0.0.1:{}", server.port);
            let [answering, asking] =
                join_all([async_nats::connect(&url), async_nats::connect(&url)])
                    .await
                    .into_iter()
                    .collect::<Result<Vec<_>, _>>()
                    .unwrap()
                    .try_into()
                    .unwrap();

            // A coroutine answers, and a hundred ask.
            let mut requests =
                answering.queue_subscribe("squares", "workers".into()).await.unwrap();
            arrived(&answering).await;
            let worker = spawn({
                let client = answering.clone();
                async move {
                    let mut count = 0;
                    while let Some(request) = requests.next().await {
                        assert_eq!(thread::current().id(), thread);
                        let number: u64 =
                            str::from_utf8(&request.payload).unwrap().parse().unwrap();
                        let answer = (number * number).to_string();
                        client.publish(request.reply.unwrap(), answer.into()).await.unwrap();
                        count += 1;
                    }
                    count
                }
            });
            let coros: Vec<_> = (0..100_u64)
                .map(|number| {
                    let client = asking.clone();
                    spawn(async move { client.request("squares", number.to_string().into()).await })
                })
                .collect();
            for (number, coro) in (0..100_u64).zip(coros) {
                let answer = coro.await.unwrap().unwrap();
                assert_eq!(answer.payload, (number * number).to_string());
            }

            // More than a turn's budget, in order.
            let mut news = asking.subscribe("news.>").await.unwrap();
            arrived(&asking).await;
            let reader = spawn(async move {
                for number in 0..10_000 {
                    let message = news.next().await.unwrap();
                    assert_eq!(message.payload, format!("{number}"));
                    assert_eq!(message.subject.as_str(), format!("news.{}", number % 3));
                }
            });
            for number in 0..10_000 {
                let subject = format!("news.{}", number % 3);
                answering.publish(subject, number.to_string().into()).await.unwrap();
            }
            reader.await.unwrap();

            // Subscriptions end with their client.
            answering.drain().await.unwrap();
            assert_eq!(worker.await.unwrap(), 100);
            asking.drain().await.unwrap();
        };
        timeout(LIMIT, talking).await.expect("the test hangs");
    });
}
