//! Cameras that run, whoever starts them, and the ledger of all that they publish.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stream_processor::model::DeviceKey;
use tokio::task::JoinSet;

use super::oracle::ledger::Ledger;

/// Running cameras.
#[derive(Default)]
pub struct Fleet {
    pub devices: Vec<DeviceKey>,
    /// What the cameras write into.
    pub shared_ledger: Arc<Mutex<Ledger>>,
    /// When it is set the cameras stop.
    pub stopping: Arc<AtomicBool>,
    /// The cameras.
    pub tasks: JoinSet<()>,
}

impl Fleet {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared_ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the cameras; what they have begun, or taken, they publish.
    pub async fn stop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no camera has panicked");
        }
    }
}
