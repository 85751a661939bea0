//! What each error of a system call means here: the one table that calls, sides and operations go
//! by.
//!
//! A function over a call and an error number, without I/O. `docs/design.md` has the same table in
//! prose. What must stay true: nothing that is transient ends a wait, a queue or a loop over
//! `accept`; nothing that can repeat at once is repeated without a bound.

use rustix::io::Errno;

/// What a system call gives.
pub(super) type Result<T> = std::result::Result<T, Errno>;

/// Says that a read has done as much as one step may without a result, and is to be made again
/// when others have had their turn. No call fails with it: interrupted ones are made again.
pub(crate) const LATER: Errno = Errno::INTR;

/// Which system call has failed.
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

/// What the caller of a call does about its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Makes the call again at once: a signal came in between.
    Again,
    /// Waits for readiness.
    Wait,
    /// Tries again after a pause: nothing has happened, and no event tells when it could.
    Pause,
    /// Takes the next connection: this one has failed before it was accepted.
    Next,
    /// Tells whoever has called; the socket goes on.
    Tell,
    /// Tells everybody from now on: the connection has failed.
    Sticky,
}

/// Looks an error up.
pub(crate) fn meaning(call: Call, error: Errno) -> Meaning {
    match (call, error) {
        (Call::Duplicate, Errno::INTR | Errno::BUSY) => Meaning::Again,
        (_, Errno::INTR) => Meaning::Again,
        // connect(2): the queue of a Unix listener is full.
        (Call::Connect, Errno::AGAIN) => Meaning::Pause,
        (Call::Connect, Errno::INPROGRESS | Errno::ALREADY) => Meaning::Wait,
        (_, Errno::AGAIN) => Meaning::Wait,
        (Call::Accept, error) => of_accept(error),
        // Nothing has moved, and the kernel does not tell when there is memory again.
        (Call::Receive | Call::Send | Call::Watch | Call::Poll, Errno::NOMEM | Errno::NOBUFS) => {
            Meaning::Pause
        }
        // The user's number of watches is used up; somebody may give some back.
        (Call::Watch, Errno::NOSPC) => Meaning::Pause,
        (Call::Receive | Call::Send | Call::Connect, error) if ends_connection(error) => {
            Meaning::Sticky
        }
        _ => Meaning::Tell,
    }
}

fn of_accept(error: Errno) -> Meaning {
    match error {
        // No descriptor, or no memory for one.
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

/// Tells whether it is `ENONET` (the machine is not on the network), which only Linux has.
#[cfg(target_os = "linux")]
fn is_no_network(error: Errno) -> bool {
    error == Errno::NONET
}

/// Says no: only Linux has `ENONET`.
#[cfg(not(target_os = "linux"))]
fn is_no_network(_: Errno) -> bool {
    false
}

/// Tells whether a connection that has told this error moves no more bytes.
///
/// Not `EPIPE`: it is about sending alone, and what the peer has sent before may be whole.
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
        // There is no event for it.
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
        // accept(2): "Error handling", and what firewalls and protocols add.
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
