//! What must hold, at every acknowledgement, at every version of a playlist and in the end.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use stream_processor::model::{DeviceKey, UtcMillis};
use stream_processor::store::layout::{HistoryName, Place};
use stream_processor::store::{DeviceState, SegmentRecord};

use crate::history::{HistoryChecker, Rule};
use crate::plan::{Kind, Plan, Storage};
use crate::world::World;

/// What is known of one device.
#[derive(Default)]
struct Known {
    /// The durable state that `committed` is of.
    version: u64,
    committed: BTreeMap<usize, UtcMillis>,
    /// Segments whose files were found durable and whole.
    checked_until: u64,
    checker: HistoryChecker,
    /// Every version of the playlist that was seen.
    seen: Vec<String>,
    /// The generation, the next number and the frames of the newest state that was seen.
    newest: Option<(u64, u64, Vec<usize>)>,
}

/// Remembers what it has to compare with.
pub struct Oracle {
    devices: Vec<Known>,
    history: BTreeMap<String, Vec<SegmentRecord>>,
    parked: BTreeMap<usize, BTreeSet<&'static str>>,
    pub acks_checked: u64,
    pub versions_seen: u64,
}

pub fn device_key(device: usize) -> DeviceKey {
    DeviceKey::new("client", &format!("camera-{device}")).unwrap()
}

pub fn event_id(frame: usize) -> String {
    format!("frame-{frame}")
}

fn frame_of(event_id: &str) -> usize {
    event_id.strip_prefix("frame-").and_then(|number| number.parse().ok()).unwrap()
}

fn frames_of(records: &[SegmentRecord]) -> Vec<usize> {
    let frames = records.iter().flat_map(|record| &record.frames);
    frames.map(|frame| frame_of(frame.event_id.as_str())).collect()
}

fn path(device: usize, place: Place<'_>, name: &str) -> String {
    format!("{}/{name}", place.folder(&device_key(device)))
}

/// What is sure to be there after every process and the power have failed now.
fn survives(world: &World, path: &str) -> Option<(u64, Bytes)> {
    match world.plan.storage {
        Storage::Disk => world.disk.lock().unwrap().survives(path),
        Storage::Bucket => world.bucket.lock().unwrap().get(path),
    }
}

fn seen(world: &World, path: &str) -> Option<Bytes> {
    match world.plan.storage {
        Storage::Disk => world.disk.lock().unwrap().seen(path).map(Bytes::copy_from_slice),
        Storage::Bucket => world.bucket.lock().unwrap().get(path).map(|(_, bytes)| bytes),
    }
}

impl Oracle {
    pub fn new(plan: &Plan) -> Self {
        Self {
            devices: (0..plan.devices).map(|_| Known::default()).collect(),
            history: BTreeMap::new(),
            parked: BTreeMap::new(),
            acks_checked: 0,
            versions_seen: 0,
        }
    }

    pub fn parked(&mut self, frame: usize, reason: &'static str) {
        self.parked.entry(frame).or_default().insert(reason);
    }

    pub fn frames_parked(&self) -> usize {
        self.parked.len()
    }

    pub fn frames_committed(&self) -> usize {
        self.devices.iter().map(|known| known.committed.len()).sum()
    }

    /// An entry of these frames is acknowledged.
    pub fn acked(&mut self, world: &World, frames: &[usize]) -> Result<(), String> {
        self.acks_checked += 1;
        for frame in frames {
            if self.parked.contains_key(frame) {
                continue;
            }
            let device = world.frame(*frame).device;
            self.look(world, device)?;
            if !self.devices[device].committed.contains_key(frame) {
                return Err(format!(
                    "frame {frame} is acknowledged, and neither sure to survive a crash nor parked"
                ));
            }
        }
        Ok(())
    }

