//! The demonstration as somebody meets it who has just fetched the project: one command, one
//! page, and nothing left behind.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

#[path = "support/browser.rs"]
mod browser;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jpeg_encoder::{ColorType, Encoder};

/// How long the first picture may take from the command on: what a person waits for.
const FIRST_PICTURE: Duration = Duration::from_secs(15);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running demonstration with a temporary folder of its own; killed when dropped.
struct Demo {
    child: Child,
    begun: SystemTime,
    said: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
    temporary: tempfile::TempDir,
}

/// How one ended.
struct Ended {
    status: ExitStatus,
    said: Vec<String>,
    temporary: tempfile::TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().expect("a folder");
        let begun = SystemTime::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_stream-processor"))
            .args(["demo", "--port", "0"])
            .args(arguments)
            .current_dir(temporary.path())
            .env_clear()
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demonstration starts");
        let lines = BufReader::new(child.stdout.take().expect("its words")).lines();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&said);
        let listener = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().expect("no listener has panicked").push(line);
            }
        });
        Self { child, begun, said, listener: Some(listener), temporary }
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().expect("no listener has panicked").clone()
    }

    /// The page's address, as soon as it is told.
    fn address(&self) -> String {
        let begun = Instant::now();
        loop {
            let said = self.said();
            let told = said.iter().find_map(|line| line.split_once(" at http://"));
            if let Some((_, rest)) = told {
                let host = rest.split('/').next().expect("a host");
                return format!("http://{host}/");
            }
            assert!(begun.elapsed() < PATIENCE, "no address: {said:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The processes that it has started.
    fn helpers(&self) -> Vec<u32> {
        let parent = self.child.id().to_string();
        let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| parent_of(*pid).as_deref() == Some(&parent)).collect()
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let term = rustix::process::Signal::TERM;
        rustix::process::kill_process(pid.expect("a process id"), term).expect("a signal");
    }

    /// Waits until it has ended, and these helpers with it.
    fn ends(mut self, helpers: Vec<u32>) -> Ended {
        assert!(!helpers.is_empty(), "it has no helpers: {:?}", self.said());
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {:?}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        };
        let left: Vec<_> = helpers.into_iter().filter(|pid| parent_of(*pid).is_some()).collect();
        assert!(left.is_empty(), "processes that are left: {left:?}");
        self.listener.take().expect("a listener").join().expect("it has not panicked");
        let temporary =
            std::mem::replace(&mut self.temporary, tempfile::tempdir().expect("a folder"));
        Ended { status, said: self.said(), temporary }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    fn left_behind(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.temporary.path()).expect("the folder").flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// The numbers of its last line.
    fn summary(&self) -> Summary {
        let line = self.said.iter().rev().find(|line| line.contains("frames taken"));
        let line = line.unwrap_or_else(|| panic!("no summary: {:?}", self.said));
        let number_before = |what: &str| -> u64 {
            let (before, _) = line.split_once(what).unwrap_or_else(|| panic!("{what}: {line}"));
            let word = before.split_whitespace().next_back();
            word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{what}: {line}"))
        };
        Summary {
            cameras: number_before(" cameras"),
            taken: number_before(" frames taken"),
            committed: number_before(" in "),
            refused: number_before(" refused"),
        }
    }
}

struct Summary {
    cameras: u64,
    taken: u64,
    committed: u64,
    refused: u64,
}

/// Field 4 of `/proc/PID/stat` (proc_pid_stat(5)); none when there is no such process.
fn parent_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, brackets too.
    stat.rsplit_once(") ")?.1.split(' ').nth(1).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_are_on_the_page_soon_and_it_ends_by_itself() {
    let demo = Demo::start(&["--duration", "25"]);
    let address = demo.address();
    let page = reqwest::get(&address).await.expect("the page answers");
    assert!(page.status().is_success(), "{}", page.status());

    let folder = tempfile::tempdir().expect("a folder");
    let picture = folder.path().join("wall.png").display().to_string();
    let verdict = browser::run("screenshot.mjs", &[&address, &picture]).await;
    browser::assert_all_good(std::slice::from_ref(&verdict));
    let begun = demo.begun.duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    let shown = u128::from(verdict.found["firstPictureAtMillis"].as_u64().expect("an instant"));
    let took = Duration::from_millis(u64::try_from(shown - begun).expect("a short time"));
    println!("the first picture was shown after {:.1} s", took.as_secs_f64());
    assert!(took <= FIRST_PICTURE, "the first picture took {took:?}");
    assert_eq!(verdict.found["tiles"], 4);

    let helpers = demo.helpers();
    let ended = tokio::task::spawn_blocking(|| demo.ends(helpers)).await.expect("it ends");
    assert!(ended.status.success(), "{}", ended.status);
    assert_eq!(ended.left_behind(), [] as [PathBuf; 0]);
    let summary = ended.summary();
    assert_eq!((summary.cameras, summary.refused), (4, 0));
    assert!(summary.committed > 0 && summary.committed <= summary.taken);
}

#[tokio::test]
async fn a_person_s_own_pictures_are_shown_with_their_time_and_kept_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["1.jpg", "2.JPEG"] {
        std::fs::write(folder.path().join(name), red_picture()).expect("a picture");
    }
    let frames = folder.path().display().to_string();
    let shown = ["--frames", &frames, "--cameras", "1", "--duration", "10", "--keep"];
    let time = ["--watermark-enabled", "--watermark-position", "bottom_left"];
    let demo = Demo::start(&[&shown[..], &time[..]].concat());
    demo.address();
    let helpers = demo.helpers();
    let ended = tokio::task::spawn_blocking(|| demo.ends(helpers)).await.expect("it ends");
    assert!(ended.status.success(), "{}", ended.status);
    let summary = ended.summary();
    assert!(summary.committed > 0 && summary.refused == 0, "{:?}", ended.said);

    let kept = ended.left_behind();
    let [kept] = kept.as_slice() else { panic!("{kept:?}") };
    let told = format!("The streams are in {}", kept.display());
    assert!(ended.said.contains(&told), "{:?}", ended.said);
    let devices = kept.join("client_ids/demo/device_id");
    let device = std::fs::read_dir(devices).expect("devices").flatten().next().expect("one");
    let picture = first_picture(&device.path().join("hls/segments/seg_000000.ts"));
    let is_red = |pixel: &[u8]| pixel.iter().zip(RED).all(|(is, was)| is.abs_diff(was) <= 8);
    let is_white = |pixel: &[u8]| pixel.iter().all(|part| *part > 200);
    let rows: Vec<_> = picture.chunks(320 * 3).collect();
    assert!(rows[..140].iter().all(|row| row.chunks(3).all(is_red)));
    let letters = rows[140..].iter().flat_map(|row| row.chunks(3)).filter(|pixel| is_white(pixel));
    assert!(letters.count() > 300, "there is no watermark");
}

#[tokio::test]
async fn told_to_stop_it_leaves_nothing_behind() {
    let demo = Demo::start(&["--cameras", "2", "--width", "320", "--height", "180"]);
    let address = demo.address();
    assert!(reqwest::get(&address).await.is_ok_and(|page| page.status().is_success()));
    // In the middle of its work.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let helpers = demo.helpers();
    demo.terminate();
    let ended = tokio::task::spawn_blocking(|| demo.ends(helpers)).await.expect("it ends");
    assert!(ended.status.success(), "{}", ended.status);
    assert_eq!(ended.left_behind(), [] as [PathBuf; 0]);
    assert_eq!(ended.summary().cameras, 2);
}

const RED: [u8; 3] = [220, 30, 30];

fn red_picture() -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = RED.repeat(320 * 180);
    Encoder::new(&mut bytes, 90).encode(&pixels, 320, 180, ColorType::Rgb).expect("a picture");
    bytes
}

/// The first picture of a segment as RGB.
fn first_picture(segment: &Path) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(segment)
        .args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg runs");
    assert_eq!(output.stdout.len(), 320 * 180 * 3, "{output:?}");
    output.stdout
}
