//! What is in a folder and below, read on the pool a piece at a time.

use std::{
    collections::VecDeque,
    fmt,
    fs::{self, FileType, ReadDir},
    future::{Future, poll_fn},
    io,
    path::{Path, PathBuf},
    pin::Pin,
};

use crate::{
    error,
    pool::{self, Call},
};

/// How many entries are read ahead at most.
const PIECE: usize = 128;

/// Walks through a folder and all below it, parents before what is in them.
///
/// Links are shown and not followed, so no loop is entered; `path` itself may be one. (One that
/// replaces a folder while the walk runs may be followed.) What is in a folder comes in the
/// system's order. At most 128 entries are read ahead, and one descriptor is open for each level.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let mut walk = asyncoro::file::walk("src/file");
///     let mut names = Vec::new();
///     while let Some(entry) = walk.next().await? {
///         if entry.file_type().is_file() {
///             names.push(entry.path().file_name().unwrap().to_owned());
///         }
///     }
///     assert!(names.iter().any(|name| name == "walk.rs"));
///     Ok(())
/// })
/// # }
/// ```
pub fn walk(path: impl AsRef<Path>) -> Walk {
    let start = Folders { unopened: Some((path.as_ref().to_owned(), 1)), open: Vec::new() };
    Walk { folders: Some(start), ready: VecDeque::new(), reading: None, max_depth: usize::MAX }
}

/// A walk through folders; made by [`walk`].
#[must_use = "a walk does nothing unless asked for its next entry"]
pub struct Walk {
    /// Where it has come to; `None` while the pool has it.
    folders: Option<Folders>,
    ready: VecDeque<io::Result<Entry>>,
    reading: Option<Call<(Folders, VecDeque<io::Result<Entry>>)>>,
    max_depth: usize,
}

/// The folders from the start down to where the walk is.
struct Folders {
    /// The next to be opened, and the depth of what is in it.
    unopened: Option<(PathBuf, usize)>,
    open: Vec<ReadDir>,
}

/// What a walk has found.
#[derive(Clone, Debug)]
pub struct Entry {
    path: PathBuf,
    file_type: FileType,
    depth: usize,
}

impl Entry {
    /// Returns its path: that of the walk, and what leads from there.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Converts into its path.
    pub fn into_path(self) -> PathBuf {
        self.path
    }

    /// Tells whether it is a file, a folder or a link; of a link, not what that leads to.
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Returns how many levels below the start it is; 1 for what is in that folder.
    pub fn depth(&self) -> usize {
        self.depth
    }
}

impl Walk {
    /// Limits how far down it goes: 1 for what is in the folder itself.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let mut walk = asyncoro::file::walk("src").max_depth(1);
    ///     while let Some(entry) = walk.next().await? {
    ///         assert_eq!(entry.depth(), 1);
    ///     }
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn max_depth(mut self, depth: usize) -> Walk {
        self.max_depth = depth;
        self
    }

    /// Returns the next entry; `None` at the end.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let mut walk = asyncoro::file::walk("/nowhere");
    ///     assert!(walk.next().await.is_err());
    ///     assert!(walk.next().await?.is_none());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's, with the path, for a folder that cannot be read. The next call goes on behind
    /// it.
    ///
    /// # Cancel
    /// No entry was taken.
    pub async fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return entry.map(Some);
            }
            if self.reading.is_none() {
                match self.folders.take() {
                    Some(folders) if folders.is_done() => {
                        self.folders = Some(folders);
                        return Ok(None);
                    }
                    // Only after a panic of the pool's.
                    None => return Ok(None),
                    Some(folders) => {
                        let max_depth = self.max_depth;
                        self.reading = Some(pool::run(move || folders.read(max_depth)));
                    }
                }
            }
            let (folders, ready) = poll_fn(|cx| {
                let reading = self.reading.as_mut().expect("it was begun");
                let polled = Pin::new(reading).poll(cx);
                if polled.is_ready() {
                    self.reading = None;
                }
                polled
            })
            .await;
            (self.folders, self.ready) = (Some(folders), ready);
        }
    }
}

impl Folders {
    fn is_done(&self) -> bool {
        self.unopened.is_none() && self.open.is_empty()
    }

    /// Reads a piece.
    fn read(mut self, max_depth: usize) -> (Folders, VecDeque<io::Result<Entry>>) {
        let mut found = VecDeque::with_capacity(PIECE);
        while found.len() < PIECE && !self.is_done() {
            if let Some((path, depth)) = self.unopened.take() {
                match fs::read_dir(&path) {
                    Ok(_) if depth > max_depth => {}
                    Ok(folder) => self.open.push(folder),
                    Err(error) => {
                        found.push_back(Err(error::context("walk", path.display(), error)));
                    }
                }
                continue;
            }
            let depth = self.open.len();
            let Some(folder) = self.open.last_mut() else { break };
            match folder.next() {
                None => drop(self.open.pop()),
                Some(Err(error)) => {
                    // It may fail for ever.
                    self.open.pop();
                    found.push_back(Err(error));
                }
                Some(Ok(entry)) => match entry.file_type() {
                    Err(error) => {
                        let path = entry.path();
                        found.push_back(Err(error::context("walk", path.display(), error)));
                    }
                    Ok(file_type) => {
                        let path = entry.path();
                        if file_type.is_dir() && depth < max_depth {
                            self.unopened = Some((path.clone(), depth + 1));
                        }
                        found.push_back(Ok(Entry { path, file_type, depth }));
                    }
                },
            }
        }
        (self, found)
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}
