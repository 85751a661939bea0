//! Files, processes and blocking functions of asyncoro.

use std::path::PathBuf;
use std::process::Command;

use asyncoro::coro::Scheduler;
use asyncoro::file::{self, AsyncFile};
use asyncoro::pool;
use asyncoro::process::Child;

use crate::runtime::Files;

impl Files for Scheduler {
    async fn read(path: PathBuf) -> Vec<u8> {
        file::read(path).await.expect("the file is there")
    }
    async fn open_and_read(path: PathBuf, buffer: &mut [u8]) {
        let file = AsyncFile::open(path).await.expect("the file is there");
        file.read_exact(buffer).await.expect("it has as many bytes");
    }
    async fn spawn_and_wait(program: &'static str) {
        let child = Child::spawn(&mut Command::new(program));
        let status = child.expect("the program is there").wait().await;
        assert!(status.expect("it is a child").success());
    }
    async fn run_blocking<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> T {
        pool::run(function).await
    }
}
