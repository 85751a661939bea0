//! Files, pipes and terminals: what is lost where (nothing), whose turn it is, whose mode it is.

use std::{
    cell::Cell,
    fs,
    future::Future,
    io::{self, ErrorKind, Read, SeekFrom, Write},
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
    run, spawn,
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

pub(crate) const SHORT: Duration = Duration::from_millis(5);

/// A folder of its own, removed in the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("asyncoro-file-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
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
pub(crate) fn poll_once<F: Future>(future: F) -> bool {
    poll_for(future).is_some()
}

pub(crate) fn pattern(count: usize) -> Vec<u8> {
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

fn named_pipe(folder: &Folder, name: &str) -> PathBuf {
    let path = folder.0.join(name);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, Mode::RWXU, 0).unwrap();
    path
}

#[test]
fn a_pipe_with_a_name_waits_for_its_writer_and_then_ends_with_it() {
    let folder = Folder::new();
    let path = named_pipe(&folder, "fifo");
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
fn what_is_more_than_was_asked_for_is_refused_again_without_waiting() {
    run_within(|| async {
        let (reader, writer) = file::pipe().unwrap();
        writer.write_all(b"0123456789x").await.unwrap();
        for _ in 0..3 {
            let error = reader.read_to_end_within(10).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        }
        drop(writer);
        assert_eq!(reader.read_to_end_within(11).await.unwrap(), b"0123456789x");
    });
}

#[test]
fn whole_pipes_with_a_name_keep_no_thread_of_the_pool() {
    let folder = Folder::new();
    let path = named_pipe(&folder, "fifo");
    run_within(move || async move {
        // More than the pool has threads.
        for _ in 0..100 {
            let mut read = pin!(file::read(&path));
            let mut write = pin!(file::write("/dev/null", "here"));
            join(async { assert!(timeout(SHORT, &mut read).await.is_err()) }, async {
                write.as_mut().await.unwrap();
            })
            .await;
        }
        for _ in 0..100 {
            assert!(timeout(SHORT, file::write(&path, "nobody reads it")).await.is_err());
        }
        let many = pattern(300_000);
        for reads_first in [false, true] {
            let write = async {
                if reads_first {
                    yield_now().await;
                }
                file::write(&path, many.clone()).await.unwrap();
            };
            let (read, ()) = join(file::read(&path), write).await;
            assert!(read.unwrap() == many);
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
    let path = named_pipe(&folder, "both");
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

// ---- devices

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
