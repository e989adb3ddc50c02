//! One partition: the task that owns its consumer.
//!
//! It always reads the consumer, whether or not the pipeline takes, for the crate acknowledges
//! nothing and answers no ping while its queue is full. It trusts no connection: whatever the
//! consumer says but a message, and whatever the broker does not answer in time, ends the
//! consumer, and a new one is built, for ever. What is held outlives that.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tracing::{debug, info, warn};

use super::PulsarError;
use super::asking::asked;
use super::health::{Asker, HealthCells};
use super::lane_state::{Act, LaneState};
use super::ports::{Broker, Came, Consumer, ParkJob, Position};
use super::settings::PulsarSettings;
use crate::model::Backoff;
use crate::source::{Delivery, DeliveryId, Settlement};

/// What a lane is told.
#[derive(Debug)]
pub(super) enum Order {
    /// A settlement of this lane's deliveries.
    Settle(Settlement),
    /// A message is on the dead-letter topic.
    Parked(DeliveryId),
    /// Close the consumer and end; answered when it is closed.
    Close(oneshot::Sender<()>),
}

/// What a lane is given to work with.
pub(super) struct Equipment<B> {
    pub settings: Arc<PulsarSettings>,
    pub broker: Arc<B>,
    pub health: Arc<HealthCells>,
    pub deliveries: mpsc::Sender<Delivery>,
    pub parking: mpsc::UnboundedSender<ParkJob>,
}

pub(super) struct Lane<B> {
    number: u32,
    topic: Arc<str>,
    equipment: Equipment<B>,
    orders: mpsc::UnboundedReceiver<Order>,
    state: LaneState,
    /// Acknowledgements that wait for a connection.
    owed: Vec<Position>,
}

enum Turn {
    Acts(Vec<Act>),
    Close(Option<oneshot::Sender<()>>),
}

enum Ended {
    Closed,
    Lost(PulsarError),
}

impl<B: Broker> Lane<B> {
    pub(super) fn new(
        number: u32,
        topic: &str,
        equipment: Equipment<B>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        let topic: Arc<str> = topic.into();
        let limits = &equipment.settings.limits;
        let state =
            LaneState::new(number, Arc::clone(&topic), limits.lane_messages, limits.lane_bytes);
        Self { number, topic, equipment, orders, state, owed: Vec::new() }
    }

    /// Runs until it is told to close.
    pub(super) async fn run(mut self) {
        self.keep_connected().await;
        // Whatever keeps a lane that is gone from the broker is nobody's trouble.
        self.equipment.health.well(Asker::Lane(self.number));
    }

