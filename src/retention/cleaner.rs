//! Cleans up one device after the other: the order of what is done for one, and the run over
//! all of them.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use tokio_util::sync::CancellationToken;

use super::device::{Task, Work, listed_from};
use super::hand::Hand;
use super::outcome::Outcome;
use super::quota::{self, Next, OldestFirst};
use super::{RetentionSettings, orphans, plan};
use crate::model::{Clock, DeviceKey};
use crate::store::{DeviceFolder, DeviceState, Store, StoreError};

/// So many devices are cleaned up at the same time.
const DEVICES_AT_ONCE: usize = 8;

/// Removes what is past its retention.
#[derive(Clone)]
pub struct Cleaner {
    store: Store,
    settings: RetentionSettings,
    clock: Arc<dyn Clock>,
}

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Removes and writes nothing; says what would go.
    pub dry_run: bool,
    /// Looks for what nothing lists at every device, not only at those whose time has come.
    pub orphans_now: bool,
    /// Stops between two devices, and within one where that is safe.
    pub stop: CancellationToken,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Devices that were looked at.
    pub devices: u64,
    /// Devices that could not be cleaned up; each was told of.
    pub failed: u64,
    /// What went.
    pub done: Outcome,
    /// What is beyond the quota for all devices and cannot go: archives need it, or it is the
    /// newest of its device.
    pub beyond_quota_bytes: u64,
    /// Whether it was stopped before it was through.
    pub stopped: bool,
}

/// Is told how a run comes on.
pub trait Watch: Sync {
    /// So many devices there are.
    fn begun(&self, devices: usize);
    /// One more has been looked at.
    fn device(&self, key: &DeviceKey, result: &Result<Outcome, StoreError>);
}

impl Cleaner {
    /// Cleans up the streams of `store`.
    pub fn new(store: Store, settings: RetentionSettings, clock: Arc<dyn Clock>) -> Self {
        Self { store, settings, clock }
    }

    /// Cleans up every device. One that fails costs that device only: `watch` is told, and it is
    /// counted.
    ///
    /// # Errors
    /// [`StoreError`] if the devices cannot be listed.
    pub async fn run(&self, run: &Run, watch: &dyn Watch) -> Result<Report, StoreError> {
        let devices = self.store.devices().await?;
        watch.begun(devices.len());
        let mut report = Report::default();
        let mut kept = Vec::new();
        let mut results = stream::iter(devices)
            .take_while(|_| std::future::ready(!run.stop.is_cancelled()))
            .map(|key| async move {
                let result = self.clean(&key, run, 0).await;
                (key, result)
            })
            .buffer_unordered(DEVICES_AT_ONCE);
        while let Some((key, result)) = results.next().await {
            watch.device(&key, &result);
            report.devices += 1;
            match result {
                Ok(done) if self.settings.total_max_bytes.is_some() => kept.push((key, done)),
                Ok(done) => report.done.add(&done),
                Err(_) => report.failed += 1,
            }
        }
        if let Some(most) = self.settings.total_max_bytes {
            self.keep_total(most, &mut kept, run, watch, &mut report).await;
            kept.iter().for_each(|(_, done)| report.done.add(done));
        }
        report.stopped = run.stop.is_cancelled();
        Ok(report)
    }

    /// Cleans up one device.
    ///
    /// # Errors
    /// [`StoreError`]; what has gone by then is gone, and the next run goes on.
    pub async fn clean_device(&self, key: &DeviceKey, run: &Run) -> Result<Outcome, StoreError> {
        self.clean(key, run, 0).await
    }

    /// The same; segments before number `keep_from` leave the playlist as well.
    async fn clean(
        &self,
        key: &DeviceKey,
        run: &Run,
        keep_from: u64,
    ) -> Result<Outcome, StoreError> {
        let task = Task {
            settings: self.settings.clone(),
            dry_run: run.dry_run,
            orphans_now: run.orphans_now,
            now: self.clock.now(),
            stop: run.stop.clone(),
        };
        match self.try_clean(key, task, keep_from).await {
            // Whoever was quicker does it, or the next run.
            Err(StoreError::Overtaken { .. } | StoreError::Locked { .. }) => {
                Ok(Outcome { busy: 1, ..Outcome::default() })
            }
            result => result,
        }
    }

