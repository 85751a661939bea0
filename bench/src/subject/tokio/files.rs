//! Files, processes and blocking functions of tokio.

use std::path::PathBuf;

use tokio::fs::{self, File};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::task;

use super::Tokio;
use crate::runtime::Files;

impl Files for Tokio {
    async fn read(path: PathBuf) -> Vec<u8> {
        fs::read(path).await.expect("the file is there")
    }
    async fn open_and_read(path: PathBuf, buffer: &mut [u8]) {
        let mut file = File::open(path).await.expect("the file is there");
        file.read_exact(buffer).await.expect("it has as many bytes");
    }
    async fn spawn_and_wait(program: &'static str) {
        let child = Command::new(program).spawn();
        let status = child.expect("the program is there").wait().await;
        assert!(status.expect("it is a child").success());
    }
    async fn run_blocking<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> T {
        task::spawn_blocking(function).await.expect("it does not panic")
    }
}
