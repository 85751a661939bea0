//! Many datagrams in one system call.
//!
//! Unsafe: recvmmsg(2) and sendmmsg(2), whose headers point into buffers of the caller and into
//! tables on the stack, of which only the used part is written or read; getsockopt(2).
#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
use std::{io, mem::MaybeUninit, os::fd::AsRawFd};

#[cfg(target_os = "linux")]
use rustix::{io::Errno, net::addr::SocketAddrArg};

#[cfg(target_os = "linux")]
use super::{
    address::{read_address, unnamed, with_address},
    calls::again,
    segments::run,
};
use super::{errno::Result, socket::Sys};
use crate::addr::Address;

/// A datagram received.
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) from: Address,
    pub(crate) truncated: bool,
}

/// Most datagrams in one system call.
pub(crate) const MANY: usize = 64;

impl Sys {
    /// Calls recvmmsg(2): receives datagrams of at most `size` bytes each, as many as fit into
    /// `memory`, one behind another. Replaces the contents of `received`.
    #[cfg(target_os = "linux")]
    pub(crate) fn recv_many(
        &self,
        memory: &mut [u8],
        size: usize,
        received: &mut Vec<Received>,
    ) -> Result<usize> {
        let count = (memory.len() / size).min(MANY);
        let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; MANY];
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; MANY];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MANY];
        for (index, room) in memory.chunks_exact_mut(size).take(count).enumerate() {
            parts[index].write(libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: size });
            let header = &mut headers[index].write(empty_header()).msg_hdr;
            header.msg_name = names[index].as_mut_ptr().cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = parts[index].as_mut_ptr();
            header.msg_iovlen = 1;
        }
        let got = again(|| {
            let flags = libc::MSG_DONTWAIT;
            // SAFETY: the first `count` headers are written and point to one part and one name
            // each, which live until the end of this function, and each part to `size` bytes of
            // `memory`, borrowed mutably for as long; the kernel writes within the lengths given.
            let got = unsafe {
                libc::recvmmsg(
                    self.fd.as_raw_fd(),
                    headers.as_mut_ptr().cast(),
                    count as libc::c_uint,
                    flags as _,
                    std::ptr::null_mut(),
                )
            };
            usize::try_from(got).map_err(|_| last_errno())
        })?;
        received.clear();
        received.extend(headers[..got].iter().zip(&names).map(|(header, name)| {
            // SAFETY: the kernel has filled in the first `got` headers.
            let header = unsafe { header.assume_init_ref() };
            let from = match header.msg_hdr.msg_namelen {
                0 => unnamed(),
                // SAFETY: the kernel has written so many bytes of the name.
                len => unsafe { read_address(name.as_ptr(), len) },
            };
            let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            Received { len: (header.msg_len as usize).min(size), from, truncated }
        }));
        Ok(got)
    }

    /// Calls sendmmsg(2); returns how many of at most [`MANY`] datagrams were sent, at least one.
    /// Runs of datagrams of one length to one address are sent as one that the kernel splits, where
    /// it can. `shown` has their bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn send_many<B>(
        &self,
        shown: &[&[u8]],
        datagrams: &[(B, Address)],
    ) -> Result<usize> {
        if let ([bytes], [(_, to)]) = (shown, datagrams) {
            return self.send_to(bytes, to).map(|_| 1);
        }
        let count = shown.len().min(datagrams.len()).min(MANY);
        let datagrams = &datagrams[..count];
        let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; MANY];
        let mut lengths = [0; MANY];
        for (index, bytes) in shown[..count].iter().enumerate() {
            lengths[index] = bytes.len();
            let start = bytes.as_ptr().cast_mut().cast();
            parts[index].write(libc::iovec { iov_base: start, iov_len: bytes.len() });
        }
        let each = |from| {
            let to = datagrams[from..].iter().map(|(_, to): &(B, Address)| to);
            lengths[from..datagrams.len()].iter().copied().zip(to)
        };
        let longest = self.longest_segment();
        // SAFETY: for each datagram there is a part, a slice of `shown`, which outlives the calls.
        let mut send = |longest| unsafe { self.send_runs(&mut parts, each, longest) };
        match send(longest) {
            Err(error) if is_refusal(error) && run(each(0), longest) > 1 => match send(longest) {
                // A pending error of the socket, which any call reports once, may look the same.
                Err(again) if is_refusal(again) => {
                    let sent = send(0)?;
                    // So the segments were at fault. `EIO` does not depend on their length.
                    self.longest.refuse(if again == Errno::IO { 0 } else { lengths[0] });
                    Ok(sent)
                }
                sent => sent,
            },
            sent => sent,
        }
    }

    /// Sends `parts` to their addresses, with segments of at most `longest` bytes; returns how many
    /// parts were sent. `each` returns lengths and addresses from a part on.
    ///
    /// # Safety
    /// There are as many parts as lengths; the parts are written, and each may be read.
    #[cfg(target_os = "linux")]
    unsafe fn send_runs<'a, I: Iterator<Item = (usize, &'a Address)>>(
        &self,
        parts: &mut [MaybeUninit<libc::iovec>; MANY],
        each: impl Fn(usize) -> I,
        longest: usize,
    ) -> Result<usize> {
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; MANY];
        let mut controls = [const { MaybeUninit::<Control>::uninit() }; MANY];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MANY];
        let mut ends = [0; MANY];
        let first = parts.as_mut_ptr();
        let (mut count, mut from) = (0, 0);
        while let Some((segment, to)) = each(from).next() {
            let name = names[count].as_mut_ptr();
            // SAFETY: a name has room for an address of any kind.
            let name_len = match with_address(to, |to| unsafe { to.write_sockaddr(name.cast()) }) {
                Ok(len) => len,
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            };
            let run = run(each(from), longest);
            let header = &mut headers[count].write(empty_header()).msg_hdr;
            header.msg_name = name.cast();
            header.msg_namelen = name_len;
            header.msg_iov = first.wrapping_add(from).cast();
            header.msg_iovlen = run as _;
            if run > 1 {
                cut(header, &mut controls[count], segment);
            }
            from += run;
            ends[count] = from;
            count += 1;
        }
        let sent = again(|| {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the first `count` headers are written; each points to a name and perhaps a
            // control message of its own, written above, and to as many parts as its run is long,
            // which may be read, as the caller promises. All of that lives until the end of this
            // function. The kernel only reads through these pointers, and writes the lengths into
            // `headers`.
            let sent = unsafe {
                libc::sendmmsg(
                    self.fd.as_raw_fd(),
                    headers.as_mut_ptr().cast(),
                    count as libc::c_uint,
                    flags as _,
                )
            };
            usize::try_from(sent).map_err(|_| last_errno())
        })?;
        Ok(sent.checked_sub(1).map_or(0, |last| ends[last]))
    }

    /// Returns the longest segment that the kernel splits off for this socket, in bytes; 0 if it
    /// does not split.
    #[cfg(target_os = "linux")]
    fn longest_segment(&self) -> usize {
        if self.kind.is_unix() {
            return 0;
        }
        self.longest.get(|| {
            let mut segment: libc::c_int = 0;
            let mut len = size_of_val(&segment) as libc::socklen_t;
            // SAFETY: the kernel writes within the length given. The call fails for a kernel or a
            // protocol that cannot split, which would send a run as one datagram.
            let asked = unsafe {
                libc::getsockopt(
                    self.fd.as_raw_fd(),
                    libc::SOL_UDP,
                    libc::UDP_SEGMENT,
                    (&raw mut segment).cast(),
                    &raw mut len,
                )
            };
            // A user who has set the option splits his own datagrams.
            asked == 0 && segment == 0
        })
    }

    /// Receives one datagram, where there is no recvmmsg.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn recv_many(
        &self,
        memory: &mut [u8],
        size: usize,
        received: &mut Vec<Received>,
    ) -> Result<usize> {
        let (len, from, truncated) = self.recv_whole(&mut memory[..size])?;
        received.clear();
        received.push(Received { len, from, truncated });
        Ok(1)
    }

    /// Sends one datagram, where there is no sendmmsg.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn send_many<B>(
        &self,
        shown: &[&[u8]],
        datagrams: &[(B, Address)],
    ) -> Result<usize> {
        let (Some(bytes), Some((_, to))) = (shown.first(), datagrams.first()) else {
            return Ok(0);
        };
        self.send_to(bytes, to).map(|_| 1)
    }
}

