//! `export` and `still`: a piece of a device's stream as a file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::assembly::open_store_to_read;
use super::progress::bar;
use super::signals::stop_on_signals;
use super::{CommandError, say};
use crate::cli::{ExportArgs, StillArgs};
use crate::config::Config;
use crate::export::{ClipFile, ExportError, Which, clip, frame_of, when};
use crate::media::clip::{ClipError, ClipSpan};
use crate::model::{Clock, DeviceKey, SystemClock, UtcMillis};
use crate::store::Store;

/// How often a line is written where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Writes the clip.
///
/// # Errors
/// Instants that are none, a span of which nothing is kept, a file that is there already.
pub async fn run(config: Config, args: ExportArgs) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let key = device(&args.client, &args.device)?;
    let now = SystemClock.now();
    let span =
        ClipSpan { from: instant("--from", &args.from, now)?, to: instant("--to", &args.to, now)? };
    let target = Target::new(&args.output, args.force)?;
    let store = open_store_to_read(&config.storage, &config.processing).await?;
    let bar = Progress::new();
    let prepared = tokio::select! {
        prepared = ClipFile::prepare(&store, &key, span, |done, of| bar.show("read", done, of)) => prepared,
        () = stop.cancelled() => return Err(interrupted()),
    };
    let file = match prepared {
        Ok(file) => file,
        Err(error) => return Err(explain(&store, &key, error).await),
    };
    write(&file, target, &bar, &stop).await?;
    bar.0.finish_and_clear();
    let shown = file.shown();
    let silences = match file.silences() {
        0 => String::new(),
        1 => ", less one silence".to_owned(),
        count => format!(", less {count} silences"),
    };
    say(&format!(
        "{}: {:.3} s, {} to {}{silences}",
        args.output.display(),
        file.duration_secs(),
        shown.from,
        shown.to,
    ));
    Ok(())
}

/// Writes the frame.
///
/// # Errors
/// As [`run`].
pub async fn still(config: Config, args: StillArgs) -> Result<(), CommandError> {
    let key = device(&args.client, &args.device)?;
    let at = instant("--at", &args.at, SystemClock.now())?;
    let mut target = Target::new(&args.output, args.force)?;
    let store = open_store_to_read(&config.storage, &config.processing).await?;
    let still = frame_of(&store, &key, at, Which::Nearest)
        .await
        .map_err(|e| CommandError::because(format!("there is no frame of {key} for {at}"), e))?;
    target.append(&still.jpeg)?;
    target.keep()?;
    say(&format!("{}: taken {}", args.output.display(), still.captured_at));
    Ok(())
}

fn device(client: &str, device: &str) -> Result<DeviceKey, CommandError> {
    DeviceKey::new(client, device)
        .map_err(|e| CommandError::because(format!("{client:?} {device:?} is no device"), e))
}

fn instant(flag: &str, text: &str, now: UtcMillis) -> Result<UtcMillis, CommandError> {
    when::parse(text, now).ok_or_else(|| {
        CommandError::new(format!(
            "{flag} takes an instant such as 2026-01-31T08:00:00Z, 2026-01-31T05:00:00-03:00, \
             -10m or now, not {text:?}"
        ))
    })
}

fn interrupted() -> CommandError {
    CommandError::new("interrupted: no file was written")
}

/// What is wrong, and what there is instead.
async fn explain(store: &Store, key: &DeviceKey, error: ExportError) -> CommandError {
    let sentence = format!("there is no such clip of {key}");
    let nothing = matches!(error, ExportError::Clip(ClipError::Nothing { .. }));
    let kept = clip::coverage(store, key).await.ok().and_then(|coverage| coverage.span());
    match kept.filter(|_| nothing) {
        Some(kept) => CommandError::because(
            format!(
                "{sentence} (its stream and archives are kept from {} to {})",
                kept.from, kept.to
            ),
            error,
        ),
        None => CommandError::because(sentence, error),
    }
}

async fn write(
    file: &ClipFile,
    mut target: Target,
    bar: &Progress,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    target.append(&file.header())?;
    for index in 0..file.parts() {
        let part = tokio::select! {
            part = file.part(index) => part,
            () = stop.cancelled() => return Err(interrupted()),
        };
        target
            .append(&part.map_err(|e| CommandError::because("the clip cannot be written", e))?)?;
        bar.show("written", index + 1, file.parts());
    }
    target.keep()
}

/// A file that has its name only once it is whole.
struct Target {
    file: std::fs::File,
    partial: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl Target {
    fn new(path: &Path, replace: bool) -> Result<Self, CommandError> {
        if path.exists() && !replace {
            return Err(CommandError::new(format!(
                "{} is there already: give another name, or --force to replace it",
                path.display()
            )));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let partial = PathBuf::from(name);
        let file = std::fs::File::create(&partial).map_err(|e| cannot(path, e))?;
        Ok(Self { file, partial, path: path.to_owned(), kept: false })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.file.write_all(bytes).map_err(|e| cannot(&self.path, e))
    }

    fn keep(mut self) -> Result<(), CommandError> {
        std::fs::rename(&self.partial, &self.path).map_err(|e| cannot(&self.path, e))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

fn cannot(path: &Path, error: io::Error) -> CommandError {
    CommandError::because(format!("{} cannot be written", path.display()), error)
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress(ProgressBar, std::cell::Cell<std::time::Instant>);

impl Progress {
    fn new() -> Self {
        Self(
            bar("{bar:30} {pos} of {len} segments {msg}"),
            std::cell::Cell::new(std::time::Instant::now()),
        )
    }

    fn show(&self, what: &'static str, done: usize, of: usize) {
        if !self.0.is_hidden() {
            self.0.set_length(of as u64);
            self.0.set_position(done as u64);
            self.0.set_message(what);
        } else if self.1.get().elapsed() >= TELL_EVERY {
            self.1.set(std::time::Instant::now());
            tracing::info!(done, of, "segments {what}");
        }
    }
}
