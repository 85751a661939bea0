//! Servers in this process: what becomes of their connections, at each of their ends. Signals,
//! limits of a process and other processes are in `serve_processes.rs`.

use std::{
    cell::Cell,
    future::{Future, pending},
    io::{self, Read},
    net::TcpStream,
    os::unix::net::UnixStream,
    pin::Pin,
    rc::Rc,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use asyncoro::{
    Address, AsynCoro, AsyncSocket,
    coro::{on_end, yield_now},
    error::Closed,
    future::{Winner, join, join_all, race},
    scope::{is_stopping, scope, stopping},
    serve::{Outcome, Served, Server, ServerHandle, hand_over, take_over},
    socket2, spawn,
    time::{sleep, timeout},
};

use crate::{
    pairs::{inner, statistics},
    within::{logged, run_within, within},
};

const SHORT: Duration = Duration::from_millis(40);
const LONG: Duration = Duration::from_secs(30);

/// Long enough that on a busy machine nobody who talks is taken for silent.
const IDLE: Duration = Duration::from_millis(800);

/// Calls a test with a TCP listener, and with a Unix one.
fn each_listener<F: Future<Output = ()>>(test: impl Fn(AsyncSocket) -> F + Copy + Send + 'static) {
    for is_unix in [false, true] {
        run_within(move || async move {
            test(listening(is_unix).await).await;
            // Nothing is left but this coroutine.
            yield_now().await;
            let left = statistics();
            assert_eq!((left.coroutines, left.sockets, left.timers), (0, 0, 0), "{left:?}");
        });
    }
}

async fn listening(is_unix: bool) -> AsyncSocket {
    if !is_unix {
        return AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
    }
    static LAST: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("@asyncoro-serve-{}-{number}", std::process::id());
    AsyncSocket::create_server(name.as_str()).await.unwrap()
}

fn server(listener: AsyncSocket) -> (Server, ServerHandle, Address) {
    let address = listener.local_addr().unwrap();
    let server = Server::new(listener).without_signals();
    let handle = server.handle();
    (server, handle, address)
}

async fn connect(address: &Address) -> AsyncSocket {
    AsyncSocket::create_connection(address.clone()).await.unwrap()
}

async fn echo(client: AsyncSocket, _: Address) -> io::Result<()> {
    while let Some(message) = client.recv_msg().await? {
        client.send_msg(&message).await?;
    }
    Ok(())
}

async fn ask(client: &AsyncSocket, text: &str) {
    client.send_msg(text.as_bytes()).await.unwrap();
    assert_eq!(client.recv_msg().await.unwrap().unwrap(), text);
}

/// Waits for a condition, while other coroutines run.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Checks the counts.
fn counts(served: &Served) -> [u64; 4] {
    [served.connections, served.failed, served.idle, served.forced]
}

#[test]
fn each_connection_has_a_handler_of_its_own_and_is_counted() {
    each_listener(|listener| async {
        let (server, handle, address) = server(listener);
        let clients = async {
            let clients = join_all((0..20).map(|_| connect(&address))).await;
            // In an order of their own: no handler waits for another one.
            for client in clients.iter().rev() {
                ask(client, "hello").await;
            }
            assert_eq!(handle.connections(), 20);
            drop(clients);
            until(|| handle.connections() == 0).await;
            assert_eq!(counts(&handle.served()), [20, 0, 0, 0]);
            handle.stop();
        };
        let (served, ()) = join(server.serve(echo), clients).await;
        assert_eq!(counts(&served.unwrap()), [20, 0, 0, 0]);
        // The listener is closed.
        assert!(AsyncSocket::create_connection(address).await.is_err());
    });
}

#[test]
fn several_listeners_have_one_server() {
    run_within(|| async {
        let (server, handle, tcp) = server(listening(false).await);
        let other = listening(true).await;
        let unix = other.local_addr().unwrap();
        let clients = async {
            for address in [&unix, &tcp, &unix] {
                ask(&connect(address).await, "hello").await;
            }
            handle.stop();
        };
        let (served, ()) = join(server.and_listener(other).serve(echo), clients).await;
        assert_eq!(served.unwrap().connections, 3);
    });
}

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// A handler that counts those that run, and the most that ever ran.
fn counting(
    now: &Rc<Cell<u32>>,
    most: &Rc<Cell<u32>>,
) -> impl Fn(AsyncSocket, Address) -> Boxed<io::Result<()>> + use<> {
    let (now, most) = (Rc::clone(now), Rc::clone(most));
    move |client, peer| {
        let (now, most) = (Rc::clone(&now), Rc::clone(&most));
        Box::pin(async move {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            let ended = echo(client, peer).await;
            now.set(now.get() - 1);
            ended
        })
    }
}

#[test]
fn at_the_limit_clients_wait_in_the_queue_and_none_is_refused() {
    each_listener(|listener| async {
        let (server, handle, address) = server(listener);
        let (now, most) = Default::default();
        let clients = async {
            let conversations = (0..20).map(|_| async {
                let client = connect(&address).await;
                for _ in 0..3 {
                    ask(&client, "hello").await;
                }
            });
            join_all(conversations).await;
            handle.stop();
        };
        let (served, ()) = join(server.limit(3).serve(counting(&now, &most)), clients).await;
        assert_eq!(counts(&served.unwrap()), [20, 0, 0, 0]);
        assert_eq!((now.get(), most.get()), (0, 3));
    });
}

#[test]
fn the_queue_is_served_before_a_listener_closes_within_the_limit() {
    each_listener(|listener| async {
        let (server, handle, address) = server(listener);
        let (now, most) = Default::default();
        // They are connected before the server begins, which is told to stop before that, too.
        let clients = join_all((0..10).map(|_| connect(&address))).await;
        handle.stop();
        let clients = async {
            let conversations = clients.into_iter().map(|client| async move {
                ask(&client, "hello").await;
            });
            join_all(conversations).await;
        };
        let (served, ()) = join(server.limit(2).serve(counting(&now, &most)), clients).await;
        assert_eq!(counts(&served.unwrap()), [10, 0, 0, 0]);
        assert_eq!(most.get(), 2);
        assert!(AsyncSocket::create_connection(address).await.is_err());
    });
}

#[test]
fn a_listener_without_clients_takes_no_slot_from_another_one() {
    run_within(|| async {
        let (idle, used) = (listening(false).await, listening(true).await);
        let address = used.local_addr().unwrap();
        let server = Server::new(idle).and_listener(used).limit(1).without_signals();
        let handle = server.handle();
        let clients = async {
            for _ in 0..3 {
                ask(&connect(&address).await, "hello").await;
            }
            handle.stop();
        };
        let (served, ()) = join(server.serve(echo), clients).await;
        assert_eq!(counts(&served.unwrap()), [3, 0, 0, 0]);
    });
}

#[test]
fn with_a_limit_the_listener_is_closed_at_once_and_the_queue_is_served() {
    run_within(|| async {
        let (server, handle, address) = server(listening(false).await);
        let clients = async {
            let (first, second) = (connect(&address).await, connect(&address).await);
            ask(&first, "hello").await;
            handle.stop();
            // Nobody else comes in, although the second one has to wait.
            while AsyncSocket::create_connection(address.clone()).await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
            drop(first);
            ask(&second, "hello").await;
        };
        let (served, ()) = join(server.limit(1).serve(echo), clients).await;
        let served = served.unwrap();
        assert_eq!((served.failed, served.forced), (0, 0));
    });
}

#[test]
fn a_request_that_is_under_way_is_not_taken_for_silence() {
    each_listener(|listener| async {
        let (server, handle, address) = server(listener);
        let client = async {
            let client = connect(&address).await;
            client.send_msg(b"question").await.unwrap();
            until(|| handle.connections() == 1).await;
            sleep(SHORT).await;
            handle.stop();
            assert_eq!(client.recv_msg().await.unwrap().unwrap(), "the answer");
        };
        // As a library does that watches for its peer while it works.
        let handler = |client: AsyncSocket, _| async move {
            client.recv_msg().await?;
            let answer = match race(client.recv_msg(), sleep(12 * SHORT)).await {
                Winner::First(_) => "the end",
                Winner::Second(()) => "the answer",
            };
            client.send_msg(answer.as_bytes()).await
        };
        let serving = server.quiet(Some(SHORT)).serve(handler);
        let (served, ()) = join(serving, client).await;
        assert_eq!(counts(&served.unwrap()), [1, 0, 0, 0]);
    });
}

#[test]
fn who_only_receives_gets_the_end_of_the_stream_before_the_grace_is_over() {
    each_listener(|listener| async {
        let (server, handle, address) = server(listener);
        let client = async {
            let client = connect(&address).await;
            client.send_all(b"a line\n").await.unwrap();
            until(|| handle.connections() == 1).await;
            handle.stop();
            assert_eq!(client.recv_msg().await.unwrap(), None);
        };
        let handler = |client: AsyncSocket, _| async move {
            while client.recv_line(80).await?.is_some() {}
            io::Result::Ok(())
        };
        let serving = server.quiet(Some(IDLE)).grace(3 * IDLE).serve(handler);
        let (served, ()) = join(serving, client).await;
        assert_eq!(counts(&served.unwrap()), [1, 0, 0, 0]);
    });
}

#[test]
fn a_failure_of_its_own_counts_after_the_server_has_ended_the_connection() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                let (server, handle, address) = server(listening(false).await);
                let client = async {
                    let client = connect(&address).await;
                    assert_eq!(client.recv_msg().await.unwrap().unwrap(), "hello");
                    handle.stop();
                    assert_eq!(client.recv_msg().await.unwrap(), None);
                };
                let handler = |client: AsyncSocket, _| async move {
                    client.send_msg(b"hello").await?;
                    client.recv_msg().await?;
                    Err::<(), _>(io::Error::other("not stored"))
                };
                let serving = server.quiet(Some(SHORT)).serve(handler);
                let (served, ()) = join(serving, client).await;
                assert_eq!(served.unwrap().failed, 1);
            });
        });
        assert!(log.contains("not stored"), "{log}");
    });
}