    async fn keep_connected(&mut self) {
        let timings = self.equipment.settings.timings.clone();
        let mut backoff = Backoff::new(timings.backoff_min, timings.backoff_max);
        loop {
            let Some(consumer) = self.connect(&mut backoff).await else { return };
            let connected = self.equipment.health.connected();
            let since = Instant::now();
            info!(topic = %self.topic, held = self.state.unsettled(), "the lane is connected");
            let ended = self.serve(consumer).await;
            drop(connected);
            match ended {
                Ended::Closed => return,
                Ended::Lost(error) => {
                    self.equipment.health.lane_rebuilt();
                    warn!(topic = %self.topic, %error, "the lane lost its connection");
                }
            }
            if since.elapsed() > timings.backoff_max {
                backoff.reset();
            }
            let pause = backoff.pause();
            if self.meanwhile(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Tries until there is a consumer; none if the lane was closed meanwhile.
    async fn connect(&mut self, backoff: &mut Backoff) -> Option<B::Consumer> {
        loop {
            let broker = Arc::clone(&self.equipment.broker);
            let topic = Arc::clone(&self.topic);
            let health = Arc::clone(&self.equipment.health);
            let settings = Arc::clone(&self.equipment.settings);
            let question = broker.open_consumer(&topic);
            let question = asked(Asker::Lane(self.number), &*broker, &health, &settings, question);
            match self.meanwhile(question).await? {
                Ok(consumer) => return Some(consumer),
                Err(_) => self.meanwhile(sleep(backoff.pause())).await?,
            }
        }
    }

    /// Waits for `what` without a connection, while settlements and deliveries go on; none if
    /// the lane was closed meanwhile.
    async fn meanwhile<F: Future>(&mut self, what: F) -> Option<F::Output> {
        let mut what = pin!(what);
        loop {
            let turn = tokio::select! {
                biased;
                output = &mut what => return Some(output),
                turn = self.turn() => turn,
            };
            match turn {
                Turn::Acts(acts) => self.perform(None, acts).await.ok()?,
                Turn::Close(reply) => {
                    // Nobody waits for the answer if the source was dropped.
                    let _ = reply.map(|reply| reply.send(()));
                    return None;
                }
            }
        }
    }

    /// Waits for an order, or for the pipeline to take a delivery. Cancel safe.
    async fn turn(&mut self) -> Turn {
        let deliveries = &self.equipment.deliveries;
        let can_deliver = !self.state.is_empty();
        let permit = async {
            match deliveries.reserve().await {
                Ok(permit) => permit,
                // The source is being closed, and tells us so by an order.
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            biased;
            order = self.orders.recv() => match order {
                Some(Order::Settle(settlement)) => Turn::Acts(self.state.settle(settlement)),
                Some(Order::Parked(id)) => Turn::Acts(self.state.parked(id)),
                Some(Order::Close(reply)) => Turn::Close(Some(reply)),
                None => Turn::Close(None),
            },
            permit = permit, if can_deliver => {
                let (delivery, acts) = self.state.take();
                if let Some(delivery) = delivery {
                    permit.send(delivery);
                }
                Turn::Acts(acts)
            }
        }
    }

    /// Works with one consumer until it fails or the lane is closed.
    async fn serve(&mut self, mut consumer: B::Consumer) -> Ended {
        self.state.reconnected();
        let owed = std::mem::take(&mut self.owed).into_iter().map(Act::Ack).collect();
        if let Err(error) = self.perform(Some(&mut consumer), owed).await {
            return Ended::Lost(error);
        }
        let period = self.equipment.settings.timings.watchdog_interval;
        let mut watchdog = interval_at(Instant::now() + period, period);
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let acts = tokio::select! {
                // What comes is read last, for it comes without end; the others are few.
                biased;
                _ = watchdog.tick() => match self.ask_whether_known(&mut consumer).await {
                    Ok(()) => {
                        self.state.confirm_acks();
                        continue;
                    }
                    Err(error) => return Ended::Lost(error),
                },
                turn = self.turn() => match turn {
                    Turn::Acts(acts) => acts,
                    Turn::Close(reply) => {
                        self.close(consumer).await;
                        let _ = reply.map(|reply| reply.send(()));
                        return Ended::Closed;
                    }
                },
                came = consumer.next() => match came {
                    Ok(Came::Message(message)) => self.state.arrive(message),
                    Ok(Came::Unreadable(error)) => {
                        // It has no id here, so it can be neither acknowledged nor parked:
                        // building the consumer anew would only bring it again.
                        warn!(topic = %self.topic, %error, "an entry cannot be read; it stays in the backlog");
                        continue;
                    }
                    Err(PulsarError::StreamEnded) => return Ended::Lost(PulsarError::StreamEnded),
                    Err(error) => return self.lost(error, consumer).await,
                },
            };
            if let Err(error) = self.perform(Some(&mut consumer), acts).await {
                return Ended::Lost(error);
            }
        }
    }

    async fn lost(&self, error: PulsarError, mut consumer: B::Consumer) -> Ended {
        // Where the connection still stands, the broker need not wait to give the rest away.
        let _ = timeout(self.equipment.settings.timings.backoff_max, consumer.close()).await;
        Ended::Lost(error)
    }

    /// Asks the broker whether it knows the consumer, no longer than may be.
    async fn ask_whether_known(&self, consumer: &mut B::Consumer) -> Result<(), PulsarError> {
        let limit = self.equipment.settings.timings.operation_timeout;
        let what = "ask the broker about the consumer";
        timeout(limit, consumer.ask_whether_known())
            .await
            .unwrap_or(Err(PulsarError::TimedOut { what, after_millis: limit.as_millis() }))
    }

    async fn close(&mut self, mut consumer: B::Consumer) {
        let limit = self.equipment.settings.timings.operation_timeout;
        if let Err(error) = self.ask_whether_known(&mut consumer).await {
            debug!(topic = %self.topic, %error, "closing without an answer");
        }
        match timeout(limit, consumer.close()).await {
            Ok(Ok(())) => info!(topic = %self.topic, "the lane is closed"),
            Ok(Err(error)) => warn!(topic = %self.topic, %error, "the consumer did not close"),
            Err(_) => warn!(topic = %self.topic, "the consumer did not close in time"),
        }
    }

    async fn perform(
        &mut self,
        mut consumer: Option<&mut B::Consumer>,
        acts: Vec<Act>,
    ) -> Result<(), PulsarError> {
        for act in acts {
            let outcome: Result<(), PulsarError> = match (act, consumer.as_deref_mut()) {
                (Act::Park(job), _) => {
                    // Closed only when the source is gone; then the message stays unsettled.
                    let _ = self.equipment.parking.send(*job);
                    Ok(())
                }
                (Act::Ack(position), Some(consumer)) => consumer.ack(position).await,
                (Act::Nack(position), Some(consumer)) => consumer.nack(position).await,
                (Act::Ack(position), None) => {
                    self.owed.push(position);
                    Ok(())
                }
                // A new consumer gets everything that is not acknowledged.
                (Act::Nack(_), None) => Ok(()),
            };
            outcome?;
        }
        Ok(())
    }
}
