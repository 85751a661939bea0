//! Regular files, through the pool: positions, whole files, walks.

use std::{
    cell::Cell,
    fs,
    io::{ErrorKind, Seek, SeekFrom, Write},
    os::fd::AsRawFd,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use asyncoro::{
    coro::yield_now,
    file::{self, AsyncFile},
    future::join,
    pool, run, spawn,
    time::timeout,
};

use rustix::fs::{OFlags, fcntl_getfl};

use crate::{
    file::{Folder, SHORT, pattern, poll_once},
    within::run_within,
};

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
            // With the budget of a new turn the first poll begins it; a second write then waits for
            // it, and has not begun.
            yield_now().await;
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
fn a_seek_to_the_end_leaves_the_position_of_who_shares_the_descriptor() {
    let folder = Folder::new();
    let path = folder.file("shared", b"0123456789");
    run_within(move || async move {
        let mut other = fs::File::open(&path).unwrap();
        other.seek(SeekFrom::Start(3)).unwrap();
        let file = AsyncFile::new(other.try_clone().unwrap()).unwrap();
        assert_eq!(file.seek(SeekFrom::End(-1)).await.unwrap(), 9);
        assert_eq!(file.read_to_end().await.unwrap(), b"9");
        assert_eq!(other.stream_position().unwrap(), 3);
        assert_eq!(file.seek(SeekFrom::End(5)).await.unwrap(), 15);
        let error = file.seek(SeekFrom::End(-11)).await.unwrap_err();
        assert_eq!((error.kind(), file.position().await.unwrap()), (ErrorKind::InvalidInput, 15));
    });
}

#[test]
fn a_regular_file_is_not_left_in_non_blocking_mode() {
    let folder = Folder::new();
    let path = folder.file("mode", b"");
    run_within(move || async move {
        let file = AsyncFile::open(&path).await.unwrap();
        assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK));
    });
}

/// An opening breaks a lease, and waits until the holder has given it up.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe function sets a lease")]
#[test]
fn a_file_with_a_lease_is_opened_when_that_is_given_up() {
    /// fcntl.h
    const F_SETSIG: i32 = 10;
    let folder = Folder::new();
    let path = folder.file("leased", b"contents");
    run_within(move || async move {
        let holder = fs::OpenOptions::new().write(true).open(&path).unwrap();
        // SAFETY: these calls take numbers. The signal that tells of the break is ignored.
        let control =
            |what: i32, argument: i32| unsafe { libc::fcntl(holder.as_raw_fd(), what, argument) };
        for writes in [false, true] {
            assert_eq!(control(F_SETSIG, libc::SIGURG), 0);
            assert_eq!(control(libc::F_SETLEASE, libc::F_WRLCK), 0);
            let give_up = async {
                while control(libc::F_GETLEASE, 0) == libc::F_WRLCK {
                    yield_now().await;
                }
                assert_eq!(control(libc::F_SETLEASE, libc::F_UNLCK), 0);
            };
            if writes {
                join(async { file::write(&path, "contents").await.unwrap() }, give_up).await;
            } else {
                let (opened, ()) = join(AsyncFile::open(&path), give_up).await;
                assert_eq!(opened.unwrap().read_to_end().await.unwrap(), b"contents");
            }
        }
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
#[cfg(target_os = "linux")]
fn a_file_that_no_memory_can_hold_is_an_error() {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    run(async {
        let long = memfd_create("long", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&long, i64::MAX as u64).unwrap();
        let path = format!("/proc/self/fd/{}", long.as_raw_fd());
        let file = AsyncFile::open(path).await.unwrap();
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
