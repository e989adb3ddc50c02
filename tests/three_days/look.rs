//! What is there of a device, read as other software reads it, and held against what has to be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use stream_processor::model::UtcMillis;

use crate::draw::{Device, FRAMES, Filmed};
use crate::oracle::{KEEP, Owed, Session};

/// What was found, for the figures.
#[derive(Debug, Default)]
pub struct Found {
    pub listed: usize,
    pub media: usize,
    pub archives: usize,
}

pub fn folder_of(base: &Path, device: &Device) -> PathBuf {
    base.join(format!("client_ids/{}/device_id/{}", device.key.client, device.key.device))
}

/// The content of a segment's media file: packets of a transport stream by their looks.
pub fn media(device: &Device, filmed: &Filmed) -> Vec<u8> {
    let mut media = vec![0x47; 188 * 2];
    media.extend(format!("{} {}", device.key, filmed.number).bytes());
    media
}

pub fn init(kind: u8) -> Vec<u8> {
    format!("init file {kind}").into_bytes()
}

/// The names in a folder; none if there is no such folder.
pub fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The numbers of the media files among these names.
fn numbers(names: &BTreeSet<String>) -> BTreeSet<u64> {
    let number = |name: &String| name.strip_prefix("seg_")?.split('.').next()?.parse().ok();
    names.iter().filter_map(number).collect()
}

/// A device's files and what has to be said of them when something is wrong.
pub struct Look<'a> {
    folder: PathBuf,
    owed: Owed<'a>,
}

impl<'a> Look<'a> {
    pub fn at(base: &Path, device: &'a Device, now: UtcMillis) -> Self {
        Self { folder: folder_of(base, device), owed: Owed::at(device, now) }
    }

    fn says(&self, what: &str) -> String {
        let Owed { device, now, .. } = &self.owed;
        format!("{} ({:?}) at {now}: {what}", device.key, device.manner)
    }

    /// Nothing is gone that is owed: holds at any instant.
    pub fn nothing_owed_is_gone(&self) {
        let there = numbers(&names(&self.folder.join("hls/segments")));
        for (index, filmed) in self.owed.committed.iter().enumerate() {
            let is_lost = self.owed.must_be_there(index) && !there.contains(&filmed.number);
            assert!(!is_lost, "{}", self.says(&format!("{filmed:?} is gone")));
        }
    }

    /// All that is there is what has to be: holds when nothing was missed of late.
    pub fn all_is_as_it_has_to_be(&self) -> Found {
        if self.owed.committed.is_empty() {
            return Found::default();
        }
        self.nothing_owed_is_gone();
        let listed = self.playlist();
        let media = self.files(&listed);
        self.frames(&media);
        self.history(&media);
        let archives = self.archives();
        Found { listed: listed.len(), media: media.len(), archives }
    }

    /// The numbers that the live playlist lists.
    fn playlist(&self) -> BTreeSet<u64> {
        let text = std::fs::read(self.folder.join("hls/playlist.m3u8")).unwrap();
        let (_, list) = m3u8_rs::parse_media_playlist(&text).unwrap();
        assert!(!list.end_list, "{}", self.says("the live playlist has ended"));
        let first = usize::try_from(list.media_sequence).unwrap();
        let listed = first..first + list.segments.len();
        assert_eq!(listed.end, self.owed.committed.len(), "{}", self.says("the newest is listed"));
        for index in 0..self.owed.committed.len() {
            let at = self.owed.committed[index].committed_at;
            if listed.contains(&index) {
                let what = format!("segment {index}, committed at {at}, is listed");
                assert!(!self.owed.must_not_be_listed(index), "{}", self.says(&what));
            } else {
                let what = format!("segment {index}, committed at {at}, is not listed");
                assert!(!self.owed.must_be_listed(index), "{}", self.says(&what));
            }
        }
        self.lists(&list, &self.owed.committed[listed.clone()], "segments");
        let before = self.owed.committed[..first].iter().filter(|filmed| filmed.discontinuity);
        let counted = u64::try_from(before.count()).unwrap();
        assert_eq!(list.discontinuity_sequence, counted, "{}", self.says("discontinuities"));
        listed.map(|index| index as u64).collect()
    }

