//! Child processes: what is written and read, how they end, and that none is left behind.

use std::{
    fs,
    io::ErrorKind,
    os::unix::process::ExitStatusExt,
    pin::pin,
    process::{Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use asyncoro::{
    coro::yield_now,
    future::{Winner, join, race},
    process::{AsyncPipe, Child},
    run, spawn,
    time::{sleep, timeout},
};

use crate::{
    fork::{alone, well_in_child},
    within::run_within,
};

const SHORT: Duration = Duration::from_millis(5);

fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    shell
}

fn piped(mut command: Command) -> Child {
    let pipe = Stdio::piped;
    Child::spawn(command.stdin(pipe()).stdout(pipe()).stderr(pipe())).unwrap()
}

/// Tells whether the process is in the system's table: running, or a zombie.
fn is_there(id: u32) -> bool {
    fs::exists(format!("/proc/{id}")).unwrap()
}

async fn until_gone(id: u32) {
    let until = Instant::now() + Duration::from_secs(20);
    while is_there(id) {
        assert!(Instant::now() < until, "process {id} is left");
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn much_goes_both_ways_without_standing_still() {
    run_within(|| async {
        let many: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 3) as u8).collect();
        let mut cat = piped(shell("tee /dev/stderr"));
        let output = cat.communicate(many.clone()).await.unwrap();
        assert!(output.status.success());
        assert!(output.stdout == many && output.stderr == many);
    });
}

#[test]
fn a_child_that_reads_nothing_or_ends_early_is_no_error() {
    run_within(|| async {
        for _ in 0..30 {
            let mut deaf = piped(shell("exec <&-; echo out; echo err >&2; exit 3"));
            let output = deaf.communicate(vec![0; 1 << 20]).await.unwrap();
            assert_eq!(output.status.code(), Some(3));
            assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
        }
    });
}

#[test]
fn a_dropped_communicate_loses_nothing_of_both_ways() {
    run_within(|| async {
        let many: Vec<u8> = (0..1_000_000_u32).map(|n| (n / 7) as u8).collect();
        for round in 0..20_u64 {
            let mut cat = piped(shell("echo begun >&2; cat"));
            let mut drops = 0;
            let mut input = many.clone();
            let output = loop {
                let patience = Duration::from_micros(50 * round * drops);
                let asked = cat.communicate(std::mem::take(&mut input));
                match timeout(patience, asked).await {
                    Ok(output) => break output.unwrap(),
                    Err(_) => drops += 1,
                }
                if drops == 300 {
                    break cat.communicate("").await.unwrap();
                }
            };
            assert!(output.stdout == many && output.stderr == b"begun\n", "{drops} drops");
            let again = cat.communicate("more").await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn output_beyond_the_bound_is_an_error_and_what_was_read_is_kept() {
    run_within(|| async {
        let mut yes = piped(shell("echo first >&2; exec yes"));
        yes.kill_on_drop(true);
        let error = yes.communicate_within("", 100_000).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        let mut kept = vec![0; 100_000];
        yes.stdout.as_ref().unwrap().read_exact(&mut kept).await.unwrap();
        assert!(kept.chunks(2).all(|two| two == b"y\n"));
        let errors = yes.stderr.as_ref().unwrap();
        assert_eq!(errors.read_line(80).await.unwrap().as_deref(), Some("first"));
    });
}

#[test]
fn all_who_wait_learn_how_it_ended_and_dropped_waits_lose_nothing() {
    run_within(|| async {
        for round in 0..200 {
            let mut child = piped(shell("read line; exit 7"));
            let mut waiting = Vec::new();
            for _ in 0..4 {
                let process = child.process();
                waiting.push(spawn(async move { process.wait().await.unwrap().code() }));
            }
            assert!(timeout(Duration::from_micros(round), child.process().wait()).await.is_err());
            yield_now().await;
            waiting.remove(1).terminate();
            assert_eq!(child.try_wait().unwrap(), None);
            assert_eq!(child.wait().await.unwrap().code(), Some(7));
            for one in waiting {
                assert_eq!(one.await.unwrap(), Some(7));
            }
            assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
            assert!(!is_there(child.id()));
        }
    });
}

#[test]
fn a_wait_that_is_kept_and_not_polled_holds_up_no_other() {
    run_within(|| async {
        let child = Child::spawn(&mut shell("exec sleep 1000")).unwrap();
        let process = child.process();
        let mut kept = pin!(process.wait());
        assert!(matches!(race(&mut kept, yield_now()).await, Winner::Second(())));
        process.kill().unwrap();
        assert_eq!(child.process().wait().await.unwrap().signal(), Some(9));
        assert_eq!(kept.await.unwrap().signal(), Some(9));
    });
}

#[test]
fn waiting_takes_no_thread_and_no_child_of_others() {
    run_within(|| async {
        let mut theirs = shell("exit 5").spawn().unwrap();
        let children: Vec<_> = (0..100).map(|_| piped(shell("read line"))).collect();
        let threads = || fs::read_dir("/proc/self/task").unwrap().count();
        let mut waiting = Vec::new();
        let before = threads();
        for child in &children {
            let process = child.process();
            waiting.push(spawn(async move { process.wait().await.unwrap().success() }));
        }
        yield_now().await;
        // Of other tests, some may have come.
        assert!(threads() < before + 50);
        drop(children);
        for one in waiting {
            assert!(!one.await.unwrap(), "its input has ended");
        }
        assert_eq!(theirs.wait().unwrap().code(), Some(5));
    });
}

#[test]
fn a_dropped_child_goes_on_and_leaves_no_zombie() {
    run_within(|| async {
        let mut ids = Vec::new();
        let mut outputs = Vec::new();
        for _ in 0..50 {
            let mut child = piped(shell("read line; echo done"));
            ids.push(child.id());
            let input = child.stdin.take().unwrap();
            outputs.push((child.stdout.take().unwrap(), input));
        }
        for (output, input) in outputs {
            input.write_all(b"go\n").await.unwrap();
            assert_eq!(output.read_line(80).await.unwrap().as_deref(), Some("done"));
        }
        for id in ids {
            until_gone(id).await;
        }
    });
}

#[test]
fn a_child_is_killed_with_its_last_handle_if_asked_and_reaped() {
    run_within(|| async {
        for _ in 0..50 {
            let child = Child::spawn(Command::new("sleep").arg("1000")).unwrap();
            child.kill_on_drop(true);
            let (id, process) = (child.id(), child.process());
            drop(child);
            assert_eq!(process.try_wait().unwrap(), None, "there is another handle");
            drop(process);
            until_gone(id).await;
        }
    });
}

#[test]
fn a_child_that_was_waited_for_gets_no_signal() {
    run_within(|| async {
        let mut child = Child::spawn(&mut shell("exit 0")).unwrap();
        assert!(child.wait().await.unwrap().success());
        // Another process may have its number by now.
        child.kill().unwrap();
        child.terminate().unwrap();
        let unwaited = Child::spawn(&mut shell("exit 1")).unwrap();
        while unwaited.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
        unwaited.terminate().unwrap();
        assert_eq!(unwaited.process().wait().await.unwrap().code(), Some(1));
    });
}

#[test]
fn one_coroutine_ends_what_another_waits_for() {
    run_within(|| async {
        use std::os::unix::process::ExitStatusExt;
        for (number, signal) in
            [libc::SIGTERM, libc::SIGKILL].into_iter().cycle().take(100).enumerate()
        {
            let mut child = Child::spawn(Command::new("sleep").arg("1000")).unwrap();
            let process = child.process();
            let (status, ended) = join(child.wait(), async {
                if number % 3 > 0 {
                    yield_now().await;
                }
                if signal == libc::SIGTERM { process.terminate() } else { process.kill() }
            })
            .await;
            ended.unwrap();
            assert_eq!(status.unwrap().signal(), Some(signal));
        }
    });
}

#[test]
fn a_row_of_processes_passes_on_and_tells_how_each_ended() {
    run_within(|| async {
        let row = || [shell("cat; exit 1"), shell("sort; exit 2"), shell("uniq -c; exit 3")];
        let mut pipe = AsyncPipe::spawn(row()).unwrap();
        let output = pipe.communicate("b\na\nb\n".repeat(50_000)).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["50000", "a", "100000", "b"]);
        let codes: Vec<_> = output.statuses.iter().map(|status| status.code()).collect();
        assert_eq!(codes, [Some(1), Some(2), Some(3)]);

        let pipe = Rc::new(AsyncPipe::spawn([shell("cat"), shell("sed -u s/a/b/")]).unwrap());
        for _ in 0..50 {
            pipe.stdin().unwrap().write_all(b"a line\n").await.unwrap();
            let line = pipe.stdout().read_line(80).await.unwrap();
            assert_eq!(line.as_deref(), Some("b line"));
        }
        let mut pipe = Rc::into_inner(pipe).unwrap();
        assert!(pipe.wait().await.unwrap().iter().all(|status| status.success()));
    });
}

#[test]
fn an_end_in_the_middle_of_a_row_reaches_both_sides() {
    run_within(|| async {
        use std::os::unix::process::ExitStatusExt;
        let mut pipe =
            AsyncPipe::spawn([Command::new("yes"), shell("head -n 3"), shell("cat")]).unwrap();
        let output = pipe.communicate("").await.unwrap();
        assert_eq!(output.stdout, b"y\ny\ny\n");
        assert_eq!(output.statuses[0].signal(), Some(libc::SIGPIPE), "as in a shell");
        assert!(output.statuses[1].success() && output.statuses[2].success());
    });
}

#[test]
fn a_row_that_cannot_be_started_leaves_nothing_behind() {
    run_within(|| async {
        let mut first = shell("echo $$ >&2; exec sleep 1000");
        let (reader, writer) = std::io::pipe().unwrap();
        first.stderr(writer);
        let missing = Command::new("/nowhere/program");
        let error = AsyncPipe::spawn([first, missing]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        // It may have been killed before it said its number.
        let reader = asyncoro::file::AsyncFile::new(reader).unwrap();
        if let Some(id) = reader.read_line(80).await.unwrap() {
            until_gone(id.parse().unwrap()).await;
        }
        assert_eq!(AsyncPipe::spawn([]).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_status_that_other_code_has_taken_is_an_error_and_no_hang() {
    run_within(|| async {
        let mut child = Child::spawn(&mut shell("exit 0")).unwrap();
        let id = rustix::process::Pid::from_raw(child.id() as i32);
        let options = rustix::process::WaitOptions::empty();
        rustix::process::waitpid(id, options).unwrap();
        let error = timeout(Duration::from_secs(20), child.wait()).await.unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
    });
}

#[test]
fn the_child_of_a_fork_leaves_its_parents_processes_alone() {
    alone("process::the_child_of_a_fork_leaves_its_parents_processes_alone", || {
        let mut child = piped(shell("read line; exit 4"));
        child.kill_on_drop(true);
        run(async { assert!(timeout(SHORT, child.process().wait()).await.is_err()) });
        let copy = child.process();
        assert!(well_in_child(move || {
            drop(copy);
            run(async {
                let mut own = piped(shell("exit 6"));
                assert_eq!(own.wait().await.unwrap().code(), Some(6));
            });
        }));
        run(async { assert_eq!(child.wait().await.unwrap().code(), Some(4)) });
    });
}