/// Tells whether a segmented send was refused because of the segments, and not only because of the
/// destination: a segment too long for the path (`EINVAL`, `EMSGSIZE`), or a path without
/// splitting.
#[cfg(target_os = "linux")]
fn is_refusal(error: Errno) -> bool {
    [Errno::INVAL, Errno::IO, Errno::MSGSIZE, Errno::NOPROTOOPT, Errno::OPNOTSUPP].contains(&error)
}

/// Room for a control message with the length of the segments.
#[cfg(target_os = "linux")]
type Control = [u64; 4];

/// Makes the kernel split the data of a header.
#[cfg(target_os = "linux")]
fn cut(header: &mut libc::msghdr, control: &mut MaybeUninit<Control>, segment: usize) {
    let segment = u16::try_from(segment).expect("a segment fits into a packet");
    let len = size_of_val(&segment) as libc::c_uint;
    header.msg_control = control.write([0; 4]).as_mut_ptr().cast();
    // SAFETY: the written part is within `control`, which is aligned for it and longer than this
    // message with its header, 24 bytes.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(len) as _;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(len) as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(segment);
    }
}

#[cfg(target_os = "linux")]
fn empty_header() -> libc::mmsghdr {
    // SAFETY: a plain C structure of numbers and pointers, for which zero is a valid value.
    unsafe { std::mem::zeroed() }
}