#[test]
fn who_drops_what_was_handed_over_lets_the_other_one_go_on() {
    run_within(|| async {
        let listener = listening(false).await;
        let (old, new) = UnixStream::pair().unwrap();
        let (old, new) = (AsyncSocket::new(old).unwrap(), AsyncSocket::new(new).unwrap());
        let taking = async {
            let taken = take_over(&new).await.unwrap();
            assert_eq!(taken.listeners.len(), 1);
            drop(taken);
        };
        let (handed, ()) = join(hand_over(&old, &[("web", &listener)]), taking).await;
        assert_eq!(handed.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        drop(new);
    });
}

#[test]
fn a_server_that_is_released_leaves_the_queue_to_who_has_the_listener() {
    each_listener(|listener| async {
        let (old, handle, address) = server(listener.clone());
        let first = connect(&address).await;
        let serving_old = old.quiet(None).serve(echo);
        let rest = async {
            ask(&first, "first").await;
            handle.release();
            // Nobody accepts: it waits.
            let second = connect(&address).await;
            second.send_msg(b"second").await.unwrap();
            assert!(timeout(SHORT, second.recv_msg()).await.is_err());
            // The old one still serves what it has.
            ask(&first, "still").await;
            let (new, new_handle, _) = server(listener);
            let talk = async {
                assert_eq!(second.recv_msg().await.unwrap().unwrap(), "second");
                ask(&second, "third").await;
                drop((first, second));
                new_handle.stop();
            };
            join(new.serve(echo), talk).await.0.unwrap()
        };
        let (old, new) = join(serving_old, rest).await;
        assert_eq!(counts(&old.unwrap()), [1, 0, 0, 0]);
        assert_eq!(counts(&new), [1, 0, 0, 0]);
    });
}

#[test]
fn a_silent_connection_is_closed_and_one_on_which_bytes_move_either_way_is_not() {
    each_listener(|listener| async {
        let (server, handle, address) = server(listener);
        let clients = async {
            let silent = connect(&address).await;
            silent.send_msg(b"silent").await.unwrap();
            let (talker, listens) = (connect(&address).await, connect(&address).await);
            listens.send_msg(b"tell me").await.unwrap();
            let before = Instant::now();
            let talking = async {
                while before.elapsed() < 2 * IDLE {
                    ask(&talker, "talk").await;
                    assert_eq!(listens.recv_msg().await.unwrap().unwrap(), "news");
                    sleep(IDLE / 20).await;
                }
            };
            let ended = async {
                assert_eq!(silent.recv_msg().await.unwrap(), None);
                before.elapsed()
            };
            let ((), silence) = join(talking, ended).await;
            assert!(silence >= IDLE * 9 / 10, "{silence:?}");
            assert_eq!(handle.connections(), 2);
            drop((talker, listens));
            until(|| handle.connections() == 0).await;
            handle.stop();
        };
        let handler = |client: AsyncSocket, peer| async move {
            let first = client.recv_msg().await?;
            if first.as_deref() == Some(b"silent") {
                // What a handler returns then is no failure.
                let end = client.recv_msg().await?;
                assert_eq!(end, None);
                return Err(io::Error::other("nobody talks to me"));
            }
            if first.as_deref() == Some(b"tell me") {
                while client.send_msg(b"news").await.is_ok() {
                    sleep(IDLE / 20).await;
                }
                return Ok(());
            }
            client.send_msg(&first.unwrap_or_default()).await?;
            echo(client, peer).await
        };
        let (served, ()) = join(server.idle_timeout(IDLE).serve(handler), clients).await;
        assert_eq!(counts(&served.unwrap()), [3, 0, 1, 0]);
    });
}

#[test]
fn an_error_or_a_panic_ends_its_own_connection_and_is_logged_with_the_peer() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                let (server, handle, address) = server(listening(false).await);
                let clients = async {
                    let well = connect(&address).await;
                    ask(&well, "hello").await;
                    for text in ["fail", "boxed", "panic", "call", "reset"] {
                        let client = connect(&address).await;
                        client.send_msg(text.as_bytes()).await.unwrap();
                        assert_eq!(client.recv_msg().await.unwrap(), None);
                    }
                    ask(&well, "still there").await;
                    drop(well);
                    until(|| handle.connections() == 0).await;
                    handle.stop();
                };
                type Failed = Box<dyn std::error::Error + Send + Sync>;
                let calls = Rc::new(Cell::new(0));
                let handler = move |client: AsyncSocket, _| {
                    calls.set(calls.get() + 1);
                    // The fifth is the one that says "call".
                    if calls.get() == 5 {
                        drop(client);
                        panic!("before there is a future");
                    }
                    async move {
                        while let Some(message) = client.recv_msg().await? {
                            match &message[..] {
                                b"fail" => return Err(Failed::from("wrong")),
                                b"boxed" => return Err(io::Error::other("inside").into()),
                                b"panic" => panic!("fell over"),
                                b"reset" => {
                                    return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
                                }
                                _ => client.send_msg(&message).await?,
                            }
                        }
                        Ok::<(), Failed>(())
                    }
                };
                let (served, ()) = join(server.serve(handler), clients).await;
                assert_eq!(counts(&served.unwrap()), [6, 5, 0, 0]);
            });
        });
        for text in ["ended: wrong", "ended: inside", "panicked: fell over", "panicked: before"] {
            let line = log.lines().find(|line| line.contains(text));
            let line = line.unwrap_or_else(|| panic!("{text}: {log}"));
            assert!(line.contains("ERROR") && line.contains("connection of 127.0.0.1:"), "{line}");
            assert!(line.contains("tests/it/serve.rs:"), "the place of `serve`: {line}");
        }
        // The peer's fault is no error.
        assert_eq!(log.matches("ERROR").count(), 4, "{log}");
    });
}

