//! Wires the stages: takes deliveries, keeps the time, starts attempts, takes their results.
//!
//! One task owns the accumulator, the schedule and the devices' states; attempts run beside
//! it, at most one of a device. What does not fit is deferred, never waited for: the source is
//! always being listened to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::accumulator::{Accumulator, AccumulatorSettings, Offer};
use super::attempt::{Attempted, Stages, Work, attempt};
use super::lanes::Lane;
use super::scheduling::Schedule;
use crate::model::{ClaimedIds, DeviceKey, FrameEvent, PlausibleTimes, UtcMillis};
use crate::source::{Delivery, FrameSource, Refusal, Settlement, SourceHealth};
use crate::store::DeviceState;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(200);

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// How frames are collected.
    pub accumulator: AccumulatorSettings,
    /// Groups under way at once: more than there are helpers, so that reading and committing
    /// overlap with encoding.
    pub groups_under_way: usize,
    /// How long to wait for the groups under way when asked to stop.
    pub stop_grace: Duration,
}

/// What the worker shows of itself, every tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerGauges {
    /// Frames held and not yet settled.
    pub frames_held: usize,
    /// Frames put off because there was no room.
    pub frames_deferred: usize,
    /// Devices with frames of late.
    pub devices_active: usize,
    /// Devices whose next group waits, live.
    pub live_waiting: usize,
    /// Devices whose next group waits, backlog.
    pub backlog_waiting: usize,
    /// Groups that wait for an encoder.
    pub groups_waiting: usize,
    /// Groups under way.
    pub groups_under_way: usize,
    /// Groups that wait to be tried again.
    pub groups_delayed: usize,
    /// Since when the oldest open group waits.
    pub oldest_open: Option<UtcMillis>,
}

/// Why a worker ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// An attempt panicked: a defect. Its frames are unsettled and come again.
    #[error("an attempt panicked, which is a defect of the worker: {0}")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Who is shown the worker as a whole.
pub trait Gauge: Send + Sync {
    /// Called every tick, also while nothing happens: its silence means that the worker hangs.
    fn tick(&self, gauges: WorkerGauges, source: &SourceHealth, now: UtcMillis);
    /// A delivery came.
    fn received(&self, device: &DeviceKey, captured_at: UtcMillis);
    /// There was no room for a frame: it will be asked for again.
    fn deferred(&self);
    /// A delivery was not a frame event.
    fn unreadable(&self, ids: &ClaimedIds, refusal: &Refusal);
    /// Nothing came from these devices for long: they are forgotten.
    fn forgotten(&self, devices: &[DeviceKey]);
}

/// The pipeline, wired.
pub struct Worker {
    source: Box<dyn FrameSource>,
    stages: Arc<Stages>,
    gauge: Arc<dyn Gauge>,
    settings: WorkerSettings,
    accumulator: Accumulator,
    schedule: Schedule,
    states: HashMap<DeviceKey, DeviceState>,
    /// Groups to be tried again, by when; the number keeps equal times apart.
    delayed: BTreeMap<(UtcMillis, u64), Work>,
    delays: u64,
    attempts: JoinSet<Attempted>,
}

impl Worker {
    /// Wires a worker; nothing happens before [`Worker::run`].
    pub fn new(
        source: Box<dyn FrameSource>,
        stages: Arc<Stages>,
        gauge: Arc<dyn Gauge>,
        settings: WorkerSettings,
    ) -> Self {
        Self {
            source,
            stages,
            gauge,
            settings,
            accumulator: Accumulator::new(settings.accumulator),
            schedule: Schedule::new(settings.accumulator.live_within),
            states: HashMap::new(),
            delayed: BTreeMap::new(),
            delays: 0,
            attempts: JoinSet::new(),
        }
    }