    /// The playlist says of these segments what was filmed.
    fn lists(&self, list: &m3u8_rs::MediaPlaylist, filmed: &[Filmed], folder: &str) {
        assert_eq!(list.segments.len(), filmed.len(), "{}", self.says(folder));
        for (index, (entry, filmed)) in list.segments.iter().zip(filmed).enumerate() {
            let what = || self.says(&format!("{folder}: {entry:?} {filmed:?}"));
            assert_eq!(entry.uri, format!("segments/{}", filmed.file()), "{}", what());
            #[allow(clippy::cast_precision_loss)] // Some minutes.
            let secs = filmed.millis as f32 / 1_000.0;
            assert!((entry.duration - secs).abs() < 0.001, "{}", what());
            let is_broken = filmed.discontinuity && index > 0;
            assert!(index == 0 || entry.discontinuity == is_broken, "{}", what());
            if let Some(at) = entry.program_date_time {
                let off = at.timestamp_millis() - filmed.captured_at.0;
                assert!(off.abs() <= 100, "{}", what());
            }
        }
    }

    /// The numbers of the media files.
    fn files(&self, listed: &BTreeSet<u64>) -> BTreeSet<u64> {
        let folder = self.folder.join("hls/segments");
        let names = names(&folder);
        let there = numbers(&names);
        assert!(there.is_superset(listed), "{}", self.says("a listed segment is gone"));
        for number in &there {
            let index = usize::try_from(*number).unwrap();
            let filmed = &self.owed.committed[index];
            let what = || self.says(&format!("{filmed:?} is there"));
            assert!(!self.owed.must_be_gone(index), "{}", what());
            assert!(names.contains(&filmed.file()), "{}", what());
        }
        if let Some(number) = there.first() {
            let filmed = &self.owed.committed[usize::try_from(*number).unwrap()];
            let bytes = std::fs::read(folder.join(filmed.file())).unwrap();
            assert_eq!(bytes, media(self.owed.device, filmed), "{}", self.says("other media"));
        }
        let inits = names.iter().filter(|name| name.starts_with("init_"));
        let inits: BTreeSet<_> =
            inits.map(|name| std::fs::read(folder.join(name)).unwrap()).collect();
        let needed = there.iter().filter_map(|number| {
            self.owed.committed[usize::try_from(*number).unwrap()].init.map(init)
        });
        assert_eq!(inits, needed.collect(), "{}", self.says("init files"));
        there
    }

    /// A frame is there with its segment, and for ever if it is in none.
    fn frames(&self, media: &BTreeSet<u64>) {
        let frames = names(&self.folder.join("frames"));
        let of = |number: &u64| {
            let filmed = &self.owed.committed[usize::try_from(*number).unwrap()];
            (0..FRAMES).map(|index| format!("{}.jpg", filmed.frame_id(index)))
        };
        let mut expected: BTreeSet<String> = media.iter().flat_map(of).collect();
        expected.insert("never-encoded.jpg".into());
        let differ: Vec<_> = frames.symmetric_difference(&expected).take(5).collect();
        assert!(differ.is_empty(), "{}", self.says(&format!("frames differ: {differ:?}")));
    }

    /// There is a record of each media file, and a history file goes with the last of its.
    fn history(&self, media: &BTreeSet<u64>) {
        let needed_from = self.owed.recorded_from();
        let gone = |number: u64| {
            let index = usize::try_from(number).unwrap();
            index < needed_from && self.owed.must_be_gone(index)
        };
        let mut recorded = BTreeSet::new();
        for name in names(&self.folder.join("hls/history")) {
            let mut parts = name.split('_').map(|part| part.parse::<u64>());
            let (first, last) = (parts.next().unwrap().unwrap(), parts.next().unwrap().unwrap());
            assert!(!gone(last), "{}", self.says(&format!("{name} is left")));
            recorded.extend(first..=last);
        }
        let state = std::fs::read(self.folder.join("hls/state.json")).unwrap();
        let state: Value = serde_json::from_slice(&state).unwrap();
        let recent = state["recent"].as_array().unwrap();
        recorded.extend(recent.iter().map(|record| record["number"].as_u64().unwrap()));
        assert!(recorded.is_superset(media), "{}", self.says("media without a record"));
    }

