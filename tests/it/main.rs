//! The promises, a file each; `../PROMISES.md` lists them with their tests.
#![allow(clippy::async_yields_async, reason = "tests hand handles out of a run on purpose")]
mod attempts;
mod chat;
mod programs;
mod tools;

mod budget;
mod coroutines;
mod endings;
mod fork;
mod idle;
mod send_sync;
mod threads;
mod timers;
mod wakers;
mod within;

mod blocking;
mod bounded;
mod datagrams;
mod loads;
mod names;
mod pycos;

use asyncoro::{AsyncSocket, BlockingSocket};
use std::time::Duration;

#[test]
fn echo() {
    asyncoro::run(async {
        let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        asyncoro::spawn(async move {
            asyncoro::coro::current().set_daemon(true);
            loop {
                let (client, _) = server.accept().await?;
                asyncoro::spawn(async move {
                    while let Some(message) = client.recv_msg().await? {
                        client.send_msg(&message).await?;
                    }
                    std::io::Result::Ok(())
                })
                .or_log();
            }
            #[allow(unreachable_code)]
            std::io::Result::Ok(())
        })
        .or_log();
        let mut all = vec![];
        for i in 0..100 {
            let address = address.clone();
            all.push(asyncoro::spawn(async move {
                let s = AsyncSocket::create_connection(&address).await.unwrap();
                for j in 0..100 {
                    s.send_msg(format!("{i} {j}").as_bytes()).await.unwrap();
                }
                s.send_msg(&vec![7; 3 << 20]).await.unwrap();
                for j in 0..100 {
                    assert_eq!(s.recv_msg().await.unwrap().unwrap(), format!("{i} {j}"));
                }
                assert_eq!(s.recv_msg().await.unwrap().unwrap().len(), 3 << 20);
                asyncoro::time::sleep(Duration::from_millis(5)).await;
            }));
        }
        let t = std::thread::spawn(move || {
            let s = BlockingSocket::create_connection(address).unwrap();
            for _ in 0..100 {
                s.send_msg(b"hello").unwrap();
                assert_eq!(s.recv_msg().unwrap().unwrap(), "hello");
            }
            s.set_timeout(Some(Duration::from_millis(20)));
            let e = s.recv_msg().unwrap_err();
            assert_eq!(e.kind(), std::io::ErrorKind::TimedOut);
            s.close().unwrap();
        });
        for c in all {
            c.await.unwrap();
        }
        asyncoro::pool::run(move || t.join().unwrap()).await;
    });
}

#[test]
fn udp() {
    asyncoro::run(async {
        let a = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let b = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let to = b.local_addr().unwrap();
        for _ in 0..10 {
            a.send_to(b"x", &to).await.unwrap();
            let mut buf = [0; 10];
            let (n, from) = b.recv_from(&mut buf).await.unwrap();
            assert_eq!(n, 1);
            assert_eq!(from, a.local_addr().unwrap());
        }
        b.set_timeout(Some(Duration::from_millis(10)));
        assert!(b.recv_from(&mut [0]).await.is_err());
    });
}
