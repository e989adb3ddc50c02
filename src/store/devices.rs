//! Which devices there are, by the folders of the storage.

use super::layout::{CLIENTS, devices_folder};
use super::{Store, StoreError};
use crate::model::{ClientId, DeviceKey};

impl Store {
    /// Every device that has a folder, in the order of its names. A foreign file or folder among
    /// them is none.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be listed.
    pub async fn devices(&self) -> Result<Vec<DeviceKey>, StoreError> {
        self.blocking(|inner| {
            let mut all = Vec::new();
            for client in inner.backend.list(CLIENTS)? {
                if !client.is_folder || ClientId::new(&client.name).is_err() {
                    continue;
                }
                for device in inner.backend.list(&devices_folder(&client.name))? {
                    if device.is_folder
                        && let Ok(key) = DeviceKey::new(&client.name, &device.name)
                    {
                        all.push(key);
                    }
                }
            }
            all.sort_unstable();
            Ok(all)
        })
        .await
    }
}
