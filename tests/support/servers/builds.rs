//! Builds the servers that no Debian package brings, and Helm, once, into `target/servers`; again
//! only when what they are built from has changed. Nothing is downloaded but what the lock files
//! name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/servers");
const AZURITE_INPUTS: [&str; 2] = ["azurite/package.json", "azurite/package-lock.json"];

/// The folder of all that servers leave behind, which `cargo clean` removes.
pub fn home() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target folder");
    let home = target.join("servers");
    fs::create_dir_all(&home).expect("the servers' folder");
    home
}

/// A program of the servers' Go module: the last part of its package's name is its own.
pub async fn go_program(package: &'static str) -> PathBuf {
    go_build("go", package).await
}

/// Helm, of a Go module of its own: it would change the versions of the servers' parts.
pub async fn helm() -> PathBuf {
    go_build("helm", "helm.sh/helm/v3/cmd/helm").await
}

async fn go_build(module: &'static str, package: &'static str) -> PathBuf {
    let work = move || {
        let mut build = Command::new(Path::new(SOURCES).join("build.sh"));
        build.args([module, package]);
        String::from_utf8(run(build)).expect("a path in UTF-8").trim_end().into()
    };
    tokio::task::spawn_blocking(work).await.expect("it was built")
}

/// The folder of the npm package Azurite.
pub async fn azurite() -> PathBuf {
    let folder = built("azurite", &AZURITE_INPUTS, move |folder| {
        fs::create_dir_all(folder).expect("a folder");
        for input in AZURITE_INPUTS {
            let from = Path::new(SOURCES).join(input);
            let name = from.file_name().expect("a file name");
            fs::copy(&from, folder.join(name)).expect("the file is copied");
        }
        let mut install = Command::new("npm");
        install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
        run(install);
    });
    folder.await.join("node_modules/azurite")
}

/// What `make` has made at the path that it is given, from these files. One test binary makes
/// it while the others wait.
async fn built(
    name: &'static str,
    inputs: &'static [&'static str],
    make: impl FnOnce(&Path) + Send + 'static,
) -> PathBuf {
    let work = move || {
        let home = home();
        let lock = File::create(home.join(format!("{name}.lock"))).expect("a lock file");
        lock.lock().expect("the lock");
        let read = |input: &&str| fs::read_to_string(Path::new(SOURCES).join(input));
        let wanted: String = inputs.iter().map(|input| read(input).expect("a source")).collect();
        let (made, stamp) = (home.join(name), home.join(format!("{name}.stamp")));
        if fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
            make(&made);
            fs::write(&stamp, wanted).expect("the stamp is written");
        }
        made
    };
    tokio::task::spawn_blocking(work).await.expect("it was built")
}

/// What it prints; it has to succeed.
fn run(mut command: Command) -> Vec<u8> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{program} cannot be run ({error}): scripts/setup.sh says what is missing")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output.stdout
}
