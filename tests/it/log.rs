//! The log: names, levels, the bound on lines, and where lines go without a subscriber. Tests that
//! concern the whole process run in one of their own.

use std::{
    cell::RefCell,
    env,
    future::pending,
    io,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    process::{Command, Output},
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket,
    coro::{current, yield_now},
    run, run_until,
    socket2::SockRef,
    spawn,
    time::sleep,
};

use crate::within::{logged, within};

/// The environment variable that names the one of [`PROGRAMS`] to run.
const PROGRAM: &str = "ASYNCORO_TEST_PROGRAM";

const PROGRAMS: &[(&str, fn())] = &[
    ("unseen", unseen),
    ("subscribed", subscribed),
    ("flood", flood),
    ("thread locals", thread_locals),
    ("subscriber panics", subscriber_panics),
];

/// Runs one of [`PROGRAMS`] in a child process; no test by itself.
#[test]
fn program() {
    let name = env::var(PROGRAM).unwrap_or_default();
    if let Some((_, program)) = PROGRAMS.iter().find(|(known, _)| *known == name) {
        program();
    }
}

/// Runs a program in a process of its own; returns its standard error.
fn stderr_of(program: &str, shell: &str, variables: &[(&str, &str)]) -> String {
    let me = env::current_exe().unwrap();
    let Output { status, stderr, .. } = Command::new("sh")
        .args(["-c", &format!("exec \"$0\" --exact log::program --test-threads=1 {shell}")])
        .arg(me)
        .env(PROGRAM, program)
        .env_remove("ASYNCORO_LOG")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{program}: {status}\n{stderr}");
    // What the panic hook says is not ours.
    stderr
        .lines()
        .filter(|line| line.starts_with("asyncoro: "))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// Produces one unseen failure of each kind.
fn unseen() {
    run(async {
        spawn(async { Err::<(), _>(io::Error::other("went wrong")) }).or_log();
        spawn(async { io::Result::Ok(()) }).or_log();
        spawn(async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionReset)) }).or_log();
        drop(spawn(async {
            current().set_name("faller");
            panic!("fell over");
        }));
        drop(spawn(async {
            current().set_name("slow one");
            sleep(Duration::from_millis(1200)).await;
        }));
    });
    let (near, far) = UnixStream::pair().unwrap();
    let near = AsyncSocket::new(near).unwrap();
    while near.try_send(&[0; 1 << 16]).is_ok() {}
    near.try_send_msg(&vec![0; 1000].into()).unwrap();
    drop(near);
    drop(far);
}

#[test]
fn without_a_subscriber_what_nobody_sees_goes_to_standard_error_once() {
    within(|| {
        let text = stderr_of("unseen", "", &[]);
        for line in [
            "ended: went wrong",
            "faller (spawned at tests/it/log.rs:",
            "run waits for 1 coroutines that have not ended: slow one/",
            "a socket was closed with 1004 bytes",
        ] {
            assert_eq!(text.matches(line).count(), 1, "{line}: {text}");
        }
        assert_eq!(text.lines().count(), 4, "{text}");
    });
}

#[test]
fn standard_error_can_be_turned_off_or_closed() {
    within(|| {
        assert_eq!(stderr_of("unseen", "", &[("ASYNCORO_LOG", "off")]), "");
        assert_eq!(stderr_of("unseen", "2>&-", &[]), "");
        assert_eq!(stderr_of("unseen", "2>/dev/full", &[]), "");
    });
}

fn subscribed() {
    let subscriber = tracing_subscriber::fmt().with_writer(io::sink).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    unseen();
}

#[test]
fn with_a_subscriber_nothing_goes_to_standard_error() {
    within(|| assert_eq!(stderr_of("subscribed", "", &[]), ""));
}

/// Logs 1,000 errors.
fn flood() {
    run_until(async {
        for number in 0..1000 {
            spawn(async move { Err::<(), _>(io::Error::other(format!("number {number}"))) })
                .or_log();
        }
        for _ in 0..1000 {
            yield_now().await;
        }
    });
}

