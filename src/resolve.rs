//! Looks up host names.
//!
//! The verbs of sockets look up names themselves; [`resolve`] is for programs that want the
//! addresses. The system's resolver, getaddrinfo(3), knows `/etc/hosts`, search domains and
//! whatever else the machine is configured with. It blocks, so it runs on a thread of the [pool].
#![allow(unsafe_code)] // getaddrinfo through libc: the standard library's hides the EAI code.

use std::{
    collections::HashSet,
    ffi::{CStr, CString},
    io, mem,
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    ptr,
    time::Duration,
};

use crate::{
    addr::{self, Address, Target},
    error, pool,
};

/// How long an attempt to connect runs alone before the next address is tried beside it.
///
/// RFC 8305, section 5, recommends 250 ms.
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Looks up the addresses of `host`, each with `port`, in the system's order of preference (RFC
/// 6724).
///
/// A numeric address needs no look-up and no thread; `""` and `"*"` are the IPv4 wildcard. A name
/// is looked up on a thread of the [pool], so that a slow name server delays only this coroutine.
/// There is no cache but the system's.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let addresses = asyncoro::resolve::resolve("localhost", 80).await?;
///     assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// - `InvalidInput` when `host` is neither an address nor a possible name.
/// - `NotFound` when it has no address or the resolver failed; the inner error is
///   [`Unresolved`](crate::error::Unresolved) with the resolver's code.
/// - The system's error, with the name, where the resolver reports one (`EAI_SYSTEM`).
///
/// # Cancel
/// Dropping it abandons the look-up: one that has not begun never begins; one that has begun runs
/// to its end on its thread, and its answer is lost.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match addr::host(host, port)? {
        Target::Address(address) => Ok(address.socket_addr().into_iter().collect()),
        Target::Name { host, port } => pool::run(move || look_up(&host, port)).await,
    }
}

/// Does what [`resolve`] does on the calling thread.
pub(crate) fn resolve_blocking(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match addr::host(host, port)? {
        Target::Address(address) => Ok(address.socket_addr().into_iter().collect()),
        Target::Name { host, port } => look_up(&host, port),
    }
}

/// Returns the addresses of a target, at least one, in the order in which to try them.
pub(crate) async fn target(target: Target) -> io::Result<Vec<Address>> {
    match target {
        Target::Address(address) => Ok(vec![address]),
        Target::Name { host, port } => resolve(&host, port).await.map(candidates),
    }
}

/// Does what [`target`] does on the calling thread.
pub(crate) fn target_blocking(target: Target) -> io::Result<Vec<Address>> {
    match target {
        Target::Address(address) => Ok(vec![address]),
        Target::Name { host, port } => resolve_blocking(&host, port).map(candidates),
    }
}

fn candidates(addresses: Vec<SocketAddr>) -> Vec<Address> {
    happy_order(addresses).into_iter().map(Address::from).collect()
}

/// Orders addresses for Happy Eyeballs (RFC 8305, section 4): families alternate, beginning with
/// that of the first address; within a family the order is kept; duplicates are removed.
pub(crate) fn happy_order(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    let first_is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .filter(|address| seen.insert(*address))
        .partition(|address| address.is_ipv4() == first_is_ipv4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::with_capacity(seen.len());
    while ordered.len() < seen.len() {
        ordered.extend(first.next());
        ordered.extend(second.next());
    }
    ordered
}

/// Asks the system for the addresses of a name, and waits; returns at least one.
fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = CString::new(host)?;
    // No AI_ADDRCONFIG: it does not count loopback as configured, so a machine without a network
    // would not find `::1` and `localhost`. Connecting to an unreachable address fails at once, and
    // the next is tried.
    let hints = libc::addrinfo {
        ai_flags: 0,
        ai_family: libc::AF_UNSPEC,
        // Each address once, not once for each kind of socket.
        ai_socktype: libc::SOCK_STREAM,
        ai_protocol: 0,
        ai_addrlen: 0,
        ai_addr: ptr::null_mut(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    };
    let mut found = Found(ptr::null_mut());
    // SAFETY: `name` is a C string and `hints` an addrinfo with null pointers, as getaddrinfo(3)
    // requires; both outlive the call, which only reads them. The service may be null, as there is
    // a name. `found.0` is ours to write to, and it stays null unless the call succeeds.
    let code = unsafe {
        libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut found.0)
    };
    if code != 0 {
        return Err(unresolved(host, code));
    }
    let addresses: Vec<_> = found.addresses(port).collect();
    if addresses.is_empty() {
        return Err(unresolved(host, libc::EAI_NONAME));
    }
    Ok(addresses)
}

/// The list that getaddrinfo allocated, or null; this value owns it.
struct Found(*mut libc::addrinfo);