#[test]
fn handlers_and_the_scopes_in_them_are_told_to_stop_and_finish() {
    each_listener(|listener| async {
        let (server, handle, address) = server(listener);
        let clients = async {
            let client = connect(&address).await;
            ask(&client, "hello").await;
            handle.stop();
            let mut answers = Vec::new();
            while let Some(answer) = client.recv_msg().await.unwrap() {
                answers.push(answer);
            }
            assert_eq!(answers, ["inner told", "told"]);
        };
        let handler = |client: AsyncSocket, _| async move {
            let message = client.recv_msg().await?.unwrap();
            assert!(!is_stopping());
            client.send_msg(&message).await?;
            scope(async |s| {
                s.spawn(async {
                    stopping().await;
                    client.send_msg(b"inner told").await.unwrap();
                });
            })
            .await;
            assert!(is_stopping());
            stopping().await;
            client.send_msg(b"told").await
        };
        let (served, ()) = join(server.quiet(None).serve(handler), clients).await;
        assert_eq!(counts(&served.unwrap()), [1, 0, 0, 0]);
    });
}

#[test]
fn what_was_asked_for_is_answered_and_an_incomplete_message_is_waited_for() {
    each_listener(|listener| async {
        let (server, handle, address) = server(listener);
        let clients = async {
            let (idle, slow, works) =
                (connect(&address).await, connect(&address).await, connect(&address).await);
            for client in [&idle, &slow, &works] {
                ask(client, "hello").await;
            }
            slow.send_all(&[0, 0, 0, 6, b's', b'l']).await.unwrap();
            works.send_msg(b"work").await.unwrap();
            // The server has received it, and waits for the rest.
            sleep(SHORT / 4).await;
            handle.stop();
            assert_eq!(idle.recv_msg().await.unwrap(), None, "it was silent");
            sleep(3 * SHORT).await;
            slow.send_all(b"ow..").await.unwrap();
            assert_eq!(slow.recv_msg().await.unwrap().unwrap(), "slow..");
            assert_eq!(slow.recv_msg().await.unwrap(), None);
            assert_eq!(works.recv_msg().await.unwrap().unwrap(), "work");
            assert_eq!(works.recv_msg().await.unwrap(), None);
        };
        let handler = |client: AsyncSocket, _| async move {
            while let Some(message) = client.recv_msg().await? {
                if message == "work" {
                    // Longer than it may be silent.
                    sleep(4 * SHORT).await;
                }
                client.send_msg(&message).await?;
            }
            io::Result::Ok(())
        };
        let serving = server.quiet(Some(SHORT)).grace(LONG).serve(handler);
        let (served, ()) = join(serving, clients).await;
        assert_eq!(counts(&served.unwrap()), [3, 0, 0, 0]);
    });
}