    /// Works until `stop` is cancelled or the source ends. Then: stops taking, lets the groups
    /// under way finish within the grace, and closes the source, to which everything else
    /// goes back unsettled.
    ///
    /// # Errors
    /// Only a defect of the worker itself: trouble with a device, a store or a broker is
    /// waited out.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), WorkerError> {
        let clock = Arc::clone(&self.stages.clock);
        let mut ended = false;
        let mut tick = clock.sleep(TICK);
        loop {
            tokio::select! {
                // Deliveries last, for they come without end; the others are few.
                biased;
                () = stop.cancelled() => break,
                Some(result) = self.attempts.join_next() => match result {
                    Ok(attempted) => self.finish(attempted),
                    // Its frames come again after a restart; going on without them would
                    // break their device's order.
                    Err(error) => {
                        self.stop().await;
                        return Err(WorkerError::Panicked(error));
                    }
                },
                () = &mut tick => {
                    tick = clock.sleep(TICK);
                    self.tick();
                }
                delivery = self.source.next(), if !ended => match delivery {
                    Some(delivery) => self.take(&delivery),
                    None => ended = true,
                },
            }
            self.start_attempts();
            if ended && self.accumulator.held() == 0 && self.attempts.is_empty() {
                break;
            }
        }
        self.stop().await;
        Ok(())
    }

    fn take(&mut self, delivery: &Delivery) {
        let now = self.stages.clock.now();
        let event = match FrameEvent::parse(&delivery.payload, PlausibleTimes::around(now)) {
            Ok(event) => event,
            Err(error) => {
                let refusal = Refusal { reason: error.reason(), detail: error.to_string() };
                self.gauge.unreadable(&ClaimedIds::of(&delivery.payload), &refusal);
                self.stages.settler.settle(Settlement::Park(delivery.id, refusal));
                return;
            }
        };
        self.gauge.received(&event.device, event.captured_at);
        match self.accumulator.offer(event, delivery.id, now) {
            Offer::Held => {}
            Offer::Closed(group) => self.schedule.push(Work::new(group), now),
            Offer::Deferred => {
                self.stages.settler.settle(Settlement::Defer(delivery.id));
                self.gauge.deferred();
            }
        }
    }

    fn tick(&mut self) {
        let now = self.stages.clock.now();
        let (closed, forgotten) = self.accumulator.tick(now);
        for group in closed {
            self.schedule.push(Work::new(group), now);
        }
        for device in &forgotten {
            self.states.remove(device);
        }
        if !forgotten.is_empty() {
            self.gauge.forgotten(&forgotten);
        }
        // A clock that was stepped back would leave them waiting: the longest delay is short,
        // so whatever lies further ahead is due as well.
        let horizon = now.plus(super::trouble::LONGEST_DELAY);
        let due = self.delayed.keys().filter(|(at, _)| *at <= now || *at > horizon);
        for key in due.copied().collect::<Vec<_>>() {
            if let Some(work) = self.delayed.remove(&key) {
                self.schedule.retry(work, now);
            }
        }
        // Once a tick, not whenever there is room: what is asked for at once is read at once.
        let wanted = self.accumulator.rerequest(now);
        if !wanted.is_empty() {
            self.stages.settler.settle(Settlement::Redeliver(wanted));
        }
        let gauges = WorkerGauges {
            frames_held: self.accumulator.held(),
            frames_deferred: self.accumulator.deferred(),
            devices_active: self.accumulator.devices(),
            live_waiting: self.schedule.devices_waiting(Lane::Live),
            backlog_waiting: self.schedule.devices_waiting(Lane::Backlog),
            groups_waiting: self.schedule.groups_waiting(),
            groups_under_way: self.attempts.len(),
            groups_delayed: self.delayed.len(),
            oldest_open: self.accumulator.oldest_open(),
        };
        self.gauge.tick(gauges, &self.source.health(), now);
    }

    fn start_attempts(&mut self) {
        while self.attempts.len() < self.settings.groups_under_way {
            let Some(work) = self.schedule.take_next() else { break };
            let known = self.states.remove(&work.group.device);
            let stages = Arc::clone(&self.stages);
            self.attempts.spawn(async move { attempt(&stages, work, known).await });
        }
    }

    fn finish(&mut self, attempted: Attempted) {
        let Attempted { device, state, settled, again } = attempted;
        let now = self.stages.clock.now();
        if let Some(state) = state {
            // What is not kept is read again: only the memory has to be bounded.
            if self.states.len() >= self.settings.accumulator.max_held
                && let Some(other) = self.states.keys().next().cloned()
            {
                self.states.remove(&other);
            }
            self.states.insert(device.clone(), state);
        }
        self.accumulator.release(&device, settled);
        match again {
            None => self.schedule.finished(&device, now),
            Some((work, delay)) => {
                self.delays += 1;
                self.delayed.insert((now.plus(delay), self.delays), work);
            }
        }
    }

    async fn stop(mut self) {
        let clock = Arc::clone(&self.stages.clock);
        let mut grace = clock.sleep(self.settings.stop_grace);
        loop {
            tokio::select! {
                biased;
                result = self.attempts.join_next() => {
                    if result.is_none() {
                        break;
                    }
                }
                () = &mut grace => {
                    tracing::warn!(
                        groups = self.attempts.len(),
                        "the grace is over: groups under way are given back"
                    );
                    break;
                }
            }
        }
        self.attempts.abort_all();
        self.source.close().await;
    }
}