impl Found {
    fn addresses(&self, port: u16) -> impl Iterator<Item = SocketAddr> {
        // SAFETY: the pointer is null or what getaddrinfo gave: the head of a list whose entries
        // are initialised, and which nobody changes or frees before `self` is dropped. The entry is
        // borrowed for no longer than `self`, as the signature says.
        let head = unsafe { self.0.as_ref() };
        // SAFETY: as above; `ai_next` is null or the next entry of the same list.
        let entries = std::iter::successors(head, |entry| unsafe { entry.ai_next.as_ref() });
        entries.filter_map(move |entry| address(entry, port))
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the list came from getaddrinfo, this value alone owns it, and what was
            // borrowed from it has ended. It is freed once, here.
            unsafe { libc::freeaddrinfo(self.0) };
        }
    }
}

/// Converts the address of one entry; `None` if it is of another family.
fn address(entry: &libc::addrinfo, port: u16) -> Option<SocketAddr> {
    let holds = |size: usize| !entry.ai_addr.is_null() && entry.ai_addrlen as usize >= size;
    match entry.ai_family {
        libc::AF_INET if holds(mem::size_of::<libc::sockaddr_in>()) => {
            // SAFETY: `ai_addr` points to `ai_addrlen` initialised bytes, which were just seen to
            // be enough for the structure of this family; any bytes are a valid value of it; read
            // unaligned, as a `sockaddr` is aligned less.
            let inet = unsafe { ptr::read_unaligned(entry.ai_addr.cast::<libc::sockaddr_in>()) };
            let ip = inet.sin_addr.s_addr.to_ne_bytes();
            Some(SocketAddrV4::new(ip.into(), port).into())
        }
        libc::AF_INET6 if holds(mem::size_of::<libc::sockaddr_in6>()) => {
            // SAFETY: as above, with the structure of IPv6.
            let inet6 = unsafe { ptr::read_unaligned(entry.ai_addr.cast::<libc::sockaddr_in6>()) };
            let ip = inet6.sin6_addr.s6_addr;
            let (flow, scope) = (inet6.sin6_flowinfo, inet6.sin6_scope_id);
            Some(SocketAddrV6::new(ip.into(), port, flow, scope).into())
        }
        _ => None,
    }
}

/// Makes an error from getaddrinfo's code; call it before anything else can change `errno`.
fn unresolved(host: &str, code: i32) -> io::Error {
    if code == libc::EAI_SYSTEM {
        return error::context("resolve", host, io::Error::last_os_error());
    }
    // SAFETY: gai_strerror takes any code and gives a C string (never null) that lives as long as
    // the program and is not changed: a constant, for unknown codes too.
    let reason = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
    error::unresolved(host, code, reason.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::error::Unresolved;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Polls once and panics unless the future is ready.
    fn at_once<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits for a thread"),
        }
    }

    #[test]
    fn localhost_is_found_with_the_port_that_was_asked_for() {
        let found = resolve_blocking("localhost", 8080).unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(|found| found.ip().is_loopback() && found.port() == 8080));
    }

    #[test]
    fn a_name_without_address_is_not_found_and_says_why() {
        let error = resolve_blocking("no-such-host.invalid", 80).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let inner = error.get_ref().unwrap().downcast_ref::<Unresolved>().expect("typed");
        assert_eq!(inner.host, "no-such-host.invalid");
        assert_ne!(inner.code, 0);
        assert!(!inner.reason.is_empty());
        assert!(error.to_string().contains("no-such-host.invalid"));
    }

    #[test]
    fn a_failure_of_the_system_keeps_its_code() {
        // Sets errno, as getaddrinfo does.
        let refused = std::fs::File::open("/no/such/file").is_err();
        let error = unresolved("host", libc::EAI_SYSTEM);
        assert!(refused);
        assert_eq!(error::os_code(&error), Some(libc::ENOENT));
        assert!(error.to_string().contains("resolve host"), "{error}");
    }

    #[test]
    fn a_host_in_numbers_is_answered_in_place() {
        for (host, shown) in
            [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("fe80::1%3", "[fe80::1%3]:80")]
        {
            assert_eq!(at_once(resolve(host, 80)).unwrap(), addresses(&[shown]));
            assert_eq!(resolve_blocking(host, 80).unwrap(), addresses(&[shown]));
        }
        let path = Target::Address("/run/x".parse().unwrap());
        assert_eq!(at_once(target(path.clone())).unwrap(), ["/run/x".parse().unwrap()]);
        assert_eq!(target_blocking(path).unwrap(), ["/run/x".parse().unwrap()]);
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_without_asking() {
        for host in ["a\0b", "a b", "h:80"] {
            let error = at_once(resolve(host, 80)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn families_take_turns_beginning_with_the_first_address() {
        let (a, b, c) = ("[::a]:1", "[::b]:1", "[::c]:1");
        let (x, y, z) = ("1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1");
        let cases: [(&[&str], &[&str]); 8] = [
            (&[], &[]),
            (&[a], &[a]),
            (&[a, b, c], &[a, b, c]),
            (&[a, b, x, y], &[a, x, b, y]),
            (&[x, y, a, b], &[x, a, y, b]),
            (&[a, b, c, x], &[a, x, b, c]),
            (&[x, a, b, c], &[x, a, b, c]),
            (&[a, a, x, a, x, b, z, z], &[a, x, b, z]),
        ];
        for (given, expected) in cases {
            assert_eq!(happy_order(addresses(given)), addresses(expected), "{given:?}");
        }
    }
}
