//! io_uring(7): many calls in one system call.
//!
//! Every call is one that does not wait (`MSG_DONTWAIT`), so it is over when [`Ring::run`] returns:
//! nothing is ever pending in the kernel between two runs, and no buffer belongs to it. What the
//! calls use is memory of the ring or of a batch (`ahead.rs`), never of a verb.
//!
//! A kernel or a sandbox may refuse any of it, at any time. Then the calls that were not made are
//! reported as such, the ring is not used again, and the caller makes them one by one.
//!
//! Unsafe: calls for the ring by number, and pushes calls whose memory must outlive a run. If the
//! kernel kept a call all the same, its memory is leaked.
#![allow(unsafe_code)]

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    thread::{self, ThreadId},
};

use io_uring::{IoUring, Probe, opcode, squeue::Entry, types::Fd};
use rustix::io::Errno;

use super::ran::Ran;
use crate::sys::errno::Result;

/// Whether there may be such a thing.
pub(crate) const EXISTS: bool = true;

/// Most calls of a run.
const CALLS: u32 = 256;

/// Most bytes that one run sends.
const BYTES: usize = 64 << 10;

/// How often the kernel is asked again if it takes no call, or is interrupted.
const TRIES: u32 = 16;

/// An instance, for the thread that has opened it.
pub(crate) struct Ring {
    ring: IoUring,
    /// The ring's place among the thread's registered descriptors, which saves a look-up.
    registered: Option<u32>,
    thread: ThreadId,
    /// The result of each call of this run, negative for an error.
    results: Vec<Option<i32>>,
    /// Copies of the bytes that this run sends.
    bytes: Vec<u8>,
}

