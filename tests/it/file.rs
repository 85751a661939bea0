//! Files, pipes and terminals: what is lost where (nothing), whose turn it is, whose mode it is.

use std::{
    cell::Cell,
    fs,
    future::Future,
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    pin::pin,
    process::{Command, Stdio},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket,
    coro::yield_now,
    error::{DelimiterMissing, Incomplete},
    file::{self, AsyncFile},
    future::join,
    pool, run, spawn,
    time::timeout,
};
use rustix::{
    fs::{Mode, OFlags, fcntl_getfl},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::{
    fork::{alone, well_in_child},
    within::run_within,
};

const SHORT: Duration = Duration::from_millis(5);

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("asyncoro-file-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Polls a future once and drops it; returns its value if it was ready.
fn poll_for<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Polls a future once and drops it; returns whether it was ready.
fn poll_once<F: Future>(future: F) -> bool {
    poll_for(future).is_some()
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn readable_waits_for_bytes_or_an_end_and_takes_none() {
    let folder = Folder::new();
    let path = folder.file("short", b"one\ntwo\n");
    run_within(move || async move {
        let (reader, writer) = file::pipe().unwrap();
        assert!(timeout(SHORT, reader.readable()).await.is_err(), "there is nothing");
        let wait = async {
            reader.readable().await.unwrap();
            reader.read(&mut [0; 9]).await.unwrap()
        };
        let write = async {
            yield_now().await;
            writer.write_all(b"abc").await.unwrap();
        };
        assert_eq!(join(wait, write).await.0, 3);

        // What was read ahead counts, though the pipe is empty.
        writer.write_all(b"line\nrest").await.unwrap();
        assert!(!reader.has_read_ahead());
        assert_eq!(reader.read_line(80).await.unwrap().as_deref(), Some("line"));
        assert!(reader.has_read_ahead());
        assert!(poll_once(reader.readable()));
        let mut rest = [0; 9];
        assert_eq!(reader.read(&mut rest).await.unwrap(), 4);
        assert!(!reader.has_read_ahead());
        assert!(!poll_once(reader.readable()));
        drop(writer);
        reader.readable().await.unwrap();
        assert_eq!(reader.read(&mut rest).await.unwrap(), 0);

        let file = AsyncFile::open(&path).await.unwrap();
        file.readable().await.unwrap();
        assert_eq!(file.read_to_end().await.unwrap(), b"one\ntwo\n");
        file.readable().await.unwrap();

        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let near = AsyncFile::new(near).unwrap();
        assert!(!poll_once(near.readable()));
        (&far).write_all(b"x").unwrap();
        near.readable().await.unwrap();
        assert_eq!(near.read(&mut rest).await.unwrap(), 1);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_descriptor_of_a_process_is_readable_at_its_end() {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    run_within(|| async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let end = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let end = AsyncFile::new(end).unwrap();
        assert!(timeout(SHORT, end.readable()).await.is_err(), "it runs");
        drop(child.stdin.take());
        end.readable().await.unwrap();
        assert!(child.try_wait().unwrap().unwrap().success());
    });
}

// ---- the originals' faults

#[test]
fn a_line_that_used_up_all_bytes_is_followed_by_more_and_not_by_an_end() {
    run_within(|| async {
        let (reader, writer) = file::pipe().unwrap();
        writer.write_all(b"line\n").await.unwrap();
        assert_eq!(reader.read_line(80).await.unwrap().as_deref(), Some("line"));
        let mut bytes = [0; 9];
        assert!(timeout(SHORT, reader.read(&mut bytes)).await.is_err(), "it waits");
        writer.write_all(b"more").await.unwrap();
        assert_eq!(reader.read(&mut bytes).await.unwrap(), 4);
        drop(writer);
        assert_eq!(reader.read(&mut bytes).await.unwrap(), 0);
        assert_eq!(reader.read(&mut bytes).await.unwrap(), 0);
    });
}

#[test]
fn a_line_that_times_out_keeps_its_beginning() {
    run_within(|| async {
        let (reader, writer) = file::pipe().unwrap();
        for part in ["par", "ti", "al"] {
            writer.write_all(part.as_bytes()).await.unwrap();
            assert!(timeout(SHORT, reader.read_line(80)).await.is_err());
        }
        writer.write_all(b" line\nrest").await.unwrap();
        assert_eq!(reader.read_line(80).await.unwrap().as_deref(), Some("partial line"));
        let mut rest = [0; 4];
        reader.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"rest");
    });
}

#[test]
fn a_write_that_times_out_leaves_the_scheduler_and_the_file_alone() {
    run_within(|| async {
        let (reader, writer) = file::pipe().unwrap();
        let many = pattern(1 << 20);
        assert!(timeout(SHORT, writer.write_all(&many)).await.is_err());
        let ((), read) = join(
            async {
                writer.write_all(b"end").await.unwrap();
                drop(writer);
            },
            reader.read_to_end(),
        )
        .await;
        let read = read.unwrap();
        let (first, end) = read.split_at(read.len() - 3);
        assert!(first.len() >= 4096 && many.starts_with(first));
        assert_eq!(end, b"end");
    });
}

#[test]
fn a_regular_file_which_epoll_refuses_is_read_and_written() {
    let folder = Folder::new();
    let path = folder.file("regular", b"hello");
    run(async {
        let file = AsyncFile::new(fs::File::open(&path).unwrap()).unwrap();
        assert_eq!(file.read_to_end().await.unwrap(), b"hello");
        let file = AsyncFile::create(&path).await.unwrap();
        file.write_all(b"bye").await.unwrap();
    });
    assert_eq!(fs::read(&path).unwrap(), b"bye");
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_has_no_length_is_read_to_its_end() {
    run(async {
        for path in ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/ostype", "/proc/version"] {
            let whole = fs::read(path).unwrap();
            assert!(whole.len() > 1, "{path}");
            assert_eq!(AsyncFile::open(path).await.unwrap().read_to_end().await.unwrap(), whole);
            assert_eq!(asyncoro::file::read(path).await.unwrap(), whole);
        }
    });
}

#[test]
fn a_file_that_no_memory_can_hold_is_an_error() {
    let folder = Folder::new();
    let path = folder.file("sparse", b"");
    if fs::File::options().write(true).open(&path).unwrap().set_len(i64::MAX as u64).is_err() {
        // The file system has none so long.
        return;
    }
    run(async {
        let file = AsyncFile::open(&path).await.unwrap();
        let failed = file.read_to_end().await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::OutOfMemory);
    });
}

#[test]
fn a_position_that_no_file_has_is_refused() {
    let folder = Folder::new();
    let path = folder.file("some", b"abcd");
    run(async {
        let file = AsyncFile::open(&path).await.unwrap();
        for to in [SeekFrom::Start(u64::MAX), SeekFrom::Start(1 << 63)] {
            assert_eq!(file.seek(to).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(file.seek(SeekFrom::Start(i64::MAX as u64)).await.unwrap(), i64::MAX as u64);
        let beyond = file.seek(SeekFrom::Current(1)).await;
        assert_eq!(beyond.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(file.seek(SeekFrom::Start(1)).await.unwrap(), 1);
        assert_eq!(file.read_to_end().await.unwrap(), b"bcd");
    });
}

#[test]
fn a_device_that_is_always_ready_lets_others_run() {
    run(async {
        let zero = AsyncFile::open("/dev/zero").await.unwrap();
        let turns = Rc::new(Cell::new(0));
        let counting = spawn({
            let turns = turns.clone();
            async move {
                loop {
                    turns.set(turns.get() + 1);
                    yield_now().await;
                }
            }
        });
        let mut buffer = vec![0; 64 << 20];
        let before = turns.get();
        zero.read_exact(&mut buffer).await.unwrap();
        assert!(turns.get() - before >= 16, "read_exact: {}", turns.get() - before);
        let before = turns.get();
        assert!(zero.read_until(b'\n', 16 << 20).await.is_err());
        assert!(turns.get() - before >= 4, "read_until: {}", turns.get() - before);
        let before = turns.get();
        for _ in 0..64 {
            assert!(zero.read(&mut buffer[..1 << 20]).await.unwrap() > 0);
        }
        assert!(turns.get() - before >= 16, "read: {}", turns.get() - before);
        let before = turns.get();
        let null = AsyncFile::new(fs::File::options().write(true).open("/dev/null").unwrap());
        null.unwrap().write_all(&buffer).await.unwrap();
        assert!(turns.get() - before >= 1, "write_all: {}", turns.get() - before);
        counting.terminate();
    });
}

#[test]
fn any_descriptor_becomes_a_file() {
    run(async {
        let fd: OwnedFd = fs::File::open("/dev/null").unwrap().into();
        let mut byte = [0];
        assert_eq!(AsyncFile::new(fd).unwrap().read(&mut byte).await.unwrap(), 0);
        let null = fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        AsyncFile::new(null).unwrap().write_all(&pattern(100_000)).await.unwrap();
        let folder = AsyncFile::open("/").await.unwrap();
        let error = folder.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
    });
}

// ---- pipes

#[test]
fn many_bytes_go_through_a_pipe_both_ends_waiting() {
    run(async {
        for _ in 0..20 {
            let (reader, writer) = file::pipe().unwrap();
            let many = pattern(1_000_000);
            let write = async {
                writer.write_all(&many).await.unwrap();
                drop(writer);
            };
            let ((), read) = join(write, reader.read_to_end()).await;
            assert!(read.unwrap() == many);
        }
    });
}

#[test]
fn reads_dropped_at_any_point_lose_no_byte() {
    run(async {
        for round in 0..300_usize {
            let (reader, writer) = file::pipe().unwrap();
            let many = pattern(5_000 + round * 37);
            let sent = many.clone();
            drop(spawn(async move {
                for part in sent.chunks(911) {
                    writer.write_all(part).await.unwrap();
                    yield_now().await;
                }
            }));
            let mut read = Vec::new();
            while read.len() < many.len() {
                // Each of these is dropped where it has to wait.
                poll_once(reader.read_exact(&mut vec![0; 100_000]));
                let until = poll_for(reader.read_until(b'\xff', 1 << 20));
                let to_end = poll_for(reader.read_to_end());
                read.extend(until.into_iter().chain(to_end).flat_map(Result::unwrap));
                if read.len() == many.len() {
                    break;
                }
                let mut buffer = [0; 613];
                let count = reader.read(&mut buffer).await.unwrap();
                assert_ne!(count, 0);
                read.extend_from_slice(&buffer[..count]);
            }
            assert!(read == many, "round {round}");
        }
    });
}

#[test]
fn verbs_of_one_direction_take_turns_and_a_dropped_one_holds_up_nobody() {
    run_within(|| async {
        for _ in 0..300 {
            let (reader, writer) = file::pipe().unwrap();
            let (reader, order) = (Rc::new(reader), Rc::new(Cell::new(String::new())));
            let mut readers = Vec::new();
            for number in 0..5 {
                let (reader, order) = (Rc::clone(&reader), Rc::clone(&order));
                readers.push(spawn(async move {
                    let line = reader.read_line(80).await.unwrap().unwrap();
                    order.set(format!("{}{number}:{line} ", order.take()));
                }));
            }
            yield_now().await;
            readers[0].terminate();
            readers[2].terminate();
            yield_now().await;
            writer.write_all(b"a\nb\nc\n").await.unwrap();
            for (number, reader) in readers.into_iter().enumerate() {
                assert_eq!(reader.await.is_ok(), ![0, 2].contains(&number));
            }
            assert_eq!(order.take(), "1:a 3:b 4:c ");
        }
    });
}

#[test]
fn writes_of_several_coroutines_do_not_mix() {
    run_within(|| async {
        let (reader, writer) = file::pipe().unwrap();
        let writer = Rc::new(writer);
        for letter in b'a'..b'e' {
            let writer = Rc::clone(&writer);
            drop(spawn(async move { writer.write_all(&vec![letter; 300_000]).await.unwrap() }));
        }
        drop(writer);
        let read = reader.read_to_end().await.unwrap();
        let expected: Vec<u8> = (b'a'..b'e').flat_map(|letter| vec![letter; 300_000]).collect();
        assert!(read == expected);
    });
}

#[test]
fn what_was_written_before_an_end_is_read_before_it() {
    run_within(|| async {
        let (reader, writer) = file::pipe().unwrap();
        let mut buffer = [0; 10];
        let (half, _) = join(reader.read_exact(&mut buffer), async move {
            writer.write_all(b"half").await.unwrap();
        })
        .await;
        let error = half.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let found = error.get_ref().unwrap().downcast_ref::<Incomplete>().unwrap();
        assert_eq!(*found, Incomplete { got: 4, expected: 10 });
        assert_eq!(reader.read_line(80).await.unwrap().as_deref(), Some("half"));
        assert_eq!(reader.read_line(80).await.unwrap(), None);
    });
}

#[test]
fn a_write_to_a_pipe_without_a_reader_is_an_error_also_of_one_that_waits() {
    run_within(|| async {
        let (reader, writer) = file::pipe().unwrap();
        let (written, ()) = join(writer.write_all(&[0; 1 << 20]), async {
            yield_now().await;
            drop(reader);
        })
        .await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(writer.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_line_that_is_too_long_or_no_text_is_an_error_with_nothing_taken() {
    run_within(|| async {
        let (reader, writer) = file::pipe().unwrap();
        writer.write_all(b"0123456789\n\xff\n").await.unwrap();
        let error = reader.read_line(5).await.unwrap_err();
        let found = error.get_ref().unwrap().downcast_ref::<DelimiterMissing>().unwrap();
        assert_eq!(*found, DelimiterMissing { max: 5 });
        assert_eq!(reader.read_line(11).await.unwrap().as_deref(), Some("0123456789"));
        assert_eq!(reader.read_line(80).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(reader.read_until(b'\n', 80).await.unwrap(), b"\xff\n");
    });
}

#[test]
fn a_pipe_is_not_switched_to_non_blocking_where_others_share_it() {
    run_within(|| async {
        let (reader, writer) = io::pipe().unwrap();
        let (mut theirs, their_writer) = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
        let (reader, writer) = (AsyncFile::new(reader).unwrap(), AsyncFile::new(writer).unwrap());
        let many = pattern(300_000);
        let (written, ()) = join(writer.write_all(&many), async {
            assert!(!is_nonblocking(&theirs) && !is_nonblocking(&their_writer));
            let mut read = vec![0; 300_000];
            reader.read_exact(&mut read).await.unwrap();
            assert!(read == many);
        })
        .await;
        written.unwrap();
        writer.write_all(b"for them").await.unwrap();
        drop((writer, their_writer));
        let mut read = String::new();
        theirs.read_to_string(&mut read).unwrap();
        assert_eq!(read, "for them");
    });
}

#[test]
fn where_a_pipe_cannot_be_opened_again_no_call_blocks_either() {
    run_within(|| async {
        // In packet mode it is left as it is.
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::DIRECT;
        let (reader, writer) = rustix::pipe::pipe_with(flags).unwrap();
        let (reader, writer) = (AsyncFile::new(reader).unwrap(), AsyncFile::new(writer).unwrap());
        assert!(!is_nonblocking(&writer));
        let mut byte = [0];
        assert!(timeout(SHORT, reader.read(&mut byte)).await.is_err());
        let many = pattern(500_000);
        let write = async {
            writer.write_all(&many).await.unwrap();
            drop(writer);
        };
        let ((), read) = join(write, reader.read_to_end()).await;
        assert!(read.unwrap() == many);
    });
}

#[test]
fn a_pipe_with_a_name_waits_for_its_writer_and_then_ends_with_it() {
    let folder = Folder::new();
    let path = folder.0.join("fifo");
    let made = rustix::fs::CWD;
    rustix::fs::mknodat(made, &path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    run_within(move || async move {
        for _ in 0..100 {
            let reader = AsyncFile::open(&path).await.unwrap();
            assert!(timeout(Duration::from_millis(1), reader.read(&mut [0])).await.is_err());
            let mut options = fs::OpenOptions::new();
            options.write(true);
            let writer = AsyncFile::open_with(&path, options).await.unwrap();
            let write = async move {
                writer.write_all(b"named\n").await.unwrap();
            };
            let (line, ()) = join(reader.read_line(80), write).await;
            assert_eq!(line.unwrap().as_deref(), Some("named"));
            assert_eq!(reader.read_line(80).await.unwrap(), None);
        }
    });
}

#[test]
fn a_file_moves_to_another_scheduler_when_its_own_has_ended() {
    let (reader, writer) = file::pipe().unwrap();
    let mut byte = [0];
    run(async { assert!(timeout(SHORT, reader.read(&mut byte)).await.is_err()) });
    run(async {
        let (read, ()) = join(reader.read(&mut byte), async {
            yield_now().await;
            writer.write_all(b"x").await.unwrap();
        })
        .await;
        assert_eq!(read.unwrap(), 1);
    });
}

#[test]
fn a_file_that_is_waited_for_on_one_scheduler_is_refused_on_another_until_that_is_dropped() {
    let (near, far) = (AsynCoro::builder().build().unwrap(), AsynCoro::builder().build().unwrap());
    let folder = Folder::new();
    let path = folder.0.join("both");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, Mode::RWXU, 0).unwrap();
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    let both = near.enter(AsyncFile::open_with(&path, options)).unwrap();
    let mut buffer = [0; 9];
    let mut read = Box::pin(both.read(&mut buffer));
    near.enter(async {
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(read.as_mut().poll(cx).is_pending());
    });
    let many = pattern(1 << 20);
    far.enter(async {
        let error = both.write_all(&many).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    });
    drop(read);
    far.enter(async { assert!(timeout(SHORT, both.write_all(&many)).await.is_err()) });
}

#[test]
fn a_pipe_of_the_parent_of_a_fork_serves_both() {
    alone("file::a_pipe_of_the_parent_of_a_fork_serves_both", || {
        let folder = Folder::new();
        let path = folder.file("forked", b"0123456789");
        let (reader, writer) = file::pipe().unwrap();
        let file = run(async {
            let file = AsyncFile::open(&path).await.unwrap();
            assert!(timeout(SHORT, reader.read(&mut [0])).await.is_err());
            // The fork comes while its call may still run; where it is done already, it is undone.
            if poll_once(file.read_until(b'5', 100)) {
                file.seek(SeekFrom::Start(0)).await.unwrap();
            }
            file
        });
        assert!(well_in_child(|| {
            run(async {
                assert_eq!(file.read_until(b'3', 100).await.unwrap(), b"0123");
                let (read, ()) = join(reader.read_line(80), async {
                    writer.write_all(b"child\n").await.unwrap();
                })
                .await;
                assert_eq!(read.unwrap().as_deref(), Some("child"));
            });
        }));
        run(async {
            assert_eq!(file.read_until(b'1', 100).await.unwrap(), b"01");
            writer.write_all(b"parent\n").await.unwrap();
            assert_eq!(reader.read_line(80).await.unwrap().as_deref(), Some("parent"));
        });
    });
}

// ---- terminals

#[test]
fn a_terminal_is_read_and_written_at_once_and_stays_in_its_mode() {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    let how = OFlags::RDWR | OFlags::NOCTTY;
    let slave = rustix::fs::open(path.as_c_str(), how, Mode::empty()).unwrap();
    let theirs = (master.try_clone().unwrap(), slave.try_clone().unwrap());
    run_within(move || async move {
        let (user, program) = (AsyncFile::new(master).unwrap(), AsyncFile::new(slave).unwrap());
        assert!(!is_nonblocking(&theirs.0) && !is_nonblocking(&theirs.1));
        let ask = async {
            program.write_all(b"name? ").await.unwrap();
            program.read_line(80).await.unwrap().unwrap()
        };
        let answer = async {
            assert_eq!(user.read_until(b'?', 80).await.unwrap(), b"name?");
            user.write_all(b"Ada\n").await.unwrap();
        };
        let (line, ()) = join(ask, answer).await;
        assert_eq!(line, "Ada");
        assert!(!is_nonblocking(&theirs.0) && !is_nonblocking(&theirs.1));
        drop((program, theirs.1));
        while user.read(&mut [0; 80]).await.is_ok_and(|count| count > 0) {}
        let error = user.read(&mut [0; 80]).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "the system's way to say that it ended");
    });
}

// ---- sockets

#[test]
fn a_socket_becomes_a_file_with_what_it_has_received() {
    run_within(|| async {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (near, far) = (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap());
        near.send_all(b"12one\ntwo").await.unwrap();
        assert!(timeout(SHORT, far.recv_all_bytes(50)).await.is_err());
        let file = AsyncFile::from(far);
        let mut two = [0; 2];
        file.read_exact(&mut two).await.unwrap();
        assert_eq!(file.read_line(80).await.unwrap().as_deref(), Some("one"));
        assert!(timeout(SHORT, file.read_line(80)).await.is_err());
        file.write_all(b"back").await.unwrap();
        assert_eq!(near.recv_bytes(9).await.unwrap(), "back");
        assert_eq!(
            file.seek(SeekFrom::Start(0)).await.unwrap_err().raw_os_error(),
            Some(libc::ESPIPE)
        );
        let (fd, unread) = file.into_parts().await.unwrap();
        assert_eq!(unread, b"two");
        let file = AsyncFile::new(fd).unwrap();
        drop(near);
        assert_eq!(file.read_to_end().await.unwrap(), b"");
    });
}

// ---- regular files

#[test]
fn a_read_dropped_at_any_point_has_not_moved_the_position() {
    let folder = Folder::new();
    let contents = pattern(3_000_000);
    let path = folder.file("large", &contents);
    run_within(move || async move {
        let file = AsyncFile::open(&path).await.unwrap();
        let mut buffer = vec![0; 2_000_000];
        let mut dropped = 0;
        for _ in 0..300 {
            let before = file.position().await.unwrap();
            // Whatever is ready has moved it, so that one of each round is dropped at most.
            let ready = poll_once(file.read_exact(&mut buffer))
                || poll_once(file.read_to_end())
                || poll_once(file.read_line(2));
            let at = file.position().await.unwrap() as usize;
            if ready {
                file.seek(SeekFrom::Start(0)).await.unwrap();
                continue;
            }
            dropped += 1;
            assert_eq!(at as u64, before);
            let mut part = [0; 7001];
            file.read_exact(&mut part).await.unwrap();
            assert!(part == contents[at..at + 7001]);
        }
        assert!(dropped > 0);
    });
}

#[test]
fn a_dropped_write_is_carried_out_before_the_next_verb() {
    let folder = Folder::new();
    let path = folder.0.join("written");
    run_within(move || async move {
        let file = AsyncFile::create(&path).await.unwrap();
        let mut expected = Vec::new();
        for round in 0..500_usize {
            let part = pattern(round * 97 % 5000 + 1);
            // The first poll begins it; a second write then waits for it, and has not begun.
            poll_once(file.write(&part));
            let begun = poll_once(file.write(b"second"));
            expected.extend_from_slice(&part);
            if round % 3 == 0 || begun {
                let second = file.position().await.unwrap() as usize - expected.len();
                assert!([0, 6].contains(&second));
                expected.extend_from_slice(&b"second"[..second]);
            } else {
                let read = file.read(&mut [0]).await.unwrap();
                assert_eq!(read, 0, "it is at the end");
                let second = file.position().await.unwrap() as usize - expected.len();
                expected.extend_from_slice(&b"second"[..second]);
            }
            if round % 5 == 0 {
                file.write_all(b"after").await.unwrap();
                expected.extend_from_slice(b"after");
            }
        }
        file.seek(SeekFrom::Start(0)).await.unwrap();
        assert!(file.read_to_end().await.unwrap() == expected);
        assert!(fs::read(&path).unwrap() == expected);
    });
}

#[test]
fn a_write_that_waits_for_its_turn_is_withdrawn_when_dropped() {
    let folder = Folder::new();
    let path = folder.0.join("turns");
    run_within(move || async move {
        for _ in 0..300 {
            let file = AsyncFile::create(&path).await.unwrap();
            let mut first = pin!(file.write_all(b"first"));
            // The thread may have written it already.
            if first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                assert!(!poll_once(file.write_all(b"second")));
                first.await.unwrap();
                assert_eq!(fs::read(&path).unwrap(), b"first");
            }
        }
    });
}

#[test]
fn the_error_of_a_dropped_write_is_that_of_the_next() {
    run_within(|| async {
        for verb in 0..3 {
            // A file that is open to read only.
            let file = AsyncFile::open("Cargo.toml").await.unwrap();
            while poll_once(file.write(b"never")) {}
            let mut byte = [0];
            assert_eq!(file.read(&mut byte).await.unwrap(), 1, "reads are not concerned");
            let error = match verb {
                0 => file.write(b"x").await.unwrap_err(),
                1 => file.sync_all().await.unwrap_err(),
                _ => file.into_parts().await.unwrap_err(),
            };
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        }
    });
}

#[test]
fn bytes_read_ahead_are_accounted_for_by_writes_seeks_and_lengths() {
    let folder = Folder::new();
    let path = folder.file("both", b"one\ntwo\nthree\n");
    run_within(move || async move {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true);
        let file = AsyncFile::open_with(&path, options).await.unwrap();
        assert_eq!(file.read_line(80).await.unwrap().as_deref(), Some("one"));
        file.write_all(b"TWO").await.unwrap();
        assert_eq!(file.read_line(80).await.unwrap().as_deref(), Some(""));
        assert_eq!(file.seek(SeekFrom::Current(-4)).await.unwrap(), 4);
        assert_eq!(file.read_line(80).await.unwrap().as_deref(), Some("TWO"));
        assert_eq!(file.position().await.unwrap(), 8);
        file.set_len(10).await.unwrap();
        assert_eq!(file.read_to_end().await.unwrap(), b"th");
        assert_eq!(file.seek(SeekFrom::End(-2)).await.unwrap(), 8);
        let error = file.seek(SeekFrom::Current(-9)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(file.read_line(80).await.unwrap().as_deref(), Some("th"));
        let (fd, unread) = file.into_parts().await.unwrap();
        assert!(unread.is_empty());
        assert_eq!(fs::File::from(fd).stream_position().unwrap(), 10);
    });
}

#[test]
fn a_file_that_appends_does_so_wherever_it_is_read() {
    let folder = Folder::new();
    let path = folder.file("log", b"old\n");
    run_within(move || async move {
        let mut options = fs::OpenOptions::new();
        options.read(true).append(true);
        let file = AsyncFile::open_with(&path, options).await.unwrap();
        assert_eq!(file.position().await.unwrap(), 0);
        assert_eq!(file.read_until(b'l', 80).await.unwrap(), b"ol");
        let mut other = fs::OpenOptions::new().append(true).open(&path).unwrap();
        other.write_all(b"other\n").unwrap();
        file.write_all(b"new\n").await.unwrap();
        assert_eq!(file.position().await.unwrap(), 14);
        assert_eq!(fs::read(&path).unwrap(), b"old\nother\nnew\n");
        file.seek(SeekFrom::Start(4)).await.unwrap();
        assert_eq!(file.read_line(80).await.unwrap().as_deref(), Some("other"));
    });
}

#[test]
fn other_coroutines_run_while_a_file_is_always_ready() {
    run_within(|| async {
        let zeros = AsyncFile::open("/dev/zero").await.unwrap();
        let ran = Rc::new(Cell::new(false));
        let mark = Rc::clone(&ran);
        drop(spawn(async move { mark.set(true) }));
        while !ran.get() {
            zeros.read(&mut [0; 64]).await.unwrap();
        }
    });
}

#[test]
fn a_file_without_a_turn_of_the_pool_waits_and_goes_on() {
    let folder = Folder::new();
    let path = folder.0.join("busy");
    run_within(move || async move {
        let file = AsyncFile::create(&path).await.unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
        let busy: Vec<_> = (0..pool::DEFAULT_MAX_THREADS)
            .map(|_| {
                let gate = std::sync::Arc::clone(&gate);
                pool::run(move || gate.lock().unwrap().recv())
            })
            .collect();
        assert!(timeout(SHORT, file.write_all(b"abc")).await.is_err());
        drop(open);
        for call in busy {
            assert!(call.await.is_err());
        }
        assert_eq!(file.position().await.unwrap(), 3);
    });
}

#[test]
fn whole_files_are_read_and_written() {
    let folder = Folder::new();
    let path = folder.0.join("whole");
    run_within(move || async move {
        let many = pattern(3_000_000);
        file::write(&path, many.clone()).await.unwrap();
        assert!(file::read(&path).await.unwrap() == many);
        let opened = AsyncFile::open(&path).await.unwrap();
        let mut read = vec![0; many.len()];
        opened.read_exact(&mut read).await.unwrap();
        assert!(read == many);
        assert_eq!(opened.read(&mut read).await.unwrap(), 0);
        opened.seek(SeekFrom::Start(1)).await.unwrap();
        assert!(opened.read_to_end().await.unwrap() == many[1..]);
        assert_eq!(file::read_to_string(&path).await.unwrap_err().kind(), ErrorKind::InvalidData);
        file::write(&path, "short").await.unwrap();
        assert_eq!(file::read_to_string(&path).await.unwrap(), "short");
        assert_eq!(file::read("/nowhere").await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

// ---- walks

#[test]
fn a_walk_finds_everything_once_follows_no_link_and_survives_drops() {
    let folder = Folder::new();
    let mut expected = Vec::new();
    for top in 0..4 {
        let below = folder.0.join(format!("d{top}")).join("e");
        fs::create_dir_all(&below).unwrap();
        expected.extend([below.parent().unwrap().to_owned(), below.clone()]);
        for number in 0..150 {
            let path = below.join(format!("f{number}"));
            fs::write(&path, "").unwrap();
            expected.push(path);
        }
    }
    std::os::unix::fs::symlink(&folder.0, folder.0.join("loop")).unwrap();
    expected.push(folder.0.join("loop"));
    expected.sort();
    let root = folder.0.clone();
    run_within(move || async move {
        let mut walk = file::walk(&root);
        let mut found = Vec::new();
        loop {
            // Where one was read already, a poll takes it; else nothing is lost by the drop.
            let mut polled = Poll::Pending;
            {
                let cx = &mut Context::from_waker(Waker::noop());
                let mut next = pin!(walk.next());
                if found.len() % 2 == 0 {
                    polled = next.as_mut().poll(cx);
                }
            }
            let entry = match polled {
                Poll::Ready(entry) => entry.unwrap(),
                Poll::Pending => walk.next().await.unwrap(),
            };
            let Some(entry) = entry else { break };
            if entry.path().ends_with("loop") {
                assert!(entry.file_type().is_symlink());
            }
            let parent = entry.path().parent().unwrap().to_owned();
            assert!(parent == root || found.contains(&parent), "parents come first");
            assert_eq!(entry.depth(), entry.path().strip_prefix(&root).unwrap().iter().count());
            found.push(entry.into_path());
        }
        found.sort();
        assert!(found == expected);
        assert!(walk.next().await.unwrap().is_none());
        let mut shallow = file::walk(&root).max_depth(1);
        let mut count = 0;
        while shallow.next().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 5);
    });
}

// ---- standard streams

/// In the process that the test below starts: two lines of the input are read by this program, the
/// others are for the next.
#[test]
fn who_reads_standard_input_next_begins_where_this_program_stopped() {
    const NAME: &str = "file::who_reads_standard_input_next_begins_where_this_program_stopped";
    if std::env::var_os("ASYNCORO_TEST_INPUT").is_some() {
        return run_within(|| async {
            let (input, output) = (file::stdin().unwrap(), file::stdout().unwrap());
            for _ in 0..2 {
                let line = input.read_line(80).await.unwrap().unwrap();
                output.write_all(format!("<{line}>\n").as_bytes()).await.unwrap();
            }
            // The bytes of a dropped read are put back, too.
            poll_once(input.read_line(1));
            input.position().await.unwrap();
        });
    }
    let folder = Folder::new();
    let input = folder.file("input", b"one\ntwo\nthree\nfour\n");
    let output = folder.0.join("output");
    let script = format!(
        "({} --exact {NAME} --nocapture --test-threads 1; cat; echo end) < {} > {}",
        std::env::current_exe().unwrap().display(),
        input.display(),
        output.display()
    );
    let status = Command::new("sh")
        .args(["-c", &script])
        .env("ASYNCORO_TEST_INPUT", "1")
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let text = fs::read_to_string(output).unwrap();
    assert!(text.contains("<one>\n<two>\n"), "{text}");
    assert!(text.ends_with("\nthree\nfour\nend\n"), "{text}");
}