    /// The archives are the sessions. Returns how many there are.
    fn archives(&self) -> usize {
        let folder = self.folder.join("archives");
        let sessions = self.owed.sessions();
        let by_id: BTreeMap<&str, &Session> =
            sessions.iter().map(|session| (&*session.id, session)).collect();
        let mut there = BTreeSet::new();
        for name in names(&folder) {
            let session = by_id.get(&*name);
            let document = std::fs::read(folder.join(&name).join("archive.json"));
            match (session, document) {
                (Some(session), Ok(document)) if session.may => {
                    self.archive(session, &folder.join(&name), &document);
                    there.insert(name);
                }
                // Linked piece by piece, or about to be whole.
                (Some(session), Err(_)) if session.may_be_unfinished => {}
                (session, document) => {
                    let what = format!("the archive {name} ({}): {session:?}", document.is_ok());
                    panic!("{}", self.says(&what));
                }
            }
        }
        for session in sessions.iter().filter(|session| session.must) {
            let what = || self.says(&format!("{session:?} is not archived"));
            assert!(there.contains(&session.id), "{}", what());
        }
        there.len()
    }

    fn archive(&self, session: &Session, folder: &Path, document: &[u8]) {
        let filmed = &self.owed.committed[session.first..session.end];
        let (first, last) = (&filmed[0], &filmed[filmed.len() - 1]);
        let document: Value = serde_json::from_slice(document).unwrap();
        let what = || {
            let mut short = document.clone();
            short.as_object_mut().unwrap().remove("segments");
            self.says(&format!("{session:?}: {short}"))
        };
        let at = |name: &str| UtcMillis::parse_rfc3339(document[name].as_str().unwrap()).unwrap();
        let number = |name: &str| document[name].as_u64().unwrap();
        assert_eq!(document["status"], "ready", "{}", what());
        assert_eq!(document["session_id"], session.id, "{}", what());
        assert_eq!((at("started_at"), at("ended_at")), (first.captured_at, last.ends_at()));
        let committed = (at("first_committed_at"), at("last_committed_at"));
        assert_eq!(committed, (first.committed_at, last.committed_at), "{}", what());
        #[allow(clippy::cast_precision_loss)] // Some days.
        let secs = last.ends_at().millis_since(first.captured_at) as f64 / 1_000.0;
        assert!(
            (document["duration_seconds"].as_f64().unwrap() - secs).abs() < 0.001,
            "{}",
            what()
        );
        let numbers = (number("first_segment_number"), number("last_segment_number"));
        assert_eq!(numbers, (first.number, last.number), "{}", what());
        assert_eq!(number("segment_count"), filmed.len() as u64, "{}", what());
        assert_eq!(number("frame_count"), filmed.len() as u64 * FRAMES.unsigned_abs());
        assert!(document.get("missing_segments").is_none(), "{}", what());
        let archived_at = at("expires_at").plus_millis(-KEEP);
        let (earliest, latest) = session.archived;
        assert!((earliest..=latest).contains(&archived_at), "{}", what());

        let text = std::fs::read(folder.join("playlist.m3u8")).unwrap();
        let (_, list) = m3u8_rs::parse_media_playlist(&text).unwrap();
        assert!(list.end_list, "{}", what());
        self.lists(&list, filmed, &session.id);
        let mut names = names(&folder.join("segments"));
        let inits: BTreeSet<_> = filmed.iter().filter_map(|filmed| filmed.init).collect();
        let there = names.extract_if(.., |name| name.starts_with("init_")).count();
        assert_eq!(there, inits.len(), "{}", what());
        let expected: BTreeSet<_> = filmed.iter().map(Filmed::file).collect();
        assert_eq!(names, expected, "{}", what());
        let bytes = std::fs::read(folder.join("segments").join(last.file())).unwrap();
        assert_eq!(bytes, media(self.owed.device, last), "{}", what());
    }
}
