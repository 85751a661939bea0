//! `on`, awaited by tasks of other executors; and `Coros` as a stream.

use std::{cell::Cell, future::pending, pin::Pin, rc::Rc, sync::mpsc};

use asyncoro::{
    AsynCoro, AsyncSocket,
    coro::{Coros, yield_now},
    on,
};
use futures_core::Stream;

/// Sends a message to itself, by way of a server on the same scheduler.
async fn ask(scheduler: AsynCoro) -> std::io::Result<String> {
    on(&scheduler, || async {
        let server = AsyncSocket::create_server("127.0.0.1:0").await?;
        let address = server.local_addr()?;
        let answering = asyncoro::spawn(async move {
            let (client, _) = server.accept().await?;
            let asked = client.recv_msg().await?.expect("a question");
            client.send_msg(&[&asked[..], b"!"].concat()).await
        });
        let socket = AsyncSocket::create_connection(address).await?;
        socket.send_msg(b"hello").await?;
        let answer = socket.recv_msg().await?.expect("an answer");
        answering.await??;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    })
    .await?
}

#[test]
fn a_task_of_tokio_awaits_a_coroutine() {
    let scheduler = AsynCoro::start().unwrap();
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let tasks: Vec<_> = (0..100).map(|_| threads.spawn(ask(scheduler.clone()))).collect();
    threads.block_on(async {
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), "hello!");
        }
    });
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(one.block_on(ask(scheduler)).unwrap(), "hello!");
}

#[test]
fn a_task_of_tokio_that_is_aborted_ends_its_coroutine() {
    struct Tells(mpsc::Sender<&'static str>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send("ended").unwrap();
        }
    }
    let scheduler = AsynCoro::start().unwrap();
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (tell, told) = mpsc::channel();
    let task = threads.spawn(async move {
        on(&scheduler, move || async move {
            tell.send("begun").unwrap();
            let _tells = Tells(tell);
            pending::<()>().await;
        })
        .await
    });
    assert_eq!(told.recv().unwrap(), "begun");
    task.abort();
    assert_eq!(told.recv().unwrap(), "ended");
    assert!(threads.block_on(task).unwrap_err().is_cancelled());
}

#[test]
fn a_task_of_smol_awaits_a_coroutine() {
    let scheduler = AsynCoro::start().unwrap();
    let tasks: Vec<_> = (0..100).map(|_| smol::spawn(ask(scheduler.clone()))).collect();
    smol::block_on(async {
        for task in tasks {
            assert_eq!(task.await.unwrap(), "hello!");
        }
        assert_eq!(ask(scheduler).await.unwrap(), "hello!");
    });
}

#[test]
fn a_set_of_coroutines_is_a_stream_of_their_results() {
    asyncoro::run(async {
        let (mut coros, ran) = (Coros::new(), Rc::new(Cell::new(0)));
        for number in 0..10 {
            let ran = Rc::clone(&ran);
            let member = async move {
                for _ in 0..10 - number {
                    yield_now().await;
                }
                ran.set(ran.get() + 1);
                number
            };
            coros.spawn(member).await;
        }
        assert_eq!(coros.size_hint(), (10, None));
        let mut numbers = Vec::new();
        while let Some(number) =
            std::future::poll_fn(|cx| Stream::poll_next(Pin::new(&mut coros), cx)).await
        {
            numbers.push(number.unwrap());
        }
        assert!(numbers.into_iter().eq((0..10).rev()));
        assert_eq!((ran.get(), coros.size_hint()), (10, (0, None)));
    });
}
