//! The two single-threaded runtimes behind one door.

use std::io;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime, Runtime};
use tokio::task::{LocalSet, spawn_local};

/// A runtime for tasks that stay on their thread.
pub(super) enum Local {
    /// The tasks live in a set that the runtime polls as one future.
    Set(LocalSet, Runtime),
    /// The runtime's own tasks may stay on the thread.
    Runtime(LocalRuntime),
}

impl Local {
    pub(super) fn set() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self::Set(LocalSet::new(), runtime))
    }

    pub(super) fn runtime() -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        Ok(Self::Runtime(builder.enable_all().build_local(LocalOptions::default())?))
    }

    /// Runs until the future ends; the other tasks stay for the next time.
    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Set(set, runtime) => set.block_on(runtime, future),
            Self::Runtime(runtime) => runtime.block_on(future),
        }
    }

    /// The same with the future as a task, whose wake-up costs less.
    pub(super) fn block_on_task<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: 'static> + 'static,
    {
        self.block_on(async { spawn_local(future).await.expect("the load does not panic") })
    }
}
