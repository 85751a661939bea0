//! Work with files, processes and blocking functions, on any runtime that has them.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process;
use std::time::{Duration, Instant};

use crate::runtime::Files;

/// A runtime for files, as a trait object.
pub(crate) trait FileWork {
    /// Reads a whole file by its name, a number of times.
    fn read_whole(&mut self, times: usize) -> Duration;
    /// Opens a file and reads it into a buffer that is there, a number of times.
    fn open_and_read(&mut self, times: usize) -> Duration;
    /// Starts a process that ends at once and waits for it, a number of times.
    fn spawn_and_wait(&mut self, times: usize) -> Duration;
    /// Runs a blocking function that does nothing, a number of times.
    fn run_blocking(&mut self, times: usize) -> Duration;
}

/// The length of the file.
pub(crate) const LENGTH: usize = 1024 * 1024;

impl<R: Files> FileWork for R {
    fn read_whole(&mut self, times: usize) -> Duration {
        let file = TheFile::new();
        self.block_on(async move {
            let started = Instant::now();
            for _ in 0..times {
                assert_eq!(R::read(file.0.clone()).await.len(), LENGTH);
            }
            started.elapsed()
        })
    }

    fn open_and_read(&mut self, times: usize) -> Duration {
        let file = TheFile::new();
        let mut buffer = vec![0; LENGTH];
        self.block_on(async move {
            let started = Instant::now();
            for _ in 0..times {
                R::open_and_read(file.0.clone(), &mut buffer).await;
            }
            started.elapsed()
        })
    }

    fn spawn_and_wait(&mut self, times: usize) -> Duration {
        self.block_on(async move {
            let started = Instant::now();
            for _ in 0..times {
                R::spawn_and_wait("/bin/true").await;
            }
            started.elapsed()
        })
    }

    fn run_blocking(&mut self, times: usize) -> Duration {
        self.block_on(async move {
            let started = Instant::now();
            for number in 0..times {
                assert_eq!(R::run_blocking(move || number).await, number);
            }
            started.elapsed()
        })
    }
}

/// A file in the system's cache, removed in the end.
struct TheFile(PathBuf);

impl TheFile {
    fn new() -> TheFile {
        let path = env::temp_dir().join(format!("asyncoro-bench-{}", process::id()));
        let written: io::Result<()> = fs::write(&path, vec![b'x'; LENGTH]);
        written.expect("the folder for temporary files can be written to");
        TheFile(path)
    }
}

impl Drop for TheFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