/// Notes that it was dropped.
struct Dropped(Rc<Cell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A handler that never ends by itself, with a clean-up that waits.
fn endless(dropped: &Rc<Cell<u32>>) -> impl Fn(AsyncSocket, Address) -> Boxed<()> + use<> {
    let dropped = Rc::clone(dropped);
    move |client, _| {
        let dropped = Dropped(Rc::clone(&dropped));
        Box::pin(async move {
            let cleaned = Rc::clone(&dropped.0);
            on_end(async move {
                sleep(Duration::from_millis(5)).await;
                cleaned.set(cleaned.get() + 10);
            });
            let _dropped = dropped;
            client.send_msg(b"here").await.unwrap();
            pending::<()>().await;
        })
    }
}

#[test]
fn a_handler_that_ignores_the_end_is_terminated_after_the_grace_and_named() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                let (server, handle, address) = server(listening(false).await);
                let dropped = Rc::default();
                let clients = async {
                    let clients = join_all((0..2).map(|_| connect(&address))).await;
                    for client in &clients {
                        assert_eq!(client.recv_msg().await.unwrap().unwrap(), "here");
                    }
                    handle.stop();
                    for client in &clients {
                        assert_eq!(client.recv_msg().await.unwrap(), None);
                    }
                };
                let before = Instant::now();
                let serving = server.grace(SHORT).serve(endless(&dropped));
                let (served, ()) = join(serving, clients).await;
                assert!(before.elapsed() >= SHORT);
                assert_eq!(counts(&served.unwrap()), [2, 0, 0, 2]);
                assert_eq!(dropped.get(), 22, "dropped, and cleaned up");
            });
        });
        let line = log.lines().find(|line| line.contains("has ended 2 connections")).unwrap();
        assert!(line.contains("WARN") && line.contains("that did not end within 40ms"), "{line}");
        assert!(line.contains("the server at tests/it/serve.rs:"), "{line}");
        assert_eq!(line.matches("connection of 127.0.0.1:").count(), 2, "{line}");
    });
}

