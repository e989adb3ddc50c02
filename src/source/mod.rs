//! Where frames come from, and what has been settled.
//!
//! A source hands out [`Delivery`]s and takes back one [`Settlement`] for each. It knows
//! entries, partitions and brokers; it never looks inside a payload and decides nothing about
//! frames.
//!
//! Architecture invariant: a delivery that is not settled stays with the broker.

mod entries;
mod memory;
pub mod pulsar;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

pub use memory::{MemoryFeed, MemorySource, Parked};

/// Names one delivery for as long as it is unsettled: small, because thousands are held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeliveryId {
    /// Which lane of the source: a partition.
    pub lane: u32,
    /// Which message within its entry: 0 unless the producer batches.
    pub index: u32,
    /// Which entry within the lane, in the order of the source's choice.
    pub entry: u64,
}

/// One message as it came, not yet settled.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What to settle it by.
    pub id: DeliveryId,
    /// The message's bytes.
    pub payload: Bytes,
}

/// Why a frame is put on the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A short static name: the metric's label as well.
    pub reason: &'static str,
    /// One sentence for a person: what was wrong and where.
    pub detail: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// What became of a delivery.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Its frame is durable, or was so already: acknowledge.
    Done(DeliveryId),
    /// Put it on the dead-letter topic, payload and properties as they came, then
    /// acknowledge. The source tries until it is there.
    Park(DeliveryId, Refusal),
    /// There is no room for it now: drop its bytes and keep its place. A later `Redeliver` asks
    /// for it.
    Defer(DeliveryId),
    /// There is room for what was deferred: have it delivered again, in the order given. Until it
    /// comes again the source forgets it.
    Redeliver(Vec<DeliveryId>),
}

/// The way back to a source: cheap to clone, never blocks. What waits in it is bounded by
/// what is unsettled.
#[derive(Clone, Debug)]
pub struct Settler(mpsc::UnboundedSender<Settlement>);

impl Settler {
    /// A settler and the end that its source reads.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Settlement>) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(tx), rx)
    }

    /// Hands a settlement to the source. After the source has closed this does nothing: the
    /// delivery stays with the broker, and comes again.
    pub fn settle(&self, settlement: Settlement) {
        let _ = self.0.send(settlement);
    }
}

/// What an on-call person wants to know of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceHealth {
    /// Lanes that exist, as far as known.
    pub lanes: usize,
    /// Lanes that are connected now.
    pub lanes_connected: usize,
    /// How often a lane's connection was rebuilt since the start.
    pub rebuilds: u64,
    /// What keeps some lane, or all, from being connected, and what to do, for a person.
    pub trouble: Option<String>,
}

impl SourceHealth {
    /// Every lane is connected, and there is one.
    pub fn is_ready(&self) -> bool {
        self.lanes > 0 && self.lanes_connected == self.lanes
    }
}

/// Where frames come from.
#[async_trait]
pub trait FrameSource: Send {
    /// The next delivery; `None` when the source has ended for good (a broker's never does).
    /// Cancel safe. Connection trouble is the source's own to mend.
    async fn next(&mut self) -> Option<Delivery>;

    /// The way back.
    fn settler(&self) -> Settler;

    /// How it is now.
    fn health(&self) -> SourceHealth;

    /// Stops taking, sends what has been settled so far, gives the rest back, closes.
    async fn close(self: Box<Self>);
}
