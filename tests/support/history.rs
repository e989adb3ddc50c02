//! Checks the rules of HLS that span time, which no single version of a playlist can break: fed
//! every version ever published, it says every breach. It reads playlists by itself and shares
//! no code with the program, so that it can disagree with it.
//!
//! Rules: RFC 8216 sections 4.3.3.1 (target duration), 4.3.2.6 (program date time), 6.2.1 and
//! 6.2.2 (live playlists), and what the project promises beside them.
#![allow(dead_code)] // Each test binary uses its own part of it.

#[path = "history_media.rs"]
pub mod media;
#[path = "history_parse.rs"]
pub mod parse;
#[path = "history_watch.rs"]
pub mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use parse::{Listed, Version};
use stream_processor::model::{Clock, SystemClock, UtcMillis};

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The text is no media playlist, or says something twice.
    Syntax,
    /// EXT-X-VERSION is at least 3, at least 6 with EXT-X-MAP, and constant.
    Version,
    /// One constant EXT-X-TARGETDURATION.
    TargetDuration,
    /// No EXTINF rounds to more than it.
    TooLong,
    /// Neither EXT-X-PLAYLIST-TYPE nor EXT-X-ENDLIST while live.
    NotLive,
    /// EXT-X-MEDIA-SEQUENCE never steps back and counts what was removed.
    MediaSequence,
    /// EXT-X-DISCONTINUITY-SEQUENCE counts the discontinuities removed.
    DiscontinuitySequence,
    /// What stays listed stays as it was, character by character.
    Changed,
    /// Nothing is removed if less than three target durations would stay.
    TooShort,
    /// A listed file exists and is whole.
    File,
    /// No file is listed twice.
    Repeated,
    /// EXT-X-PROGRAM-DATE-TIME at each discontinuity and at least once, zoned, to the
    /// millisecond.
    DateTime,
    /// Time goes forward through the playlist.
    Ascending,
    /// Within a run, a segment's first timestamp is the end of the one before, and EXTINF is
    /// what the file lasts.
    Timestamps,
}

/// One breach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// In which version, counted from 0 in the order fed.
    pub version: usize,
    /// When it was found.
    pub seen_at: UtcMillis,
    pub rule: Rule,
    pub detail: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}: {:?}: {}", self.version, self.rule, self.detail)
    }
}

/// Remembers one version and judges the next by it.
#[derive(Default)]
pub struct HistoryChecker {
    folder: Option<PathBuf>,
    versions: usize,
    last_text: String,
    last: Option<Version>,
    /// Every file ever listed, and how long it was when it first was.
    sizes: BTreeMap<String, u64>,
    /// Every segment ever listed, in order.
    listed: Vec<Listed>,
    /// When each version was seen, and the time that it shows last.
    progress: Vec<(UtcMillis, UtcMillis)>,
    breaches: Vec<Breach>,
}

impl HistoryChecker {
    /// Judges texts alone.
    pub fn of_texts() -> Self {
        Self::default()
    }

