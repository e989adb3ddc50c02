//! What cameras published: what everything else is compared with.

use std::collections::BTreeMap;
use std::sync::Arc;

use stream_processor::model::{DeviceKey, EventId, UtcMillis};

/// Names an entry within a broker: ledger and entry.
pub type Entry = (i64, i64);

/// One published frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub device: DeviceKey,
    pub event_id: EventId,
    pub captured_at: UtcMillis,
    /// When it was first handed to the broker.
    pub published_at: UtcMillis,
}

/// All that was published.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Each event once, a device's in capture order.
    pub events: Vec<Arc<Published>>,
    /// What each entry holds. An entry may be delivered before it is noted here.
    pub entries: BTreeMap<Entry, Vec<Arc<Published>>>,
}

impl Ledger {
    /// A device's events, in capture order.
    pub fn of(&self, device: &DeviceKey) -> Vec<Arc<Published>> {
        self.events.iter().filter(|event| event.device == *device).cloned().collect()
    }

    /// Every device's events, each device's in capture order.
    pub fn by_device(&self) -> BTreeMap<DeviceKey, Vec<Arc<Published>>> {
        let mut devices: BTreeMap<DeviceKey, Vec<Arc<Published>>> = BTreeMap::new();
        for event in &self.events {
            devices.entry(event.device.clone()).or_default().push(Arc::clone(event));
        }
        devices
    }
}
