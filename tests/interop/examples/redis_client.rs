//! A client of Redis: the crate redis on our sockets. Commands of many coroutines on one
//! connection, a pipeline, subscriptions.
//!
//! ```text
//! cargo run -p asyncoro-interop --example redis_client -- 127.0.0.1:6379
//! ```

use std::{env, error::Error};

use asyncoro::{AsyncSocket, Coro, interop::ThreadBound, spawn, sync};
use futures_util::future::try_join_all;
use redis::{
    AsyncCommands, AsyncConnectionConfig, Msg, ProtocolVersion, PushInfo, RedisConnectionInfo,
    aio::MultiplexedConnection,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:6379".to_owned());
    asyncoro::run(work(&address))
}

pub(crate) async fn work(address: &str) -> Outcome {
    let (connection, pushes, driver) = connect(address).await?;

    // A clone for each; their commands leave together.
    try_join_all((0..100).map(|number| {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>(format!("square:{number}"), number * number).await }
    }))
    .await?;
    let mut connection = connection;
    let square: u64 = connection.get("square:12").await?;
    println!("12 * 12 = {square}");

    let mut pipeline = redis::pipe();
    pipeline.atomic().del("visits").ignore();
    for _ in 0..10 {
        pipeline.incr("visits", 1);
    }
    let visits: Vec<u64> = pipeline.query_async(&mut connection).await?;
    println!("visits: {visits:?}");

    connection.subscribe("news").await?;
    connection.publish::<_, _, ()>("news", "it rains").await?;
    let news = pushes.receive().await.ok_or("the connection has ended")?;
    println!("news: {}", news.get_payload::<String>()?);

    // The driver ends once no clone is left.
    drop(connection);
    driver.await?;
    Ok(())
}

/// Connects. The coroutine drives the connection; what is published comes through the receiver.
async fn connect(address: &str) -> Outcome<(MultiplexedConnection, sync::Receiver<Msg>, Coro<()>)> {
    let (sender, pushes) = sync::mailbox(1000);
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None) // else half a second
        .set_push_sender(move |push: PushInfo| match Msg::from_push_info(push) {
            // What nobody takes is lost, and must not hold up the answers to commands.
            Some(message) => sender.try_send(message).map_err(drop),
            None => Ok(()),
        });
    let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    // The crate demands `Send`, but the connection never leaves this thread.
    let socket = ThreadBound::new(AsyncSocket::create_connection(address).await?);
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&info, socket, config).await?;
    Ok((connection, pushes, spawn(driver)))
}
