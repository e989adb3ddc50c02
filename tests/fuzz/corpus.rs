//! The inputs that are kept: what broke something once, and one of each class of damage. Every
//! run tries them first.

use std::path::{Path, PathBuf};

/// Every kind of input, each a folder.
pub const KINDS: [&str; 5] = ["event", "h264", "jpeg", "playlist", "segment"];

/// Where they are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// What is kept of a kind, by name.
///
/// # Panics
/// If that is nothing: a folder that was lost would never be missed.
pub fn kept(corpus: &Path, kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpus.join(kind);
    let mut files = listed(&folder);
    files.sort();
    assert!(!files.is_empty(), "nothing is kept in {}", folder.display());
    let read = |file: PathBuf| {
        let input = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        (file, input)
    };
    files.into_iter().map(read).collect()
}

/// What is there that no kind ever tries.
pub fn never_tried(corpus: &Path) -> Vec<PathBuf> {
    let is_kind = |path: &PathBuf| {
        path.is_dir() && KINDS.iter().any(|kind| path.file_name() == Some(kind.as_ref()))
    };
    listed(corpus).into_iter().filter(|path| !is_kind(path)).collect()
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The input that is being tried; whoever drops it in a panic finds it in a file.
pub struct Trying<'a> {
    pub kind: &'static str,
    pub seed: u64,
    pub input: &'a [u8],
}

impl Trying<'_> {
    /// Writes it down, and tells what to do with it.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join(format!("{}-{}", self.kind, self.seed));
        let written =
            std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, self.input));
        match written {
            Ok(()) => eprintln!(
                "{}: the input that fails is {}: once it is mended, keep it in tests/fuzz/corpus/{}",
                self.kind,
                file.display(),
                self.kind
            ),
            Err(error) => eprintln!("{}: cannot be written: {error}", file.display()),
        }
        file
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.write(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz"));
        }
    }
}

#[test]
fn what_is_kept_is_tried() {
    assert_eq!(never_tried(&folder()), Vec::<PathBuf>::new());
    for kind in KINDS {
        assert!(kept(&folder(), kind).len() >= 10, "{kind}");
    }
}

#[test]
fn a_file_of_no_kind_and_an_empty_folder_are_found() {
    let corpus = tempfile::tempdir().unwrap();
    for kind in KINDS {
        std::fs::create_dir(corpus.path().join(kind)).unwrap();
    }
    assert!(never_tried(corpus.path()).is_empty());
    let (stray, unknown) = (corpus.path().join("event.json"), corpus.path().join("evnet"));
    std::fs::write(&stray, "{}").unwrap();
    std::fs::create_dir(&unknown).unwrap();
    let mut found = never_tried(corpus.path());
    found.sort();
    assert_eq!(found, [stray, unknown]);
    assert!(std::panic::catch_unwind(|| kept(corpus.path(), "jpeg")).is_err());
}

#[test]
fn an_input_that_fails_is_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let trying = Trying { kind: "event", seed: 7, input: b"{" };
    assert_eq!(std::fs::read(trying.write(&folder.path().join("fuzz"))).unwrap(), b"{");
}
