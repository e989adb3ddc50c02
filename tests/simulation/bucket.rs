//! A bucket: a put is whole and durable, and compares. A request may be refused, its answer may
//! be lost, and it may be carried out after whoever sent it has died.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};

use crate::plan::Failure;
use crate::process::Process;
use crate::world::{Plant, World};

/// What all processes see.
#[derive(Debug, Default)]
pub struct BucketState {
    objects: BTreeMap<String, (u64, Bytes)>,
    next_tag: u64,
}

impl BucketState {
    pub fn put(&mut self, path: &str, bytes: Bytes) -> u64 {
        self.next_tag += 1;
        self.objects.insert(path.to_owned(), (self.next_tag, bytes));
        self.next_tag
    }

    pub fn get(&self, path: &str) -> Option<(u64, Bytes)> {
        self.objects.get(path).cloned()
    }

    pub fn files(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        let files = self.objects.range(prefix.clone()..);
        let files = files.take_while(|(path, _)| path.starts_with(&prefix));
        files.map(|(path, _)| path[prefix.len()..].to_owned()).collect()
    }
}

/// The bucket, as one process uses it.
pub struct WorkerBucket(pub Arc<Process>);

impl fmt::Debug for WorkerBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a simulated bucket")
    }
}

impl fmt::Display for WorkerBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a simulated bucket")
    }
}

fn away(what: &'static str) -> Error {
    Error::Generic { store: "bucket", source: what.into() }
}

fn absent(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "there is no such object".into() }
}

fn meta(path: &str, tag: u64, size: usize) -> ObjectMeta {
    ObjectMeta {
        location: Path::from(path),
        last_modified: Default::default(),
        size: size as u64,
        e_tag: Some(format!("\"{tag}\"")),
        version: None,
    }
}

fn put_now(world: &World, process: u64, path: &Path, bytes: Bytes, mode: &PutMode) -> Result<u64> {
    let mut bucket = world.bucket.lock().unwrap();
    let stored = bucket.get(path.as_ref());
    let compares = world.plant != Some(Plant::NoFencing);
    match mode {
        PutMode::Create if stored.is_some() && compares => {
            return Err(Error::AlreadyExists {
                path: path.to_string(),
                source: "it is there".into(),
            });
        }
        PutMode::Update(version) if compares => {
            let tag = stored.map(|(tag, _)| format!("\"{tag}\""));
            if tag.is_none() || tag != version.e_tag {
                let source = "it is another".into();
                return Err(Error::Precondition { path: path.to_string(), source });
            }
        }
        _ => {}
    }
    let tag = bucket.put(path.as_ref(), bytes);
    drop(bucket);
    world.is_seen(process, path.as_ref());
    Ok(tag)
}

#[async_trait]
impl ObjectStore for WorkerBucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let process = &self.0;
        process.step().await;
        process.go_on().await;
        let failure = process.storage_failure();
        if failure == Some(Failure::Refused) {
            process.takes(20).await;
            return Err(away("503 Service Unavailable"));
        }
        let world = Arc::clone(&process.world);
        let (worker, number) = (process.worker, process.number);
        let (path, bytes) = (location.clone(), Bytes::from(payload));
        let mode = opts.mode.clone();
        let millis = process.draw(|random| random.within(0, 30));
        // It is on its way, whatever becomes of who sent it.
        let sent = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            world.note("put", worker, path.as_ref());
            let first = put_now(&world, number, &path, bytes.clone(), &mode);
            match failure {
                Some(Failure::UnknownAndAgain) => {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    put_now(&world, number, &path, bytes, &mode)
                }
                _ => first,
            }
        });
        let tag = sent.await.unwrap();
        process.takes(5).await;
        process.step().await;
        if failure == Some(Failure::Unknown) {
            return Err(away("the connection was lost before the answer came"));
        }
        let tag = Some(format!("\"{}\"", tag?));
        Ok(PutResult { e_tag: tag, version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "multipart".into(), implementer: "test".into() })
    }

    async fn get_opts(&self, location: &Path, _: GetOptions) -> Result<GetResult> {
        let process = &self.0;
        process.takes(5).await;
        // A frame is read as often as its device fails otherwise, and must not be taken for bad.
        let is_frame = location.as_ref().contains("/frames/");
        if !is_frame && process.storage_failure().is_some() {
            return Err(away("503 Service Unavailable"));
        }
        let world = &process.world;
        let stored = world.bucket.lock().unwrap().get(location.as_ref());
        let (tag, mut bytes) = stored.ok_or_else(|| absent(location))?;
        if let Some(plant) = world.plant
            && location.as_ref().ends_with("/hls/state.json")
            && let Some(other) =
                world.planted_state(plant, process.number, location.as_ref(), &bytes)
        {
            bytes = other.into();
        }
        let meta = meta(location.as_ref(), tag, bytes.len());
        let range: Range<u64> = 0..meta.size;
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        let (attributes, extensions) = Default::default();
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let process = Arc::clone(&self.0);
        locations
            .then(move |path| {
                let process = Arc::clone(&process);
                async move {
                    process.takes(5).await;
                    process.step().await;
                    let path = path?;
                    let gone = process.world.bucket.lock().unwrap().objects.remove(path.as_ref());
                    gone.map(|_| path.clone()).ok_or_else(|| absent(&path))
                }
            })
            .boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let error = Error::NotImplemented { operation: "list".into(), implementer: "test".into() };
        stream::iter([Err(error)]).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.takes(5).await;
        let folder = prefix.map(ToString::to_string).unwrap_or_default();
        let bucket = self.0.world.bucket.lock().unwrap();
        let files = bucket.files(&folder);
        let mut listed = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: Default::default(),
        };
        for file in files {
            match file.split_once('/') {
                Some((below, _)) => {
                    let below = Path::from(format!("{folder}/{below}"));
                    if listed.common_prefixes.last() != Some(&below) {
                        listed.common_prefixes.push(below);
                    }
                }
                None => {
                    let path = format!("{folder}/{file}");
                    let (tag, bytes) = &bucket.objects[&path];
                    listed.objects.push(meta(&path, *tag, bytes.len()));
                }
            }
        }
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        self.0.takes(5).await;
        let mut bucket = self.0.world.bucket.lock().unwrap();
        let (_, bytes) = bucket.get(from.as_ref()).ok_or_else(|| absent(from))?;
        bucket.put(to.as_ref(), bytes);
        Ok(())
    }
}
