//! Which devices there are, by the folders of the storage.

use std::io::ErrorKind;
use std::sync::PoisonError;

use super::backend::Listed;
use super::layout::{CLIENTS, devices_folder};
use super::{Inner, Store, StoreError};
use crate::model::{ClientId, DeviceKey};

impl Store {
    /// Every device that has a folder, in the order of its names. A foreign file or folder among
    /// them is none. A client whose folder must not be looked into costs itself: that is logged
    /// when it begins and when it is over.
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
                let listed = inner.backend.list(&devices_folder(&client.name));
                for device in inner.unless_forbidden(&client.name, listed)? {
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

impl Inner {
    /// A client's devices; none if they must not be looked at.
    fn unless_forbidden(
        &self,
        client: &str,
        listed: Result<Vec<Listed>, StoreError>,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut forbidden = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
        match listed {
            Err(StoreError::Io { source, path, .. })
                if source.kind() == ErrorKind::PermissionDenied
                    && !self.backend.reads_are_durable() =>
            {
                if forbidden.insert(client.to_owned()) {
                    tracing::warn!(
                        client, path, error = %source,
                        "a client is left out: let this program's user read and search its folder"
                    );
                }
                Ok(Vec::new())
            }
            Ok(listed) => {
                if forbidden.remove(client) {
                    tracing::info!(client, "mended: the client's folder can be looked into");
                }
                Ok(listed)
            }
            Err(error) => Err(error),
        }
    }
}