#[test]
fn a_forced_end_names_how_many_waited_for_the_limit() {
    within(|| {
        let log = logged(|| {
            asyncoro::run(async {
                let (server, handle, address) = server(listening(false).await);
                let dropped = Rc::default();
                let clients = async {
                    let client = connect(&address).await;
                    assert_eq!(client.recv_msg().await.unwrap().unwrap(), "here");
                    let waiting = [connect(&address).await, connect(&address).await];
                    handle.stop();
                    for client in waiting {
                        assert!(matches!(client.recv_msg().await, Ok(None) | Err(_)));
                    }
                };
                let serving = server.limit(1).grace(SHORT).serve(endless(&dropped));
                let (served, ()) = join(serving, clients).await;
                assert_eq!(counts(&served.unwrap()), [1, 0, 0, 1]);
            });
        });
        let line = log.lines().find(|line| line.contains("that nobody had served")).unwrap();
        assert!(line.contains("WARN") && line.contains("has closed 2 connections"), "{line}");
        assert!(log.contains("has ended 1 connections that did not end within"), "{log}");
    });
}

#[test]
fn a_second_order_ends_it_at_once() {
    for first in [ServerHandle::stop, ServerHandle::release, ServerHandle::end] {
        within(move || {
            asyncoro::run(async {
                let (server, handle, address) = server(listening(false).await);
                let dropped = Rc::default();
                let clients = async {
                    let client = connect(&address).await;
                    assert_eq!(client.recv_msg().await.unwrap().unwrap(), "here");
                    first(&handle);
                    sleep(SHORT).await;
                    handle.end();
                    assert_eq!(client.recv_msg().await.unwrap(), None);
                };
                let serving = server.grace(LONG).serve(endless(&dropped));
                let (served, ()) = join(serving, clients).await;
                assert_eq!(counts(&served.unwrap()), [1, 0, 0, 1]);
                assert_eq!(dropped.get(), 11);
            });
        });
    }
}

