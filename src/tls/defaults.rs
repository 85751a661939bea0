//! What a server and a client have in common unless their owner says otherwise.

use std::time::Duration;

/// Time for a handshake.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sessions that are remembered, so that they can be resumed.
pub(super) const REMEMBERED_SESSIONS: usize = 256;