#[cfg(target_os = "linux")]
fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use socket2::{Domain, Protocol, Socket, Type};

    use super::*;

    /// Makes a socket bound to loopback and its address.
    fn bound(protocol: Option<Protocol>) -> std::io::Result<(Sys, Address)> {
        let sys = Sys::new(Socket::new(Domain::IPV4, Type::DGRAM, protocol)?)?;
        sys.bind(&"127.0.0.1:0".parse()?)?;
        let address = sys.local_addr()?;
        Ok((sys, address))
    }

    fn send<B: AsRef<[u8]>>(sys: &Sys, datagrams: &[(B, Address)]) -> Result<usize> {
        let shown: Vec<&[u8]> = datagrams.iter().map(|(bytes, _)| bytes.as_ref()).collect();
        sys.send_many(&shown, datagrams)
    }

    fn lengths_received(sys: &Sys) -> Vec<usize> {
        let (mut memory, mut received) = (vec![0; MANY * 2000], Vec::new());
        sys.recv_many(&mut memory, 2000, &mut received).unwrap();
        received.iter().map(|one| one.len).collect()
    }

    /// Makes the kernel refuse to split, which it does without a checksum.
    fn send_no_checksums(sys: &Sys) {
        let on: libc::c_int = 1;
        let len = size_of_val(&on) as libc::socklen_t;
        let fd = sys.fd.as_raw_fd();
        // SAFETY: the kernel reads within the length given.
        let set = unsafe {
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, (&raw const on).cast(), len)
        };
        assert_eq!(set, 0);
    }

    #[test]
    fn what_the_kernel_does_not_cut_is_sent_plainly_and_that_is_remembered() {
        let ((near, _), (far, to)) = (bound(None).unwrap(), bound(None).unwrap());
        send_no_checksums(&near);
        let datagrams = [900, 900, 900, 70].map(|len| (vec![7; len], to.clone()));
        assert_eq!(send(&near, &datagrams), Ok(4));
        assert_eq!(lengths_received(&far), [900, 900, 900, 70]);
        assert!(near.longest_segment() < 900);
        assert_eq!(send(&near, &datagrams), Ok(4));
        assert_eq!(lengths_received(&far), [900, 900, 900, 70]);
    }

    #[test]
    fn what_cannot_be_sent_at_all_is_no_refusal_to_cut() {
        let (near, _) = bound(None).unwrap();
        let before = near.longest_segment();
        let nowhere: Address = "127.0.0.1:0".parse().unwrap();
        let datagrams = [("one", nowhere.clone()), ("two", nowhere)];
        assert_eq!(send(&near, &datagrams), Err(Errno::INVAL));
        assert_eq!(near.longest_segment(), before);
    }

    #[test]
    fn protocols_that_cut_nothing_are_spared() {
        // Not every kernel has UDP-Lite; one that has it refuses to split with EIO.
        let Ok((near, _)) = bound(Some(Protocol::UDPLITE)) else { return };
        let (far, to) = bound(Some(Protocol::UDPLITE)).unwrap();
        assert_eq!(send(&near, &[("one", to.clone()), ("two", to)]), Ok(2));
        assert_eq!(lengths_received(&far), [3, 3]);
        assert_eq!(near.longest_segment(), 0);
    }

    #[test]
    fn who_cuts_for_himself_is_left_alone() {
        let ((near, _), (far, to)) = (bound(None).unwrap(), bound(None).unwrap());
        let (five, len) = (5 as libc::c_int, size_of::<libc::c_int>() as libc::socklen_t);
        let fd = near.fd.as_raw_fd();
        // SAFETY: the kernel reads within the length given.
        let set = unsafe {
            libc::setsockopt(fd, libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const five).cast(), len)
        };
        if set < 0 {
            return; // A kernel that cuts nothing.
        }
        let datagrams = [("seven b", to.clone()), ("seven b", to)];
        assert_eq!(send(&near, &datagrams), Ok(2));
        assert_eq!(lengths_received(&far), [5, 2, 5, 2]);
    }
}