    /// Reads what would survive of a device, if it is another than before.
    fn look(&mut self, world: &World, device: usize) -> Result<(), String> {
        let Self { devices, history, .. } = self;
        let known = &mut devices[device];
        let Some((version, bytes)) = survives(world, &path(device, Place::Hls, "state.json"))
        else {
            known.committed.clear();
            known.version = 0;
            return Ok(());
        };
        if version == known.version {
            return Ok(());
        }
        let state: DeviceState = serde_json::from_slice(&bytes)
            .map_err(|e| format!("the state of device {device} is no state: {e}"))?;
        let records = records(world, device, &state, history)?;
        let mut committed = BTreeMap::new();
        for (number, record) in records.iter().enumerate() {
            if record.number != number as u64 {
                return Err(format!("device {device}: segment {number} has no record"));
            }
            for frame in &record.frames {
                let id = frame_of(frame.event_id.as_str());
                if committed.insert(id, frame.captured_at).is_some() {
                    return Err(format!("device {device}: frame {id} is committed twice"));
                }
            }
        }
        if records.len() as u64 != state.next_segment {
            let (next, there) = (state.next_segment, records.len());
            return Err(format!("device {device}: {next} is next after {there} records"));
        }
        for record in records.iter().filter(|record| record.number >= known.checked_until) {
            let there = survives(world, &path(device, Place::Segments, &record.file));
            let is_whole = there.is_some_and(|(_, media)| sha256(&media) == record.sha256);
            let init = record.init.as_ref();
            let has_init = init
                .is_none_or(|init| survives(world, &path(device, Place::Segments, init)).is_some());
            if !is_whole || !has_init {
                let file = &record.file;
                return Err(format!("device {device}: {file} is recorded and may not survive"));
            }
        }
        known.checked_until = state.next_segment;
        known.committed = committed;
        known.version = version;
        Ok(())
    }

    /// A device's state was replaced.
    pub fn state_seen(&mut self, world: &World, device: usize) -> Result<(), String> {
        let bytes = seen(world, &path(device, Place::Hls, "state.json")).unwrap_or_default();
        let state: DeviceState = serde_json::from_slice(&bytes)
            .map_err(|e| format!("the state of device {device} is no state: {e}"))?;
        let newest = &mut self.devices[device].newest;
        let frames = frames_of(&state.recent);
        if let Some((generation, next_segment, known)) = newest {
            let steps_back = state.generation < *generation || state.next_segment < *next_segment;
            let is_other = state.generation == *generation && frames != *known;
            if steps_back || is_other {
                return Err(format!(
                    "device {device}: generation {} with {} segments was committed over \
                     generation {generation} with {next_segment}",
                    state.generation, state.next_segment
                ));
            }
        }
        *newest = Some((state.generation, state.next_segment, frames));
        Ok(())
    }

