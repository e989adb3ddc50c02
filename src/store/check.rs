//! Whether a storage is there, lets us in, and does what the store builds on.

use bytes::Bytes;

use super::backend::{Backend, Expect, Written};
use super::layout::CLIENTS;
use super::{Inner, Store, StoreError, steps};

/// What of a probe's name tells whose it is; the rest tells two processes apart.
const PROBE: &str = ".stream-processor-probe";

impl Store {
    /// Lists, writes, replaces and removes a file of its own, so that a wrong bucket, wrong
    /// credentials, a read-only or a full disk are told at start and not with the first frame;
    /// and finds out whether a bucket compares versions, without which two workers could both
    /// commit.
    ///
    /// # Errors
    /// [`StoreError::Io`] with what the storage said; [`StoreError::NotCompared`].
    pub async fn check(&self) -> Result<(), StoreError> {
        self.blocking(check).await
    }

    /// Lists the devices' folder, for commands that only read.
    ///
    /// # Errors
    /// [`StoreError::Io`] with what the storage said.
    pub async fn check_readable(&self) -> Result<(), StoreError> {
        self.blocking(|inner| inner.backend.list(CLIENTS).map(|_| ())).await
    }
}

fn check(inner: &Inner) -> Result<(), StoreError> {
    inner.backend.list(CLIENTS)?;
    let probe = format!("{PROBE}-{}-{:08x}", std::process::id(), rand::random::<u32>());
    let result = try_out(inner.backend.as_ref(), &probe);
    let removed = inner.backend.remove(&probe);
    result?;
    removed.map(|_| ())
}

fn try_out(backend: &dyn Backend, probe: &str) -> Result<(), StoreError> {
    let write = |text: &'static str, expect: Expect<'_>| {
        backend.write(probe, &Bytes::from_static(text.as_bytes()), expect, &steps::PROBE)
    };
    let _ = write("1", Expect::Absent)?;
    if !backend.reads_are_durable() {
        return Ok(());
    }
    let not_compared = |what| StoreError::NotCompared { what };
    if write("2", Expect::Absent)? != Written::Conflict {
        return Err(not_compared("If-None-Match: * on a PUT"));
    }
    let first = backend.read(probe)?;
    let _ = write("3", Expect::unchanged(first.as_ref()))?;
    if write("4", Expect::unchanged(first.as_ref()))? != Written::Conflict {
        return Err(not_compared("If-Match on a PUT"));
    }
    match backend.read(probe)? {
        Some(stored) if stored.bytes == "3" => Ok(()),
        _ => Err(not_compared("If-Match on a PUT")),
    }
}