#[test]
fn a_server_that_is_dropped_ends_its_handlers_and_closes_its_listener() {
    each_listener(|listener| async {
        let (server, handle, address) = server(listener);
        let dropped = Rc::default();
        let clients = async {
            let client = connect(&address).await;
            assert_eq!(client.recv_msg().await.unwrap().unwrap(), "here");
            client
        };
        let client = match race(server.serve(endless(&dropped)), clients).await {
            Winner::First(served) => panic!("{served:?}"),
            Winner::Second(client) => client,
        };
        assert_eq!(client.recv_msg().await.unwrap(), None);
        until(|| dropped.get() == 11).await;
        assert_eq!(handle.connections(), 0);
        assert!(AsyncSocket::create_connection(address).await.is_err());
    });
}

#[test]
fn a_scope_around_a_future_and_another_thread_stop_it() {
    run_within(|| async {
        let (first, _, _) = server(listening(false).await);
        let served = scope(async |s| {
            let serving = s.spawn(first.serve(echo));
            s.stop();
            serving.await.unwrap()
        })
        .await;
        assert_eq!(served.unwrap(), Served::default());

        let (second, _, address) = server(listening(false).await);
        let (one, other) = (connect(&address).await, connect(&address).await);
        let first_of_two = async move { one.recv_msg().await };
        let serving = second.stop_when(first_of_two).stop_when(pending::<()>());
        let greet = |client: AsyncSocket, _| async move { client.send_msg(b"greeted").await };
        let served = serving.serve(greet).await.unwrap();
        assert_eq!(counts(&served), [2, 0, 0, 0]);
        assert_eq!(other.recv_msg().await.unwrap().unwrap(), "greeted");

        let (third, handle, _) = server(listening(false).await);
        let thread = thread::spawn(move || handle.stop());
        third.serve(echo).await.unwrap();
        thread.join().unwrap();
    });
}

