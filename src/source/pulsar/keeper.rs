//! The task that keeps the lanes: one per partition, found again and again; and that carries
//! settlements to the lane they belong to.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::asking::asked;
use super::health::{Asker, HealthCells};
use super::lane::{Equipment, Lane, Order};
use super::ports::{Broker, ParkJob};
use super::settings::PulsarSettings;
use crate::model::Backoff;
use crate::source::{Delivery, DeliveryId, Settlement};

struct LaneHandle {
    topic: String,
    orders: mpsc::UnboundedSender<Order>,
}

pub(super) struct Keeper<B> {
    settings: Arc<PulsarSettings>,
    broker: Arc<B>,
    health: Arc<HealthCells>,
    deliveries: mpsc::Sender<Delivery>,
    settlements: mpsc::UnboundedReceiver<Settlement>,
    closing: CancellationToken,
    parking: mpsc::UnboundedSender<ParkJob>,
    parked: mpsc::UnboundedReceiver<DeliveryId>,
    lanes: Vec<LaneHandle>,
    tasks: JoinSet<()>,
    dead_letters: AbortOnDropHandle<()>,
    /// Given to the dead-letter topic and not there yet.
    parks_open: usize,
}

impl<B: Broker> Keeper<B> {
    pub(super) fn new(
        broker: Arc<B>,
        settings: Arc<PulsarSettings>,
        health: Arc<HealthCells>,
        deliveries: mpsc::Sender<Delivery>,
        settlements: mpsc::UnboundedReceiver<Settlement>,
        closing: CancellationToken,
    ) -> Self {
        let (parking, jobs) = mpsc::unbounded_channel();
        let (parked_tx, parked) = mpsc::unbounded_channel();
        let parker = Arc::clone(&broker);
        let dead_letters = tokio::spawn(async move { parker.park(jobs, parked_tx).await });
        Self {
            broker,
            settings,
            health,
            deliveries,
            settlements,
            closing,
            parking,
            parked,
            lanes: Vec::new(),
            tasks: JoinSet::new(),
            dead_letters: AbortOnDropHandle::new(dead_letters),
            parks_open: 0,
        }
    }

    /// Runs until the source is closed.
    pub(super) async fn run(mut self) {
        let broker = Arc::clone(&self.broker);
        let advice = AbortOnDropHandle::new(tokio::spawn(async move { broker.advise().await }));
        let (count_tx, mut counts) = mpsc::channel(1);
        let counting = count_partitions(
            Arc::clone(&self.settings),
            Arc::clone(&self.broker),
            Arc::clone(&self.health),
            count_tx,
        );
        let counting = AbortOnDropHandle::new(tokio::spawn(counting));
        let closing = self.closing.clone();
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                Some(settlement) = self.settlements.recv() => self.carry(settlement),
                Some(id) = self.parked.recv() => self.tell_parked(id),
                Some(count) = counts.recv() => self.grow(count),
            }
        }
        drop((advice, counting));
        self.close().await;
    }

    /// Starts the lanes that are missing. Partitions are only ever added; but a topic that
    /// was taken for a plain one, because it did not exist, may turn out to have some. A count
    /// of 0 after that means that the topic was deleted: to subscribe to it would create it.
    fn grow(&mut self, partitions: u32) {
        let plain = &self.settings.topic;
        let topics: Vec<String> = match partitions {
            0 if self.lanes.is_empty() => vec![plain.clone()],
            0 => return,
            _ => (0..partitions).map(|number| format!("{plain}-partition-{number}")).collect(),
        };
        if partitions > 0
            && let Some(lane) = self.lanes.iter().find(|lane| lane.topic == *plain)
            && lane.orders.send(Order::Close(oneshot::channel().0)).is_ok()
        {
            warn!(topic = %plain, partitions, "the topic has partitions by now");
            self.health.lane_removed();
        }
        for topic in topics {
            if self.lanes.iter().any(|lane| lane.topic == topic) {
                continue;
            }
            let Ok(number) = u32::try_from(self.lanes.len()) else { return };
            info!(%topic, "starting a lane");
            let (orders, order_rx) = mpsc::unbounded_channel();
            let equipment = Equipment {
                settings: Arc::clone(&self.settings),
                broker: Arc::clone(&self.broker),
                health: Arc::clone(&self.health),
                deliveries: self.deliveries.clone(),
                parking: self.parking.clone(),
            };
            self.health.lane_added();
            self.tasks.spawn(Lane::new(number, &topic, equipment, order_rx).run());
            self.lanes.push(LaneHandle { topic, orders });
        }
    }

    fn carry(&mut self, settlement: Settlement) {
        match settlement {
            Settlement::Done(id) | Settlement::Defer(id) => {
                self.order(id.lane, Order::Settle(settlement));
            }
            Settlement::Park(id, refusal) => {
                self.parks_open += 1;
                self.order(id.lane, Order::Settle(Settlement::Park(id, refusal)));
            }
            Settlement::Redeliver(ids) => {
                let mut per_lane: std::collections::BTreeMap<u32, Vec<DeliveryId>> =
                    std::collections::BTreeMap::new();
                for id in ids {
                    per_lane.entry(id.lane).or_default().push(id);
                }
                for (lane, ids) in per_lane {
                    self.order(lane, Order::Settle(Settlement::Redeliver(ids)));
                }
            }
        }
    }

    fn tell_parked(&mut self, id: DeliveryId) {
        self.parks_open = self.parks_open.saturating_sub(1);
        self.order(id.lane, Order::Parked(id));
    }

    fn order(&self, lane: u32, order: Order) {
        // An unknown lane's id is not ours; an ended lane's deliveries are with the broker.
        if let Some(lane) = self.lanes.get(lane as usize) {
            let _ = lane.orders.send(order);
        }
    }

    async fn close(mut self) {
        self.settlements.close();
        while let Some(settlement) = self.settlements.recv().await {
            self.carry(settlement);
        }
        // What is to be parked gets half of the time; the rest comes again.
        let limit = self.settings.timings.close_timeout / 2;
        let parking = async {
            while self.parks_open > 0
                && let Some(id) = self.parked.recv().await
            {
                self.tell_parked(id);
            }
        };
        if timeout(limit, parking).await.is_err() {
            warn!(open = self.parks_open, "closing before all dead letters are written");
        }
        self.dead_letters.abort();
        let closed = self.lanes.drain(..).map(|lane| {
            let (reply, closed) = oneshot::channel();
            let _ = lane.orders.send(Order::Close(reply));
            closed
        });
        join_all(closed).await;
    }
}

/// Asks for the number of partitions for ever: 0 is a topic without.
async fn count_partitions<B: Broker>(
    settings: Arc<PulsarSettings>,
    broker: Arc<B>,
    health: Arc<HealthCells>,
    counts: mpsc::Sender<u32>,
) {
    let timings = &settings.timings;
    let mut backoff = Backoff::new(timings.backoff_min, timings.backoff_max);
    loop {
        let question = broker.count_partitions();
        match asked(Asker::Partitions, &*broker, &health, &settings, question).await {
            Ok(count) => {
                backoff.reset();
                if counts.send(count).await.is_err() {
                    return;
                }
                sleep(timings.partition_poll_interval).await;
            }
            Err(_) => sleep(backoff.pause()).await,
        }
    }
}
