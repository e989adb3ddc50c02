//! The workers: real processes, each with its own link to the broker, its own fail points and its
//! own clock. Whoever has ended is started again, as Kubernetes does.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stream_processor::model::{Clock, SystemClock, UtcMillis};

use super::link::Link;
use super::oracle::{Finding, Wrong};
use super::servers::process::{children, signal_process};
use super::worker::{Worker, log_text};

/// What a worker's log says once it works.
const AT_WORK: &str = "the worker takes frames";
/// What Kubernetes gives a pod to leave, and a little for a machine that is busy.
const GRACE: Duration = Duration::from_secs(45);

/// A place that has a worker, most of the time.
pub struct Post {
    pub number: usize,
    /// Which of the topics its workers take from.
    pub topic: usize,
    pub link: Link,
    variables: Vec<(&'static str, String)>,
    fail_points: PathBuf,
    staff: Mutex<Staff>,
}

#[derive(Default)]
struct Staff {
    worker: Option<Worker>,
    is_wanted: bool,
    started: usize,
}

/// All of them.
pub struct Crew {
    binary: PathBuf,
    folder: PathBuf,
    pub posts: Vec<Post>,
    findings: Mutex<Vec<Finding>>,
}

impl Post {
    pub fn new(
        number: usize,
        topic: usize,
        link: Link,
        folder: &Path,
        variables: Vec<(&'static str, String)>,
    ) -> Self {
        let fail_points = folder.join(format!("points-{number}"));
        Self { number, topic, link, variables, fail_points, staff: Mutex::default() }
    }

    fn staff(&self) -> MutexGuard<'_, Staff> {
        self.staff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is to be a worker here.
    pub fn set_wanted(&self, is_wanted: bool) {
        self.staff().is_wanted = is_wanted;
    }

    pub fn is_wanted(&self) -> bool {
        self.staff().is_wanted
    }

    /// Kills the worker, if there is one.
    pub fn kill(&self) {
        if let Some(mut worker) = self.staff().worker.take()
            && worker.ended().is_none()
        {
            worker.kill();
        }
    }

    /// Sends the worker a signal, if there is one; which process that was.
    pub fn signal(&self, signal: Signal) -> Option<u32> {
        let mut staff = self.staff();
        let worker = staff.worker.as_mut()?;
        worker.ended().is_none().then(|| {
            worker.signal(signal);
            worker.id()
        })
    }

    /// Kills one of the worker's helpers, if there is one.
    pub fn kill_helper(&self) {
        let helper = self.staff().worker.as_ref().and_then(|w| children(w.id()).first().copied());
        helper.into_iter().for_each(|helper| signal_process(helper, Signal::KILL));
    }

    /// Sets the worker's fail points, now and for those to come: a `name=action` a line.
    pub fn set_fail_points(&self, points: &str) {
        let written = self.fail_points.with_extension("new");
        std::fs::write(&written, points).expect("a file");
        std::fs::rename(written, &self.fail_points).expect("a file");
    }
}

impl Crew {
    /// With a copy of the worker's binary in `folder`: a run ends with the one it began with.
    pub fn new(folder: &Path, posts: Vec<Post>) -> Self {
        let binary = folder.join("stream-processor");
        std::fs::copy(env!("CARGO_BIN_EXE_stream-processor"), &binary).expect("a copy");
        Self { binary, folder: folder.to_owned(), posts, findings: Mutex::default() }
    }

    /// Starts whoever is wanted and not there, and takes note of who has ended by himself.
    pub fn look_after(&self) {
        for post in &self.posts {
            let mut staff = post.staff();
            if let Some(worker) = &mut staff.worker
                && let Some(status) = worker.ended()
            {
                // One that finds no storage or broker at its start says so and ends.
                if log_text(&self.folder, &worker.name).contains(AT_WORK) {
                    let detail = format!("{}: {status}\n{}", worker.name, worker.log_end());
                    self.note(post, &detail);
                }
                staff.worker = None;
            }
            if staff.worker.is_none() && staff.is_wanted {
                staff.started += 1;
                let name = format!("worker-{}-{:02}", post.number, staff.started);
                let mut command = Command::new(&self.binary);
                command
                    .args(["consumer", "--with-cleanup"])
                    // Who interrupts the run at a terminal does not mean the workers.
                    .process_group(0)
                    .env_clear()
                    .envs(post.variables.iter().map(|(name, value)| (name, value)))
                    .env("PULSAR_SERVICE_URL", post.link.url())
                    .env("FAILPOINTS_FILE", &post.fail_points);
                staff.worker = Some(Worker::run(command, &self.folder, &name));
            }
        }
    }

    /// Tells a worker to leave and waits until it has; it is to be there no more.
    pub async fn leave(&self, post: &Post) {
        let Some(mut worker) = post.staff().worker.take() else { return };
        if worker.ended().is_some() {
            return;
        }
        worker.signal(Signal::TERM);
        let begun = Instant::now();
        loop {
            match worker.ended() {
                Some(status) if status.success() => return,
                Some(status) if log_text(&self.folder, &worker.name).contains(AT_WORK) => {
                    let detail = format!("{} told to leave: {status}", worker.name);
                    return self.note(post, &format!("{detail}\n{}", worker.log_end()));
                }
                Some(_) => return,
                None if begun.elapsed() > GRACE => {
                    let detail = format!("{} does not leave\n{}", worker.name, worker.log_end());
                    return self.note(post, &detail);
                }
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn note(&self, post: &Post, detail: &str) {
        let at: UtcMillis = SystemClock.now();
        let id = format!("post {}", post.number);
        let detail = detail.to_owned();
        let finding = Finding { wrong: Wrong::Worker, device: None, ids: vec![id], at, detail };
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
    }

    /// What is wrong with the workers themselves.
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often a worker was started.
    pub fn started(&self) -> usize {
        self.posts.iter().map(|post| post.staff().started).sum()
    }

    /// What all logs say, worker by worker.
    pub fn logs(&self) -> Vec<(String, String)> {
        let names = self.posts.iter().flat_map(|post| {
            let started = post.staff().started;
            (1..=started).map(|start| format!("worker-{}-{start:02}", post.number))
        });
        names.map(|name| (name.clone(), log_text(&self.folder, &name))).collect()
    }
}
