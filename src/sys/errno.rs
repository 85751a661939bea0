//! The meaning of each error of a system call: one table for calls, sides and operations.
//!
//! A function of a call and an error number, without I/O. `docs/design.md` has the same table in
//! prose. Invariants: no transient error ends a wait, a queue or a loop over `accept`; no call that
//! can fail again at once is repeated without a bound.

use rustix::io::Errno;

/// The result of a system call.
pub(super) type Result<T> = std::result::Result<T, Errno>;

/// The error of a read that has used up its share without a result, and must be repeated after
/// others have had their turn. No call fails with it: interrupted ones are repeated.
pub(crate) const LATER: Errno = Errno::INTR;

/// The system call that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// recv(2), recvfrom(2), recvmsg(2), recvmmsg(2).
    Receive,
    /// send(2), sendto(2), sendmsg(2), sendmmsg(2).
    Send,
    /// connect(2).
    Connect,
    /// accept4(2).
    Accept,
    /// epoll_ctl(2).
    Watch,
    /// poll(2).
    Poll,
    /// dup3(2).
    Duplicate,
}

/// What the caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Repeats the call at once: a signal has interrupted it.
    Again,
    /// Waits for readiness.
    Wait,
    /// Tries again after a pause: nothing was done, and no event tells when it can be.
    Pause,
    /// Takes the next connection: this one has failed before it was accepted.
    Next,
    /// Returns the error; the socket stays usable.
    Tell,
    /// Returns the error from now on, everywhere: the connection has failed.
    Sticky,
}

/// Returns the meaning of an error.
pub(crate) fn meaning(call: Call, error: Errno) -> Meaning {
    match (call, error) {
        (Call::Duplicate, Errno::INTR | Errno::BUSY) => Meaning::Again,
        (_, Errno::INTR) => Meaning::Again,
        // connect(2): the queue of a Unix listener is full.
        (Call::Connect, Errno::AGAIN) => Meaning::Pause,
        (Call::Connect, Errno::INPROGRESS | Errno::ALREADY) => Meaning::Wait,
        (_, Errno::AGAIN) => Meaning::Wait,
        (Call::Accept, error) => of_accept(error),
        // Nothing has moved, and the kernel reports no event when there is memory again.
        (Call::Receive | Call::Send | Call::Watch | Call::Poll, Errno::NOMEM | Errno::NOBUFS) => {
            Meaning::Pause
        }
        // The user's limit of watches is reached; another program may release some.
        (Call::Watch, Errno::NOSPC) => Meaning::Pause,
        (Call::Receive | Call::Send | Call::Connect, error) if ends_connection(error) => {
            Meaning::Sticky
        }
        _ => Meaning::Tell,
    }
}

fn of_accept(error: Errno) -> Meaning {
    match error {
        // There is no descriptor, or no memory for one.
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Meaning::Pause,
        // accept(2) also returns errors that the network or a firewall has reported for the new
        // connection.
        Errno::CONNABORTED
        | Errno::CONNRESET
        | Errno::HOSTDOWN
        | Errno::HOSTUNREACH
        | Errno::NETDOWN
        | Errno::NETUNREACH
        | Errno::NOPROTOOPT
        | Errno::OPNOTSUPP
        | Errno::PERM
        | Errno::PROTO
        | Errno::PROTONOSUPPORT
        | Errno::SOCKTNOSUPPORT
        | Errno::TIMEDOUT => Meaning::Next,
        error if is_no_network(error) => Meaning::Next,
        _ => Meaning::Tell,
    }
}

/// Tells whether the error is `ENONET` (the machine is not on the network), which only Linux has.
#[cfg(target_os = "linux")]
fn is_no_network(error: Errno) -> bool {
    error == Errno::NONET
}

/// Returns `false`: only Linux has `ENONET`.
#[cfg(not(target_os = "linux"))]
fn is_no_network(_: Errno) -> bool {
    false
}

/// Tells whether a connection with this error moves no more bytes.
///
/// Not `EPIPE`: it concerns sending alone, and the peer's earlier bytes may be complete.
fn ends_connection(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNABORTED
            | Errno::CONNREFUSED
            | Errno::CONNRESET
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::NETRESET
            | Errno::NETUNREACH
            | Errno::PROTO
            | Errno::TIMEDOUT
    ) || is_no_network(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [Call; 7] = [
        Call::Receive,
        Call::Send,
        Call::Connect,
        Call::Accept,
        Call::Watch,
        Call::Poll,
        Call::Duplicate,
    ];

    #[test]
    fn a_signal_never_ends_a_call() {
        for call in CALLS {
            assert_eq!(meaning(call, Errno::INTR), Meaning::Again, "{call:?}");
        }
    }

    #[test]
    fn what_would_block_is_waited_for() {
        for call in [Call::Receive, Call::Send, Call::Accept] {
            assert_eq!(meaning(call, Errno::AGAIN), Meaning::Wait, "{call:?}");
        }
        assert_eq!(meaning(Call::Connect, Errno::INPROGRESS), Meaning::Wait);
        // There is no event for room in the queue.
        assert_eq!(meaning(Call::Connect, Errno::AGAIN), Meaning::Pause);
    }

    #[test]
    fn a_lack_of_memory_is_waited_out_where_bytes_are_at_stake() {
        for error in [Errno::NOMEM, Errno::NOBUFS] {
            for call in [Call::Receive, Call::Send, Call::Accept, Call::Watch, Call::Poll] {
                assert_eq!(meaning(call, error), Meaning::Pause, "{call:?} {error}");
            }
            assert_eq!(meaning(Call::Connect, error), Meaning::Tell);
        }
    }

    #[test]
    fn no_error_that_accept_passes_on_of_a_connection_ends_the_loop() {
        // From accept(2), "Error handling", and errors of firewalls and protocols.
        let network = [
            Errno::NETDOWN,
            Errno::PROTO,
            Errno::NOPROTOOPT,
            Errno::HOSTDOWN,
            #[cfg(target_os = "linux")]
            Errno::NONET,
            Errno::HOSTUNREACH,
            Errno::OPNOTSUPP,
            Errno::NETUNREACH,
            Errno::CONNABORTED,
            Errno::PERM,
            Errno::TIMEDOUT,
            Errno::CONNRESET,
        ];
        for error in network {
            assert_eq!(meaning(Call::Accept, error), Meaning::Next, "{error}");
        }
        for error in [Errno::MFILE, Errno::NFILE] {
            assert_eq!(meaning(Call::Accept, error), Meaning::Pause, "{error}");
        }
        for error in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::FAULT] {
            assert_eq!(meaning(Call::Accept, error), Meaning::Tell, "{error}");
        }
    }

    #[test]
    fn what_ends_a_connection_is_told_to_all_and_a_closed_direction_is_not() {
        for call in [Call::Receive, Call::Send, Call::Connect] {
            for error in [Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH] {
                assert_eq!(meaning(call, error), Meaning::Sticky, "{call:?} {error}");
            }
            for error in [Errno::PIPE, Errno::NOTCONN, Errno::MSGSIZE, Errno::ACCESS] {
                assert_eq!(meaning(call, error), Meaning::Tell, "{call:?} {error}");
            }
        }
    }
}