    async fn try_clean(
        &self,
        key: &DeviceKey,
        task: Task,
        keep_from: u64,
    ) -> Result<Outcome, StoreError> {
        let look = |task: Task| self.store.on_device(key, move |folder| Work::look(folder, &task));
        let Some(work) = look(task.clone()).await? else { return self.frames(key, task).await };
        if work.needs.is_nothing() && keep_from <= work.state.published.media_sequence {
            return Ok(work.done);
        }
        if task.dry_run {
            return self.work(key, task, work, keep_from).await;
        }
        let lock = self.store.on_device(key, DeviceFolder::try_upkeep).await?;
        let Some(_lock) = lock else { return Ok(Outcome { busy: 1, ..work.done }) };
        // Whoever had the device until now may have changed both.
        let Some(work) = look(task.clone()).await? else { return Ok(Outcome::default()) };
        self.work(key, task, work, keep_from).await
    }

    async fn work(
        &self,
        key: &DeviceKey,
        task: Task,
        mut work: Work,
        mut keep_from: u64,
    ) -> Result<Outcome, StoreError> {
        if work.needs.quota {
            let settings = task.settings.clone();
            let counting = self.store.on_device(key, move |folder| {
                quota::count(&mut work, folder)?;
                let keep_from = quota::keep_from(&work, folder, &settings)?;
                Ok::<_, StoreError>((work, keep_from))
            });
            let (counted, device_from) = counting.await?;
            work = counted;
            keep_from = keep_from.max(device_from);
        }
        if work.needs.orphans {
            // A playlist that somebody edited is mended, also where nothing comes any more.
            self.window(key, &task, &mut work).await?;
        }
        let mut full = None;
        if work.needs.trim || keep_from > work.state.published.media_sequence {
            match self.trim(key, &task, &mut work, keep_from).await {
                // What has been out of the playlist for the grace makes room: the next run trims.
                Err(error) if error.is_full() => full = Some(error),
                trimmed => trimmed?,
            }
        }
        let listed = self.listed_from(key, &task, &mut work).await?;
        let working = self.store.on_device(key, move |folder| {
            work.remove(folder, &task, listed)?;
            Ok::<_, StoreError>(work.done)
        });
        let done = working.await?;
        full.map_or(Ok(done), Err)
    }

    /// Takes out of the live playlist what has no place in it any more.
    async fn trim(
        &self,
        key: &DeviceKey,
        task: &Task,
        work: &mut Work,
        keep_from: u64,
    ) -> Result<(), StoreError> {
        let (retention, now) = (task.settings.retention, task.now);
        let Some(mut window) = self.window(key, task, work).await? else { return Ok(()) };
        let before = work.state.published.media_sequence;
        let mut trimmed = window.clone();
        let gone = trimmed.trim(now, retention) + trimmed.trim_before(keep_from);
        if gone > 0 && task.dry_run {
            work.state.published.media_sequence = trimmed.media_sequence;
            work.done.unlisted = gone as u64;
            window = trimmed;
        } else if gone > 0 {
            self.store.trim_window(key, now, retention, keep_from).await?;
            if let Some(state) = self.state(key).await? {
                work.state = state;
            }
            let after = work.state.published.media_sequence;
            work.done.unlisted = after.saturating_sub(before);
            match self.window(key, task, work).await? {
                Some(after) => window = after,
                None => return Ok(()),
            }
        }
        if plan::is_idle(&task.settings, &work.state, now) {
            let at = window.trims_at(now, retention);
            work.notes.cleaned.trim_at(work.state.generation, at, now, retention);
        }
        Ok(())
    }

    /// What the live playlist lists, after mending it if a commit was interrupted.
    async fn window(
        &self,
        key: &DeviceKey,
        task: &Task,
        work: &mut Work,
    ) -> Result<Option<crate::playlist::Window>, StoreError> {
        for is_last in [task.dry_run, true] {
            let state = work.state.clone();
            let window =
                self.store.on_device(key, move |folder| folder.published_window(&state)).await?;
            if window.is_some() || is_last {
                return Ok(window);
            }
            work.state = self.store.open(key).await?;
        }
        Ok(None)
    }