#[test]
fn a_listener_that_fails_ends_the_server_with_its_error_after_the_handlers() {
    run_within(|| async {
        let listener = listening(false).await;
        let (server, _, address) = server(listener.clone());
        let answered = Rc::new(Cell::new(false));
        let clients = async {
            let client = connect(&address).await;
            ask(&client, "hello").await;
            listener.close().await.unwrap();
            ask(&client, "still").await;
            answered.set(true);
        };
        let (served, ()) = join(server.serve(echo), clients).await;
        assert!(answered.get());
        assert!(inner::<Closed>(&served.unwrap_err()).is_some());

        let unlistening = AsyncSocket::open(socket2::Domain::IPV4, socket2::Type::STREAM).unwrap();
        let failed = Server::new(unlistening).without_signals().serve(echo).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::InvalidInput, "{failed}");
    });
}

#[test]
fn what_handlers_have_queued_has_left_when_it_returns() {
    const COUNT: usize = 512;
    const LEN: usize = 32 << 10;
    within(|| {
        let (begin, begun) = mpsc::channel();
        // The scheduler itself sends nothing at its end.
        let scheduler = AsynCoro::builder().drain(Duration::ZERO).build().unwrap();
        let reading = scheduler.run_until(async {
            let (server, handle, address) = server(listening(false).await);
            let mut client = TcpStream::connect(address.socket_addr().unwrap()).unwrap();
            let reading = thread::spawn(move || {
                begun.recv().unwrap();
                let mut bytes = Vec::new();
                client.read_to_end(&mut bytes).unwrap();
                bytes.len()
            });
            let ended = handle.clone();
            drop(spawn(async move {
                until(|| ended.served().connections == 1 && ended.connections() == 0).await;
                begin.send(()).unwrap();
            }));
            let handler = move |client: AsyncSocket, _| {
                handle.stop();
                async move {
                    client.set_queue_limit(32 << 20);
                    for _ in 0..COUNT {
                        client.send_msg(&[7; LEN]).await?;
                    }
                    io::Result::Ok(())
                }
            };
            let served = server.serve(handler).await.unwrap();
            assert_eq!(counts(&served), [1, 0, 0, 0]);
            reading
        });
        assert_eq!(reading.join().unwrap(), COUNT * (LEN + 4));
    });
}

#[test]
fn what_others_still_send_does_not_hold_up_its_end() {
    run_within(|| async {
        let (stranger, peer) = UnixStream::pair().unwrap();
        let (stranger, peer) =
            (AsyncSocket::new(stranger).unwrap(), AsyncSocket::new(peer).unwrap());
        let long = vec![7; 8 << 20];
        // It has begun to leave; the rest stays in the queue, and the scheduler sends it.
        let begun = race(stranger.send_msg(&long), yield_now()).await;
        assert!(matches!(begun, Winner::Second(())));
        drop(stranger);

        let (server, handle, _) = server(listening(false).await);
        handle.stop();
        server.serve(echo).await.unwrap();
        // In less than its linger time, after which it would be given up.
        assert_eq!(peer.recv_msg().await.unwrap().unwrap(), long);
    });
}

#[test]
fn a_coroutine_that_a_handler_spawns_is_no_part_of_the_connection() {
    run_within(|| async {
        let (server, handle, address) = server(listening(false).await);
        let told = Rc::new(Cell::new(None));
        let clients = async {
            let client = connect(&address).await;
            assert_eq!(client.recv_msg().await.unwrap().unwrap(), "detached");
            until(|| handle.connections() == 0).await;
            handle.stop();
            client
        };
        let noted = Rc::clone(&told);
        let handler = move |client: AsyncSocket, _| {
            let noted = Rc::clone(&noted);
            async move {
                spawn(async move {
                    client.send_msg(b"detached").await?;
                    let end = client.recv_msg().await;
                    noted.set(Some(is_stopping()));
                    end
                })
                .or_log();
            }
        };
        let (served, client) = join(server.serve(handler), clients).await;
        assert_eq!(counts(&served.unwrap()), [1, 0, 0, 0]);
        assert_eq!(told.get(), None, "it goes on");
        drop(client);
        until(|| told.get().is_some()).await;
        assert_eq!(told.get(), Some(false));
    });
}