    /// Judges texts and the files that they list, relative to `folder`.
    pub fn of_folder(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..Self::default() }
    }

    /// How many different versions were fed.
    pub fn versions(&self) -> usize {
        self.versions
    }

    /// Every segment ever listed, oldest first.
    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }

    /// When each version was seen, and until when its pictures last, by the cameras' clocks.
    pub fn progress(&self) -> &[(UtcMillis, UtcMillis)] {
        &self.progress
    }

    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    fn breach(&mut self, rule: Rule, detail: String) {
        let seen_at = SystemClock.now();
        self.breaches.push(Breach { version: self.versions, seen_at, rule, detail });
    }

    /// Judges the next version; the same text again is no version.
    pub fn feed(&mut self, text: &str) {
        if text == self.last_text {
            return;
        }
        self.last_text = text.to_owned();
        match parse::parse(text) {
            Ok(version) => {
                if let (Some(starts), Some(last)) = (version.starts(), version.segments.last()) {
                    let lasts = i64::try_from(last.duration_millis).unwrap_or(i64::MAX);
                    let end = starts.last().map(|start| UtcMillis(start.saturating_add(lasts)));
                    self.progress.extend(end.map(|end| (SystemClock.now(), end)));
                }
                self.judge_alone(&version);
                match self.last.take() {
                    Some(before) => self.judge_step(&before, &version),
                    None => self.list(&version.segments),
                }
                self.last = Some(version);
            }
            Err(detail) => self.breach(Rule::Syntax, detail),
        }
        self.versions += 1;
    }

    fn judge_alone(&mut self, version: &Version) {
        let needed = if version.segments.iter().any(|s| s.map.is_some()) { 6 } else { 3 };
        if version.version < needed {
            self.breach(Rule::Version, format!("{} where {needed} is needed", version.version));
        }
        if let Some(tag) = &version.not_live {
            self.breach(Rule::NotLive, tag.clone());
        }
        let mut seen = std::collections::BTreeSet::new();
        for segment in &version.segments {
            let rounded = (segment.duration_millis + 500) / 1_000;
            if rounded > version.target_secs {
                let detail = format!("{} lasts {} ms", segment.uri, segment.duration_millis);
                self.breach(Rule::TooLong, detail);
            }
            if !seen.insert(&segment.uri) {
                self.breach(Rule::Repeated, segment.uri.clone());
            }
            if segment.discontinuity && segment.date_millis.is_none() {
                self.breach(Rule::DateTime, format!("{} has none", segment.uri));
            }
            if segment.bad_date {
                let detail = format!("{}: zone or milliseconds are missing", segment.uri);
                self.breach(Rule::DateTime, detail);
            }
        }
        if !version.segments.is_empty() && version.starts().is_none() {
            self.breach(Rule::DateTime, "there is none".into());
        }
        let starts = version.starts().unwrap_or_default();
        for (pair, segment) in starts.windows(2).zip(version.segments.iter().skip(1)) {
            if pair[1] <= pair[0] {
                let detail = format!("{} starts at {} after {}", segment.uri, pair[1], pair[0]);
                self.breach(Rule::Ascending, detail);
            }
        }
    }

    fn judge_step(&mut self, before: &Version, after: &Version) {
        if after.target_secs != before.target_secs {
            let detail = format!("{} became {}", before.target_secs, after.target_secs);
            self.breach(Rule::TargetDuration, detail);
        }
        if after.version != before.version {
            let detail = format!("{} became {}", before.version, after.version);
            self.breach(Rule::Version, detail);
        }
        let (old, new) = (before.media_sequence, after.media_sequence);
        let removed = match usize::try_from(new.wrapping_sub(old)) {
            Ok(removed) if new >= old && removed <= before.segments.len() => removed,
            _ => {
                let listed = before.segments.len();
                self.breach(Rule::MediaSequence, format!("{old} with {listed} became {new}"));
                self.list(&after.segments);
                return;
            }
        };
        let (gone, kept) = before.segments.split_at(removed);
        let discontinuities = gone.iter().filter(|segment| segment.discontinuity).count() as u64;
        if after.discontinuity_sequence != before.discontinuity_sequence + discontinuities {
            let (old, new) = (before.discontinuity_sequence, after.discontinuity_sequence);
            let detail = format!("{old} became {new}; {discontinuities} were removed");
            self.breach(Rule::DiscontinuitySequence, detail);
        }
        let total: u64 = after.segments.iter().map(|segment| segment.duration_millis).sum();
        if removed > 0 && total < 3_000 * after.target_secs {
            self.breach(Rule::TooShort, format!("{total} ms stay listed"));
        }
        if after.segments.len() < kept.len() {
            let detail = format!("{} entries of {} are gone", kept.len(), after.segments.len());
            self.breach(Rule::MediaSequence, detail);
        }
        for (old, new) in kept.iter().zip(&after.segments) {
            if old != new {
                let detail = format!("{:?} became {:?}", old.text(), new.text());
                // A wrong count shows as other entries: one breach says it.
                let rule = if old.uri == new.uri { Rule::Changed } else { Rule::MediaSequence };
                self.breach(rule, detail);
                break;
            }
        }
        let added = after.segments.get(kept.len()..).unwrap_or_default();
        for segment in added {
            if self.sizes.contains_key(&segment.uri) {
                self.breach(Rule::Repeated, format!("{} is listed again", segment.uri));
            }
        }
        self.list(added);
    }

    /// Takes note of segments that are listed for the first time, and looks at their files.
    fn list(&mut self, added: &[Listed]) {
        for segment in added {
            for uri in segment.map.iter().chain([&segment.uri]) {
                let size = match &self.folder {
                    Some(folder) => std::fs::metadata(folder.join(uri)).map_or(0, |m| m.len()),
                    None => u64::MAX,
                };
                if size == 0 {
                    self.breach(Rule::File, format!("{uri} is missing or empty when listed"));
                }
                self.sizes.entry(uri.clone()).or_insert(size);
            }
            self.listed.push(segment.clone());
        }
    }

    /// What a listed file must measure, by the program's own records.
    pub fn expect_size(&mut self, uri: &str, bytes: u64) {
        match self.sizes.get(uri) {
            Some(size) if *size != bytes => {
                let detail = format!("{uri} had {size} bytes when listed, {bytes} by the records");
                self.breach(Rule::File, detail);
            }
            _ => {}
        }
    }

    /// Looks at every file ever listed once more: it must be as it was when it was listed. (No
    /// test run lasts long enough for a removed one to be deleted.)
    pub fn finish(mut self) -> Self {
        if let Some(folder) = self.folder.clone() {
            for (uri, size) in self.sizes.clone() {
                let now = std::fs::metadata(folder.join(&uri)).map_or(0, |m| m.len());
                if now != size {
                    let detail = format!("{uri} had {size} bytes when listed, has {now} now");
                    self.breach(Rule::File, detail);
                }
            }
        }
        self
    }

    /// Decodes the media files of all segments ever listed and judges their timestamps.
    pub fn check_media(&mut self) {
        let Some(folder) = self.folder.clone() else { return };
        for detail in media::judge(&folder, &self.listed) {
            self.breach(Rule::Timestamps, detail);
        }
    }

    /// Panics with every breach if there is one, or if nothing was fed.
    pub fn assert_clean(&self) {
        assert!(self.versions > 0, "no version of the playlist was seen");
        let all: Vec<_> = self.breaches.iter().map(ToString::to_string).collect();
        assert!(all.is_empty(), "{} breaches:\n{}", all.len(), all.join("\n"));
    }
}