#[test]
fn a_flood_of_errors_is_a_bounded_number_of_lines_and_a_count() {
    within(|| {
        let text = stderr_of("flood", "", &[]);
        let shown = text.matches("ended: number ").count();
        let left_out: usize = text
            .lines()
            .filter_map(|line| line.strip_prefix("asyncoro: ")?.split_once(" lines were left out"))
            .map(|(count, _)| count.parse::<usize>().unwrap())
            .sum();
        assert!((20..1000).contains(&shown), "{text}");
        assert_eq!(shown + left_out, 1000, "{text}");
    });
}

type Kept = RefCell<Option<(AsyncSocket, UnixStream)>>;
thread_local! {
    static ONE: Kept = const { RefCell::new(None) };
    static TWO: Kept = const { RefCell::new(None) };
}

/// Drops sockets with something unsent in the destructors of thread-locals.
fn thread_locals() {
    let subscriber = tracing_subscriber::fmt().with_writer(io::sink).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    for early in [false, true] {
        let ended = std::thread::spawn(move || {
            if early {
                tracing::info!("the subscriber has thread-locals, too");
            }
            for kept in [&ONE, &TWO] {
                let (near, far) = UnixStream::pair().unwrap();
                let near = AsyncSocket::new(near).unwrap();
                while near.try_send(&[0; 1 << 16]).is_ok() {}
                near.try_send_msg(&vec![0; 1000].into()).unwrap();
                kept.set(Some((near, far)));
            }
        });
        ended.join().unwrap();
    }
}

#[test]
fn a_line_from_the_destructor_of_a_thread_local_ends_nothing() {
    within(|| {
        let text = stderr_of("thread locals", "", &[]);
        assert!(text.lines().count() < 4, "some lines have a subscriber still: {text}");
    });
}

/// Installs a subscriber that panics at each line.
fn subscriber_panics() {
    struct Bad;
    impl io::Write for Bad {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("no room for a line")
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let subscriber = tracing_subscriber::fmt().with_writer(|| Bad).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    unseen();
}

#[test]
fn a_subscriber_that_panics_costs_no_line() {
    within(|| {
        let text = stderr_of("subscriber panics", "", &[]);
        assert_eq!(text.lines().count(), 4, "{text}");
    });
}

/// Returns the line of a coroutine that fails with this kind of error and that nobody awaits.
fn logged_error(kind: io::ErrorKind) -> String {
    logged(|| {
        run(async {
            spawn(async move { Err::<(), _>(io::Error::from(kind)) }).or_log();
        });
    })
}

#[test]
fn the_level_of_an_error_says_whose_fault_it_is() {
    within(|| {
        // The log of tests shows INFO and above.
        for kind in [
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe,
        ] {
            assert_eq!(logged_error(kind), "", "{kind}");
        }
        let cut = logged_error(io::ErrorKind::UnexpectedEof);
        assert!(cut.contains("INFO") && cut.lines().count() == 1, "{cut}");
        let ours = logged_error(io::ErrorKind::InvalidInput);
        assert!(ours.contains("ERROR") && ours.lines().count() == 1, "{ours}");
    });
}

#[test]
fn a_flood_of_resets_is_no_line_of_an_error() {
    within(|| {
        let log = logged(|| {
            run(async {
                let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
                let address = server.local_addr().unwrap().to_string();
                for _ in 0..20 {
                    let client = TcpStream::connect(&address).unwrap();
                    let (near, _) = server.accept().await.unwrap();
                    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
                    drop(client);
                    spawn(async move {
                        near.recv_msg().await?;
                        Ok(())
                    })
                    .or_log();
                }
            });
        });
        assert_eq!(log, "");
    });
}

#[test]
fn who_has_no_name_is_called_by_the_place_where_it_was_spawned() {
    within(|| {
        let log = logged(|| {
            run(async {
                spawn(async { Err::<(), _>(io::Error::other("in a coroutine")) }).or_log();
                let spawned = format!("{}:{}", file!(), line!() - 1);
                let late = spawn(async { Err::<(), _>(io::Error::other(spawned)) });
                while !late.is_finished() {
                    yield_now().await;
                }
                late.or_log();
                let handle = asyncoro::AsynCoro::current();
                let place = format!("panics:{}", line!() + 1);
                let third = handle.spawn(move || async move { panic!("{place}") });
                while !third.is_finished() {
                    yield_now().await;
                }
            });
        });
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 3, "{log}");
        for line in &lines {
            assert!(line.contains("the coroutine spawned at tests/it/log.rs:"), "{line}");
        }
        let spawned = log.split("ended: tests").nth(1).unwrap().lines().next().unwrap();
        assert!(
            lines.iter().any(|line| line.contains(&format!("spawned at tests{spawned}:"))
                && line.ends_with("in a coroutine")),
            "{spawned}: {log}"
        );
        let panicked = log.split("panics:").nth(1).unwrap().trim();
        assert!(log.contains(&format!("spawned at tests/it/log.rs:{panicked}:")), "{log}");
    });
}