#[test]
fn a_listener_goes_to_another_one_over_a_unix_socket() {
    run_within(|| async {
        let (tcp, unix) = (listening(false).await, listening(true).await);
        let addresses = [tcp.local_addr().unwrap(), unix.local_addr().unwrap()];
        let pair = || {
            let (old, new) = UnixStream::pair().unwrap();
            (AsyncSocket::new(old).unwrap(), AsyncSocket::new(new).unwrap())
        };
        // One that ends before it is ready, one that sends something else, one that is silent.
        let (old, new) = pair();
        let (handed, taken) = join(hand_over(&old, &[("tcp", &tcp)]), async {
            drop(take_over(&new).await.unwrap());
            drop(new);
        })
        .await;
        assert_eq!(handed.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let () = taken;
        let (old, new) = pair();
        new.send_all(b"nono!\n").await.unwrap();
        drop(new);
        assert!(hand_over(&old, &[("tcp", &tcp)]).await.is_err());
        for (sent, kind) in [
            (&b"no listeners\n\n"[..], io::ErrorKind::InvalidData),
            (b"", io::ErrorKind::InvalidData),
        ] {
            let (old, new) = pair();
            old.send_all(sent).await.unwrap();
            drop(old);
            assert_eq!(take_over(&new).await.unwrap_err().kind(), kind);
        }
        for bad in [&[][..], &[("a\nb", &tcp)], &[("", &tcp)]] {
            let refused = hand_over(&old, bad).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }

        let (old, new) = pair();
        let (handed, taken) = join(hand_over(&old, &[("tcp", &tcp), ("unix", &unix)]), async {
            let mut taken = take_over(&new).await.unwrap();
            let names: Vec<_> = taken.listeners.iter().map(|one| one.name().to_owned()).collect();
            assert_eq!(names, ["tcp", "unix"]);
            let listeners: Vec<_> =
                taken.listeners.drain(..).map(|one| one.into_socket().unwrap()).collect();
            taken.ready().await.unwrap();
            listeners
        })
        .await;
        handed.unwrap();
        drop((tcp, unix));
        for (listener, address) in taken.iter().zip(&addresses) {
            assert_eq!(&listener.local_addr().unwrap(), address);
            let client = connect(address).await;
            client.send_msg(b"hello").await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            assert_eq!(accepted.recv_msg().await.unwrap().unwrap(), "hello");
            // Closed by all that have set it: it stays as it is.
            let flags = rustix::fs::fcntl_getfl(listener).unwrap();
            assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
        }
    });
}

#[test]
fn outcomes_are_nothing_or_results() {
    fn is_outcome<T: Outcome>() {}
    is_outcome::<()>();
    is_outcome::<io::Result<u32>>();
    is_outcome::<Result<(), String>>();
    is_outcome::<Result<(), Box<dyn std::error::Error>>>();
}

#[cfg(feature = "tls")]
#[test]
fn handshakes_run_beside_each_other_and_those_that_have_begun_are_served_at_the_end() {
    crate::tls::run_each_version(|version| async move {
        let (server_tls, client_tls) = crate::tls::localhost_by(version);
        let listener = listening(false).await.with_tls(&server_tls).unwrap();
        let kept = listener.clone();
        let (server, handle, address) = server(listener);
        let port = address.socket_addr().unwrap().port();
        let clients = async {
            // One that is silent, and one that speaks something else, hold up nobody.
            let silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
            io::Write::write_all(&mut stranger, b"GET / HTTP/1.0\r\n\r\n").unwrap();
            let client =
                AsyncSocket::create_tls_connection(("localhost", port), &client_tls).await.unwrap();
            ask(&client, "hello").await;
            until(|| kept.failed_handshakes() == 1).await;

            // One that has connected, and begins its handshake after the server was told; it is
            // in the queue, or was accepted.
            let plain = connect(&address).await;
            handle.stop();
            sleep(SHORT).await;
            plain.start_tls(client_tls.clone().server_name("localhost").unwrap()).await.unwrap();
            ask(&plain, "late").await;
            // What is silent gets the end, here and in the handshake.
            assert_eq!(client.recv_msg().await.unwrap(), None);
            silent
        };
        let before = Instant::now();
        let serving = server.quiet(Some(2 * IDLE)).grace(LONG).serve(echo);
        let (served, mut silent) = join(serving, clients).await;
        assert_eq!(counts(&served.unwrap()), [2, 0, 0, 0]);
        assert!(before.elapsed() < LONG / 2);
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    });
}