    /// The oldest segment that the live playlist lists, after mending it if a commit was
    /// interrupted; none if that is not known.
    async fn listed_from(
        &self,
        key: &DeviceKey,
        task: &Task,
        work: &mut Work,
    ) -> Result<Option<u64>, StoreError> {
        if task.dry_run && work.done.unlisted > 0 {
            return Ok(Some(work.state.published.media_sequence));
        }
        if work.state.published.media_sequence <= work.notes.cleaned.removed_below {
            return Ok(None);
        }
        for is_last in [task.dry_run, true] {
            let state = work.state.clone();
            let listed =
                self.store.on_device(key, move |folder| listed_from(folder, &state)).await?;
            if listed.is_some() || is_last {
                return Ok(listed);
            }
            work.state = self.store.open(key).await?;
        }
        Ok(None)
    }

    /// A device without a state has no stream that could be cleaned up, only frames.
    async fn frames(&self, key: &DeviceKey, task: Task) -> Result<Outcome, StoreError> {
        if !task.orphans_now {
            return Ok(Outcome::default());
        }
        let looking = self.store.on_device(key, move |folder| {
            let mut done = Outcome::default();
            orphans::frames(&Hand::new(folder, task.dry_run), &task, 0, &mut done)?;
            Ok::<_, StoreError>(done)
        });
        looking.await
    }

    async fn state(&self, key: &DeviceKey) -> Result<Option<DeviceState>, StoreError> {
        self.store.on_device(key, DeviceFolder::state).await
    }

    /// Takes the oldest segments of all devices out of their playlists until no more than `most`
    /// bytes are to be kept.
    async fn keep_total(
        &self,
        most: u64,
        kept: &mut [(DeviceKey, Outcome)],
        run: &Run,
        watch: &dyn Watch,
        report: &mut Report,
    ) {
        let total = kept.iter().filter_map(|(_, done)| done.kept_bytes);
        let total = total.fold(0, u64::saturating_add);
        let mut chosen = OldestFirst::new(total.saturating_sub(most), kept.len());
        if total <= most {
            return;
        }
        let keys: Vec<_> = kept.iter().map(|(key, _)| key.clone()).collect();
        let removed_below = kept.iter().map(|(_, done)| done.numbers.map_or(0, |(_, end)| end));
        let devices: Vec<_> = keys.clone().into_iter().zip(removed_below).enumerate().collect();
        let mut oldest =
            stream::iter(devices)
                .map(|(device, (key, from))| async move {
                    (device, self.oldest(&key, from, true).await)
                })
                .buffer_unordered(DEVICES_AT_ONCE);
        while let Some((device, pieces)) = oldest.next().await {
            chosen.offer(device, pieces);
        }
        while let Next::More(device, from) = chosen.next() {
            let pieces = match keys.get(device) {
                Some(key) if !run.stop.is_cancelled() => self.oldest(key, from, false).await,
                _ => Vec::new(),
            };
            chosen.offer(device, pieces);
        }
        for ((key, done), keep_from) in kept.iter_mut().zip(chosen.keep_from()) {
            if keep_from == 0 || run.stop.is_cancelled() {
                continue;
            }
            let run = Run { orphans_now: false, ..run.clone() };
            let result = self.clean(key, &run, keep_from).await;
            match &result {
                // It says what the first one said, and more.
                Ok(more) if run.dry_run => {
                    let looked_for = (done.orphans, done.unencoded, done.unencoded_removed);
                    let foreign = done.foreign;
                    *done = more.clone();
                    (done.orphans, done.unencoded, done.unencoded_removed) = looked_for;
                    done.foreign = foreign;
                }
                Ok(more) => {
                    let kept_bytes = more.kept_bytes.or(done.kept_bytes);
                    done.add(more);
                    done.kept_bytes = kept_bytes;
                }
                Err(_) => {
                    watch.device(key, &result);
                    report.failed += 1;
                }
            }
        }
        report.beyond_quota_bytes = chosen.left_bytes();
    }

    /// The oldest segments of a device that a quota may take; none of one that cannot be read,
    /// which has been told of.
    async fn oldest(&self, key: &DeviceKey, from: u64, is_first: bool) -> Vec<quota::Piece> {
        let settings = self.settings.clone();
        let look = move |folder: &DeviceFolder| quota::oldest(folder, &settings, from, is_first);
        self.store.on_device(key, look).await.unwrap_or_default()
    }
}