#[test]
fn stragglers_without_a_name_are_called_by_their_place() {
    within(|| {
        let log = logged(|| {
            run(async {
                drop(spawn(sleep(Duration::from_millis(1200))));
            });
        });
        assert!(log.contains("ended: the coroutine spawned at tests/it/log.rs:"), "{log}");
    });
}

#[test]
fn a_coroutine_that_runs_for_longer_than_the_bound_is_named() {
    within(|| {
        let bound = Duration::from_millis(300);
        let block = || std::thread::sleep(Duration::from_millis(400));
        let log = logged(|| {
            let scheduler = AsynCoro::builder().slow_resume(bound).build().unwrap();
            scheduler.run(async {
                drop(spawn(async move {
                    current().set_name("the slow one");
                    block();
                    yield_now().await;
                    current().set_name("the patient one");
                    sleep(Duration::from_millis(400)).await;
                }));
                drop(spawn(async move { block() }));
                yield_now().await;
                block();
            });
        });
        assert!(log.contains("WARN"), "{log}");
        for who in [
            "the slow one (spawned at tests/it/log.rs:",
            "the coroutine spawned at tests/it/log.rs:",
        ] {
            assert_eq!(log.matches(who).count(), 1, "{who}: {log}");
        }
        assert_eq!(log.matches("the future of run ran for").count(), 1, "{log}");
        assert!(!log.contains("the patient one"), "{log}");
        for never in [None, Some(Duration::ZERO)] {
            let log = logged(|| {
                let builder = AsynCoro::builder();
                let builder = never.into_iter().fold(builder, |all, zero| all.slow_resume(zero));
                builder.build().unwrap().run(async move { block() });
            });
            assert_eq!(log, "");
        }
    });
}

#[test]
fn or_log_infers_the_type_of_the_error() {
    /// An error that is no `io::Error`.
    struct Other;
    impl std::fmt::Display for Other {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("another type")
        }
    }
    within(|| {
        let log = logged(|| {
            run_until(async {
                spawn(async move {
                    TcpListener::bind("256.0.0.1:0")?;
                    Ok(())
                })
                .or_log();
                spawn(async { Err::<(), _>(Other) }).or_log();
                let late = spawn(async { Err::<(), _>(Other) });
                late.or_log();
                assert!(late.await.unwrap().is_err(), "who awaits it after all sees it alone");
                let kept = spawn(pending::<Result<(), Other>>());
                kept.or_log();
                kept.terminate();
                yield_now().await;
            });
        });
        assert_eq!(log.matches("another type").count(), 1, "{log}");
        assert_eq!(log.lines().count(), 2, "{log}");
    });
}