impl Ring {
    /// Opens an instance.
    ///
    /// # Errors
    /// The kernel is too old for it, or a sandbox forbids it.
    pub(crate) fn open() -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(CALLS)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Recv::CODE) || !probe.is_supported(opcode::Send::CODE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let registered = registration(&ring, REGISTER_RING, u32::MAX).ok();
        let thread = thread::current().id();
        Ok(Ring { ring, registered, thread, results: Vec::new(), bytes: Vec::new() })
    }

    /// Tells whether this run has room for a call that sends so many bytes.
    fn has_room(&self, bytes: usize) -> bool {
        self.results.len() < CALLS as usize && bytes <= BYTES - self.bytes.len()
    }

    /// Adds a call to the next run; returns its place among the results.
    ///
    /// # Safety
    /// The memory that it names is not freed, nor used otherwise, before the run is over; if the
    /// run gets stuck, never.
    unsafe fn push(&mut self, call: &Entry) -> Option<usize> {
        // SAFETY: the caller promises it.
        unsafe { self.ring.submission().push(call) }.ok()?;
        self.results.push(None);
        Some(self.results.len() - 1)
    }

    /// Adds a recv(2) to the next run; returns its place among the results.
    ///
    /// # Safety
    /// As for [`Ring::push`].
    pub(in crate::sys) unsafe fn push_recv(
        &mut self,
        fd: BorrowedFd<'_>,
        room: &mut [u8],
    ) -> Option<usize> {
        if !self.has_room(0) {
            return None;
        }
        let len = u32::try_from(room.len()).unwrap_or(u32::MAX);
        let call = opcode::Recv::new(Fd(fd.as_raw_fd()), room.as_mut_ptr(), len)
            .flags(libc::MSG_DONTWAIT)
            .build()
            .user_data(self.results.len() as u64);
        // SAFETY: the caller promises the same; the descriptor is open, and stays so until the run,
        // which comes before anything else happens in this thread.
        unsafe { self.push(&call) }
    }

    /// Adds a send(2) of a copy of `bytes` to the next run; returns its place among the results.
    pub(crate) fn push_send(&mut self, fd: BorrowedFd<'_>, bytes: &[u8]) -> Option<usize> {
        if !self.has_room(bytes.len()) {
            return None;
        }
        // Never moved while a run is being prepared, since all that it may hold is reserved.
        self.bytes.reserve_exact(BYTES - self.bytes.len());
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let copy = &self.bytes[from..];
        let call = opcode::Send::new(Fd(fd.as_raw_fd()), copy.as_ptr(), copy.len() as u32)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build()
            .user_data(self.results.len() as u64);
        // SAFETY: the copy belongs to the ring and is overwritten after the run at the earliest;
        // `run` leaks it if it gets stuck.
        unsafe { self.push(&call) }
    }

    /// Makes the calls.
    pub(crate) fn run(&mut self) -> Ran {
        let asked = self.results.len() as u32;
        let (mut made, mut tries) = (0, 0);
        while made < asked && tries < TRIES {
            match self.enter(asked - made, 0) {
                Ok(0) | Err(Errno::INTR | Errno::AGAIN | Errno::BUSY) => tries += 1,
                Ok(count) => made += count,
                Err(_) => break,
            }
        }
        // All are over by now. If a kernel sees it otherwise, it is asked to go on, without a wait.
        let mut over = self.collect();
        for _ in 0..TRIES {
            if over == made {
                break;
            }
            let _ = self.enter(0, GET_EVENTS);
            over += self.collect();
        }
        if over < made {
            mem::forget(mem::take(&mut self.bytes));
            return Ran::Stuck;
        }
        if made < asked { Ran::Broken } else { Ran::Whole }
    }

    /// Returns the result of a call; `None` if it was not made.
    pub(crate) fn result(&self, place: usize) -> Option<Result<usize>> {
        let result = (*self.results.get(place)?)?;
        Some(usize::try_from(result).map_err(|_| Errno::from_raw_os_error(result.wrapping_neg())))
    }

    /// Forgets the results, for the next run.
    pub(crate) fn clear(&mut self) {
        self.results.clear();
        self.bytes.clear();
    }

    /// Takes the results that are there; returns how many.
    fn collect(&mut self) -> u32 {
        let mut count = 0;
        for done in self.ring.completion() {
            if let Some(result) = self.results.get_mut(done.user_data() as usize) {
                *result = Some(done.result());
                count += 1;
            }
        }
        count
    }

    /// Calls io_uring_enter(2), which makes `calls` calls and waits for nothing.
    fn enter(&self, calls: u32, mut flags: u32) -> Result<u32> {
        let ring = match self.registered {
            Some(place) => {
                flags |= REGISTERED_RING;
                place as i32
            }
            None => self.ring.as_raw_fd(),
        };
        let no_mask = ptr::null::<libc::sigset_t>();
        // SAFETY: the ring is open, and the calls that were pushed satisfy `push`.
        let count = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, ring, calls, 0u32, flags, no_mask, 0usize)
        };
        u32::try_from(count).map_err(|_| last_error())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // In another thread the same place may belong to another ring.
        if let Some(place) = self.registered
            && self.thread == thread::current().id()
        {
            let _ = registration(&self.ring, UNREGISTER_RING, place);
        }
    }
}

/// The numbers of io_uring(7) that are used here directly.
const GET_EVENTS: u32 = 1;
const REGISTERED_RING: u32 = 1 << 4;
const REGISTER_RING: u32 = 20;
const UNREGISTER_RING: u32 = 21;

/// Registers the descriptor of a ring with the thread, or takes that back; returns its place.
fn registration(ring: &IoUring, call: u32, place: u32) -> Result<u32> {
    /// `struct io_uring_rsrc_update`.
    #[repr(C)]
    struct Update {
        place: u32,
        reserved: u32,
        descriptor: u64,
    }
    let number = ring.as_raw_fd();
    let mut update = Update { place, reserved: 0, descriptor: number as u64 };
    if call == UNREGISTER_RING {
        update.descriptor = 0;
    }
    // SAFETY: the ring is open, and the call reads and writes one `Update`.
    let count =
        unsafe { libc::syscall(libc::SYS_io_uring_register, number, call, &raw mut update, 1u32) };
    if count == 1 { Ok(update.place) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
