//! Commands on a storage, what they say, and live cameras for a worker.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pulsar::producer::Message;
use stream_processor::demo::feed::{frame_message, frame_path};
use stream_processor::model::{Clock, DeviceKey, EventId, SystemClock};
use stream_processor::store::Store;
use stream_processor::store::layout::hls_folder;

use crate::broker::Broker;
use crate::fleet::device;
use crate::pictures;

/// A port where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// Every command that works on a storage, with what it takes. Only the last two change nothing.
pub const COMMANDS: [&[&str]; 7] = [
    &["consumer"],
    &["offline-checker"],
    &["cleanup"],
    &["archive-cleanup"],
    &["reset-device", "acme", "a"],
    &["serve"],
    &["export", "acme", "a", "--from=-10m", "-o", "clip.mp4"],
];
/// How many of them change something.
pub const CHANGING: usize = 5;

/// A command on the folder `base`, with segments of two seconds.
pub fn command(base: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stream-processor"));
    command
        .args(args)
        .env_clear()
        .current_dir(std::env::temp_dir())
        .env("PULSAR_SERVICE_URL", format!("pulsar://{NOBODY}"))
        .env("STORAGE_BASE_PATH", base)
        .env("PROCESSING_SEGMENT_DURATION_SECONDS", "2")
        .env("ARCHIVE_OFFLINE_THRESHOLD_SECONDS", "10")
        .env("SERVE_ADDRESS", "127.0.0.1")
        .env("SERVE_PORT", "0")
        .env("SERVE_AUTH", "none")
        .env("METRICS_ADDRESS", "127.0.0.1")
        .env("METRICS_PORT", "0")
        .env("LOG_FORMAT", "json");
    command
}

/// What a command that has ended came to.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub said: String,
    pub log: String,
}

/// Runs a command to its end.
pub fn ended(mut command: Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), said: text(&output.stdout), log: text(&output.stderr) }
}

/// Runs a command on `base` to its end.
pub fn run(base: &Path, args: &[&str]) -> Ended {
    ended(command(base, args))
}

/// The command without the rights of root, so that the modes of files hold.
pub fn limited(command: &Command) -> Command {
    let uid = rustix::process::geteuid();
    let mut limited = match uid.is_root() {
        true => {
            let rights = "-dac_override,-dac_read_search";
            let mut setpriv = Command::new("/usr/bin/setpriv");
            setpriv.args(["--bounding-set", rights, "--inh-caps", rights, "--"]);
            setpriv.arg(command.get_program());
            setpriv
        }
        false => Command::new(command.get_program()),
    };
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    limited.args(command.get_args()).env_clear().envs(variables).current_dir(std::env::temp_dir());
    limited
}

/// Sets what may be done with a folder.
pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The folder of a camera's stream.
pub fn hls(base: &Path, name: &str) -> PathBuf {
    base.join(hls_folder(&device(name)))
}

/// The names in a folder; none if there is no such folder.
pub fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Frames of cameras that are live now.
pub struct Live {
    pub cameras: Vec<DeviceKey>,
    next: usize,
    placed: Vec<Message>,
}

impl Live {
    pub fn of(names: &[&str]) -> Self {
        let cameras = names.iter().map(|name| device(name)).collect();
        Self { cameras, next: 0, placed: Vec::new() }
    }

    /// Uploads and publishes so many frames more of each camera.
    pub async fn film(&mut self, base: &Path, broker: &Broker, topic: &str, frames: usize) {
        self.place(base, frames);
        self.publish(broker, topic).await;
    }

    /// Uploads so many frames more of each camera, which are half a second apart.
    pub fn place(&mut self, base: &Path, frames: usize) {
        let start = SystemClock.now().plus_millis(-60_000);
        for index in self.next..self.next + frames {
            let at = start.plus_millis(i64::try_from(index).unwrap() * 500);
            for key in &self.cameras {
                let id = id(key, index);
                let path = frame_path(key, &id);
                let payload = frame_message(key, &id, at, &path).unwrap();
                let file = base.join(&path);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, pictures::good(index)).unwrap();
                self.placed.push(Message {
                    payload,
                    partition_key: Some(key.device.to_string()),
                    ..Message::default()
                });
            }
        }
        self.next += frames;
    }

    /// Publishes the events of what was uploaded.
    pub async fn publish(&mut self, broker: &Broker, topic: &str) {
        let messages = std::mem::take(&mut self.placed);
        broker.publisher(topic).await.publish_messages(messages).await;
    }

    /// How many frames there are of all cameras together.
    pub fn frames(&self) -> usize {
        self.next * self.cameras.len()
    }

    /// Each frame is shown once, in order.
    pub async fn assert_whole(&self, store: &Store) {
        for key in &self.cameras {
            let frames = store.committed_frames(key).await.unwrap();
            let shown: Vec<_> = frames.map(|frame| frame.event_id).collect();
            let all: Vec<_> = (0..self.next).map(|index| id(key, index)).collect();
            assert_eq!(shown, all, "{key}");
        }
    }
}

fn id(key: &DeviceKey, index: usize) -> EventId {
    EventId::new(&format!("{}-{index:04}", key.device)).unwrap()
}
