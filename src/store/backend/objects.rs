//! A bucket of S3, Google Cloud Storage or Azure. A put is whole and durable by itself, and the
//! server compares versions where a file system has a lock: `If-None-Match` and `If-Match` on
//! S3 and Azure, `x-goog-if-generation-match` on Google's (RFC 9110 section 13.1, and each
//! one's own reference).

use std::io;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
};

use super::{About, Backend, Expect, Fetched, Listed, Lock, Stored, Version, Written};
use crate::crash_point::reached;
use crate::model::UtcMillis;
use crate::store::StoreError;
use crate::store::ports::Threads;
use crate::store::steps::WriteSteps;

/// Everything below one prefix of a bucket.
#[derive(Clone)]
pub(in crate::store) struct Objects {
    bucket: Arc<dyn ObjectStore>,
    /// Without slashes at its ends; empty for the whole bucket.
    prefix: Arc<str>,
    threads: Arc<dyn Threads>,
}

impl Objects {
    pub fn new(bucket: Arc<dyn ObjectStore>, prefix: &str, threads: Arc<dyn Threads>) -> Self {
        Self { bucket, prefix: prefix.trim_matches('/').into(), threads }
    }

    /// The prefix, without slashes at its ends.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The object's whole content; none if it is larger than `limit_bytes`.
    pub async fn get_at_most(&self, path: &str, limit_bytes: u64) -> io::Result<Option<Bytes>> {
        let location = self.location(path)?;
        let found = self.bucket.get(&location).await.map_err(io_error)?;
        if found.meta.size > limit_bytes {
            return Ok(None);
        }
        found.bytes().await.map(Some).map_err(io_error)
    }

    fn location(&self, path: &str) -> io::Result<Path> {
        let full = match self.prefix.as_ref() {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        };
        Path::parse(full).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
    }

    /// Waits for the answer to a request.
    fn wait<T>(
        &self,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let mut answer = None;
        self.threads.wait(pin!(async { answer = Some(request.await) }));
        answer.unwrap_or_else(|| {
            let source = "nobody waited for the answer: the async runtime is gone".into();
            Err(Error::Generic { store: "bucket", source })
        })
    }

    /// Runs a request; none if there is no such object.
    fn ask<T>(
        &self,
        action: &'static str,
        path: &str,
        request: impl AsyncFnOnce(Path) -> object_store::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let io = |source| StoreError::io(action, path.into(), source);
        let location = self.location(path).map_err(io)?;
        match self.wait(request(location)) {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(io(io_error(error))),
        }
    }
}

impl Backend for Objects {
    fn reads_are_durable(&self) -> bool {
        true
    }

    fn read(&self, path: &str) -> Result<Option<Stored>, StoreError> {
        self.ask("read", path, async |location| {
            let found = self.bucket.get(&location).await?;
            let version = version_of(&found.meta);
            Ok(Stored { bytes: found.bytes().await?, version })
        })
    }

    fn fetch(
        &self,
        path: &str,
        at_most_bytes: u64,
        unless: Option<&str>,
    ) -> Result<Fetched, StoreError> {
        let known = unless.map(|tag| format!("\"{tag}\""));
        let found = self.ask("read", path, async |location| {
            let options =
                GetOptions::new().with_range(Some(0..at_most_bytes)).with_if_none_match(known);
            match self.bucket.get_opts(&location, options).await {
                Ok(found) => {
                    let about = about_of(&found.meta);
                    Ok(Fetched::Read(about, found.bytes().await?))
                }
                Err(Error::NotModified { .. }) => Ok(Fetched::Unchanged),
                Err(error) => Err(error),
            }
        })?;
        Ok(match found {
            // A server that knows no conditions on reads.
            Some(Fetched::Read(about, _)) if unless == Some(&about.tag) => Fetched::Unchanged,
            Some(found) => found,
            None => Fetched::Absent,
        })
    }

    fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let part = self.ask("read", path, async |location| {
            let options = GetOptions::new().with_range(Some(range));
            self.bucket.get_opts(&location, options).await?.bytes().await
        })?;
        part.ok_or_else(|| StoreError::io("read", path.into(), io::ErrorKind::NotFound.into()))
    }

    fn about(&self, path: &str) -> Result<Option<About>, StoreError> {
        let found =
            self.ask("look at", path, async |location| self.bucket.head(&location).await)?;
        Ok(found.map(|meta| about_of(&meta)))
    }

    fn write(
        &self,
        path: &str,
        bytes: &Bytes,
        expect: Expect<'_>,
        steps: &WriteSteps,
    ) -> Result<Written, StoreError> {
        reached(steps.begin);
        let mode = match expect {
            Expect::Anything => PutMode::Overwrite,
            Expect::Absent => PutMode::Create,
            Expect::Same(version) => PutMode::Update(UpdateVersion {
                e_tag: version.e_tag.clone(),
                version: version.number.clone(),
            }),
        };
        let io = |source| StoreError::io("write", path.into(), source);
        let location = self.location(path).map_err(io)?;
        let put = self.bucket.put_opts(&location, bytes.clone().into(), PutOptions::from(mode));
        let written = match self.wait(put) {
            Ok(_) => Written::Done,
            // What was to be replaced may be gone: that is another content, too.
            Err(
                Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. },
            ) if !matches!(expect, Expect::Anything) => Written::Conflict,
            Err(error) => return Err(io(io_error(error))),
        };
        reached(steps.durable);
        Ok(written)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let found = self.ask("list", folder, async |location| {
            self.bucket.list_with_delimiter(Some(&location)).await
        })?;
        let Some(found) = found else { return Ok(Vec::new()) };
        let files = found.objects.iter().filter_map(|meta| {
            let name = meta.location.filename()?.to_owned();
            Some(Listed { name, is_folder: false, about: Some(about_of(meta)) })
        });
        let folders = found.common_prefixes.iter().filter_map(|prefix| {
            Some(Listed { name: prefix.filename()?.to_owned(), is_folder: true, about: None })
        });
        Ok(files.chain(folders).collect())
    }

    fn remove(&self, path: &str) -> Result<bool, StoreError> {
        let removed =
            self.ask("remove", path, async |location| self.bucket.delete(&location).await)?;
        Ok(removed.is_some())
    }

    /// Up to a thousand with one request where the server can do that.
    fn remove_all(&self, paths: &[String]) -> Result<Vec<bool>, StoreError> {
        let locate = |path: &String| {
            self.location(path).map_err(|e| StoreError::io("remove", path.into(), e))
        };
        let locations = paths.iter().map(locate).collect::<Result<Vec<_>, _>>()?;
        let removed =
            self.bucket.delete_stream(stream::iter(locations.into_iter().map(Ok)).boxed());
        let ignore_absent = |result| match result {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        let all = removed.map(ignore_absent).try_collect::<Vec<()>>();
        if self.wait(all).is_err() {
            // To some servers what another has removed meanwhile is an error of such a request,
            // in words of their own. Asked for one by one it is none, and other errors come again.
            paths.iter().try_for_each(|path| self.remove(path).map(drop))?;
        }
        Ok(vec![true; paths.len()])
    }

    /// There are no folders in a bucket.
    fn remove_folder(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn copy(&self, from: &str, to: &str) -> Result<bool, StoreError> {
        let target = self.location(to).map_err(|e| StoreError::io("copy", to.into(), e))?;
        let copied =
            self.ask("copy", from, async |source| self.bucket.copy(&source, &target).await)?;
        Ok(copied.is_some())
    }

    fn sync(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn prepare(&self, _: &[String], _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn lock(&self, _: &str, _: Duration) -> Result<Option<Lock>, StoreError> {
        Ok(Some(Lock(None)))
    }
}

fn version_of(meta: &ObjectMeta) -> Version {
    Version { e_tag: meta.e_tag.clone(), number: meta.version.clone() }
}

fn about_of(meta: &ObjectMeta) -> About {
    let tag = meta.e_tag.as_deref().unwrap_or_default().trim_matches('"');
    About {
        len_bytes: meta.size,
        modified: UtcMillis(meta.last_modified.timestamp_millis()),
        // What is no ETag character would break a header (RFC 9110 section 8.8.3).
        tag: tag.chars().filter(|c| c.is_ascii_graphic() && *c != '"').collect(),
    }
}

/// A bucket's error with the kind that a file system would give it.
pub(in crate::store) fn io_error(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        Error::InvalidPath { .. } => io::ErrorKind::InvalidInput,
        Error::NotSupported { .. } | Error::NotImplemented { .. } => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
