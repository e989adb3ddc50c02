//! The file of tokens on disk: read at start, and again when it has changed.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Gate;
use super::tokens::{Tokens, TokensError};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A larger file is none of tokens.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("the file of tokens {} cannot be read", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it holds is not right.
    #[error("the file of tokens {} is not right", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: TokensError,
    },
}

/// What tells one content of the file from the next: a mounted secret is replaced by a link to
/// another folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    len_bytes: u64,
    modified: (i64, i64),
}

/// A file that has been read and may change.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    seen: Option<Stamp>,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`TokenFileError`].
    pub fn open(path: PathBuf) -> Result<(Self, Tokens), TokenFileError> {
        // Looked at before it is read: a change in between is found the next time.
        let seen = stamp(&path);
        let tokens = read(&path)?;
        Ok((Self { path, seen }, tokens))
    }

    /// Gives the gate the tokens of the file whenever it has changed. A file that is not right,
    /// or not there, changes nothing and is logged once.
    pub async fn follow(mut self, gate: Gate, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let looking = tokio::task::spawn_blocking(move || {
                let read = self.changed();
                (self, read)
            });
            let read;
            (self, read) = match looking.await {
                Ok(looked) => looked,
                Err(error) => {
                    tracing::error!(%error, "the file of tokens is no longer looked at");
                    return;
                }
            };
            match read {
                None => {}
                Some(Ok(tokens)) => {
                    tracing::info!(tokens = tokens.len(), "the file of tokens has been read anew");
                    gate.replace_tokens(tokens);
                }
                Some(Err(error)) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the tokens that were read before stay in force");
                }
            }
        }
    }

    /// The tokens, if the file has changed.
    fn changed(&mut self) -> Option<Result<Tokens, TokenFileError>> {
        let now = stamp(&self.path);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(read(&self.path))
    }
}

fn read(path: &Path) -> Result<Tokens, TokenFileError> {
    let io = |source| TokenFileError::Io { path: path.to_owned(), source };
    let len_bytes = std::fs::metadata(path).map_err(io)?.len();
    if len_bytes > MAX_FILE_BYTES {
        return Err(io(io::ErrorKind::FileTooLarge.into()));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    Tokens::parse(&text).map_err(|source| TokenFileError::Content { path: path.to_owned(), source })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: meta.dev(),
        inode: meta.ino(),
        len_bytes: meta.len(),
        modified: (meta.mtime(), meta.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_has_changed_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.yaml");
        let entry = "- token: a-long-random-text\n  clients: \"*\"\n";
        std::fs::write(&path, entry).unwrap();
        let (mut file, tokens) = TokenFile::open(path.clone()).unwrap();
        assert_eq!(tokens.len(), 1);
        assert!(file.changed().is_none());
        std::fs::write(&path, entry.repeat(2)).unwrap();
        assert_eq!(file.changed().unwrap().unwrap().len(), 2);
        assert!(file.changed().is_none());
        std::fs::write(&path, "nonsense").unwrap();
        assert!(file.changed().unwrap().is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(file.changed().unwrap().is_err());
        assert!(file.changed().is_none());
        assert!(TokenFile::open(path).is_err());
    }
}
