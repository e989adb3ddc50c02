//! Extending a stream of a whole day against extending a new one.

use std::path::Path;

use sha2::{Digest, Sha256};
use stream_processor::playlist::Window;
use stream_processor::store::DeviceState;

use super::footage::Failure;
use super::store_fixture::{commit_next, fill, hls, roomy_base, store};
use super::table::{Row, Section, Wanted};
use super::usage::{median, own_cpu};

/// How many segments a new stream gets before another takes its place.
const NEW_STREAM: u64 = 10;

/// CPU time of a commit to a stream of `segments` against one to a new stream, in turns.
pub async fn commits(segments: u64, pairs: u64) -> Result<Section, Failure> {
    let mut section =
        Section::new("Commit: extending a long stream against a new one", &["CPU us"], "ratio", 2);
    section.note("CPU of a commit, in microseconds, of a tiny segment to memory. The playlist's own bytes are");
    section.note(
        "read, hashed, parsed, written out, hashed and stored: measured by doing that alone.",
    );
    let old = roomy_base();
    let old_store = store(old.path());
    let mut old_state = fill(&old_store, segments).await;
    let (mut long, mut new, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut fresh: Option<(tempfile::TempDir, _, DeviceState)> = None;
    for _ in 0..pairs {
        if fresh.as_ref().is_none_or(|(.., state)| state.next_segment >= NEW_STREAM) {
            let base = roomy_base();
            let store = store(base.path());
            let state = fill(&store, 1).await;
            fresh = Some((base, store, state));
        }
        let before = own_cpu();
        old_state = commit_next(&old_store, &old_state).await?;
        long.push(micros_since(before));
        let before = own_cpu();
        work_on_the_playlist(&hls(old.path()))?;
        bytes.push(micros_since(before));
        if let Some((_, store, state)) = &mut fresh {
            let before = own_cpu();
            *state = commit_next(store, state).await?;
            new.push(micros_since(before));
        }
    }
    let (long, new, bytes) = (median(&long), median(&new), median(&bytes));
    let kib = std::fs::metadata(hls(old.path()).join("playlist.m3u8"))?.len() as f64 / 1_024.0;
    let cell = |micros: f64| [format!("{micros:.0}")];
    section.push(Row::new("new stream", cell(new)));
    section.push(Row::new(format!("stream of {segments} segments"), cell(long)).figure(long / new));
    section.push(Row::new(format!("its playlist's {kib:.0} KiB alone"), cell(bytes)));
    section.push(
        Row::new("the long stream without them", cell(long - bytes))
            .required((long - bytes) / new, Wanted::AtMost(1.1)),
    );
    Ok(section)
}

/// What a commit cannot do without however it is written: see the section's notes.
fn work_on_the_playlist(hls: &Path) -> Result<(), Failure> {
    let text = std::fs::read(hls.join("playlist.m3u8"))?;
    let mut hashes = Sha256::digest(&text).to_vec();
    let playlist = Window::parse(std::str::from_utf8(&text)?)?.render();
    hashes.extend(Sha256::digest(playlist.as_bytes()));
    std::hint::black_box(hashes);
    let file = hls.join("playlist.alone");
    std::fs::write(&file, playlist)?;
    std::fs::remove_file(&file)?;
    Ok(())
}

fn micros_since(before: std::time::Duration) -> f64 {
    (own_cpu() - before).as_secs_f64() * 1e6
}
