//! Files, processes and blocking functions of smol.

use std::path::PathBuf;

use smol::fs::{self, File};
use smol::io::AsyncReadExt;
use smol::process::Command;

use super::Smol;
use crate::runtime::Files;

impl Files for Smol {
    async fn read(path: PathBuf) -> Vec<u8> {
        fs::read(path).await.expect("the file is there")
    }
    async fn open_and_read(path: PathBuf, buffer: &mut [u8]) {
        let mut file = File::open(path).await.expect("the file is there");
        file.read_exact(buffer).await.expect("it has as many bytes");
    }
    async fn spawn_and_wait(program: &'static str) {
        let child = Command::new(program).spawn();
        let status = child.expect("the program is there").status().await;
        assert!(status.expect("it is a child").success());
    }
    async fn run_blocking<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> T {
        smol::unblock(function).await
    }
}