    /// A device's playlist was replaced.
    pub fn playlist_seen(&mut self, world: &World, device: usize) -> Result<(), String> {
        self.versions_seen += 1;
        let bytes = seen(world, &path(device, Place::Hls, "playlist.m3u8")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let known = &mut self.devices[device];
        let before = known.checker.listed().len();
        known.checker.feed(&text);
        for listed in &known.checker.listed()[before.min(known.checker.listed().len())..] {
            let files = listed.map.iter().chain([&listed.uri]);
            for file in files {
                if survives(world, &path(device, Place::Hls, file))
                    .is_none_or(|(_, b)| b.is_empty())
                {
                    return Err(format!(
                        "device {device}: the playlist lists {file}, which may not survive a crash"
                    ));
                }
            }
        }
        known.seen.push(text);
        let excused = |rule: Rule| rule == Rule::Ascending && world.plan.has_large_clock_steps();
        let breach = known.checker.breaches().iter().find(|breach| !excused(breach.rule));
        breach.map_or(Ok(()), |breach| Err(format!("device {device}: {breach}")))
    }

    /// The power failed: what was seen and has not survived was not promised.
    pub fn power_lost(&mut self, world: &World) -> Result<(), String> {
        for device in 0..self.devices.len() {
            let text = seen(world, &path(device, Place::Hls, "playlist.m3u8"));
            let known = &mut self.devices[device];
            let kept = match text {
                None => 0,
                Some(text) => {
                    let place = known.seen.iter().rposition(|seen| seen.as_bytes() == text);
                    1 + place
                        .ok_or(format!("device {device}: its playlist is none that was seen"))?
                }
            };
            known.seen.truncate(kept);
            known.checker = HistoryChecker::of_texts();
            known.seen.iter().for_each(|text| known.checker.feed(text));
            known.newest = None;
            known.version = 0;
            self.look(world, device)?;
            if seen(world, &path(device, Place::Hls, "state.json")).is_some() {
                self.state_seen(world, device)?;
            }
        }
        Ok(())
    }

    /// Everything is acknowledged and every worker has left.
    pub fn judge(&mut self, world: &World) -> Result<(), String> {
        let plan = &world.plan;
        for device in 0..plan.devices {
            self.look(world, device)?;
        }
        for frame in &plan.frames {
            let committed = self.devices[frame.device].committed.contains_key(&frame.id);
            let reasons = self.parked.get(&frame.id);
            let parked = |reason: &str| reasons.is_some_and(|reasons| reasons.contains(reason));
            let deserved = match frame.kind {
                Kind::Good | Kind::FileLater(_) => committed,
                Kind::Bad => !committed && parked("jpeg_decode"),
                Kind::Poison => !committed && parked("encode_failed"),
                Kind::Malformed => !committed && parked("message_json"),
                Kind::NoFile => !committed && parked("frame_missing"),
            };
            let newest = self.devices[frame.device].committed.keys();
            let is_overtaken =
                newest.map(|other| world.frame(*other).taken).any(|taken| taken > frame.taken);
            // A frame that cannot be shown is left out, and late when it comes again after that.
            let may_be_late =
                is_overtaken && (frame.kind != Kind::Good || !plan.is_in_order(frame.device));
            let late = !committed && parked("late_frame") && may_be_late;
            let was_waited_for =
                matches!(frame.kind, Kind::FileLater(_)) && parked("frame_missing");
            if !(deserved || late || was_waited_for) {
                return Err(format!(
                    "frame {} ({:?}) is {}committed, and parked for {reasons:?}",
                    frame.id,
                    frame.kind,
                    if committed { "" } else { "not " }
                ));
            }
            // Both is one too many, unless its fate changed between two deliveries.
            let changed = plan.has_large_clock_steps() || frame.again.is_some();
            if committed && reasons.is_some() && !was_waited_for && !changed {
                return Err(format!("frame {} is committed, and parked for {reasons:?}", frame.id));
            }
        }
        self.order(world)
    }

    fn order(&mut self, world: &World) -> Result<(), String> {
        for device in 0..self.devices.len() {
            let state = path(device, Place::Hls, "state.json");
            let Some((_, bytes)) = survives(world, &state) else { continue };
            let state = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
            let all = records(world, device, &state, &mut self.history)?;
            let frames: Vec<_> = all.iter().flat_map(|record| &record.frames).collect();
            for pair in frames.windows(2) {
                if pair[0].captured_at > pair[1].captured_at && !world.plan.has_large_clock_steps()
                {
                    let (one, next) = (&pair[0].event_id, &pair[1].event_id);
                    return Err(format!("device {device}: {one} is shown before {next}"));
                }
            }
        }
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All records that would survive.
fn records(
    world: &World,
    device: usize,
    state: &DeviceState,
    cache: &mut BTreeMap<String, Vec<SegmentRecord>>,
) -> Result<Vec<SegmentRecord>, String> {
    let folder = Place::History.folder(&device_key(device));
    let files = match world.plan.storage {
        Storage::Disk => world.disk.lock().unwrap().surviving_files(&folder),
        Storage::Bucket => world.bucket.lock().unwrap().files(&folder),
    };
    let mut names: Vec<_> = files.iter().filter_map(|file| HistoryName::parse(file)).collect();
    names.retain(|name| name.last < state.first_recent());
    names.sort_unstable();
    let mut all = Vec::new();
    for name in names {
        let path = path(device, Place::History, &name.file_name());
        if !cache.contains_key(&path) {
            let (_, bytes) = survives(world, &path).ok_or(format!("{path} is not durable"))?;
            let records = serde_json::from_slice(&bytes).map_err(|e| format!("{path}: {e}"))?;
            cache.insert(path.clone(), records);
        }
        let next = all.len() as u64;
        all.extend(cache[&path].iter().filter(|record| record.number >= next).cloned());
    }
    all.extend(state.recent.iter().cloned());
    Ok(all)
}
