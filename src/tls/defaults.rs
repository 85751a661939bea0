//! Defaults of servers and clients.

use std::time::Duration;

/// How long a handshake may take.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many sessions are remembered for resumption.
pub(super) const REMEMBERED_SESSIONS: usize = 256;
