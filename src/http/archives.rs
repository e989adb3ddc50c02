//! `/api/archives?client=&device=`: the finished sessions of a device, newest first, a part of
//! them at a time.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use url::form_urlencoded;

use super::auth::{Gate, Refusal};
use super::playback::address;
use crate::archive::Document;
use crate::archive::document::Status;
use crate::model::{DeviceKey, SessionId};
use crate::store::layout::{ARCHIVE_FILE, Place};
use crate::store::{DeviceFolder, Store, StoreError};

/// Archives in one answer at most: each is a document to read.
const MAX_LIMIT: usize = 50;

/// Lists archives. Cheap to clone.
#[derive(Clone)]
pub struct Archives {
    store: Store,
    gate: Gate,
}

#[derive(Serialize)]
struct Answer {
    /// How many there are in all, those that failed included.
    total: usize,
    archives: Vec<Listed>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    session: String,
    started_at: String,
    ended_at: String,
    duration_secs: f64,
    frame_count: u64,
    size_bytes: u64,
    expires_at: String,
    playlist: String,
}

impl Archives {
    /// Lists those of `store` for whom `gate` admits.
    pub fn new(store: Store, gate: Gate) -> Self {
        Self { store, gate }
    }

    /// The route.
    pub fn router(self) -> Router {
        Router::new().route("/api/archives", get(list)).with_state(Arc::new(self))
    }
}

async fn list(
    State(archives): State<Arc<Archives>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut ids = (String::new(), String::new());
    let (mut offset, mut limit) = (0, MAX_LIMIT);
    let query = query.unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "client" => ids.0 = value.into_owned(),
            "device" => ids.1 = value.into_owned(),
            "offset" => offset = value.parse().unwrap_or(0),
            "limit" => limit = value.parse().unwrap_or(MAX_LIMIT).min(MAX_LIMIT),
            _ => {}
        }
    }
    // Who is not let in at all is told so before anything about the name.
    if let Err(refusal) = archives.gate.grant(&headers) {
        return refusal.into_response();
    }
    let Ok(key) = DeviceKey::new(&ids.0, &ids.1) else { return Refusal::Foreign.into_response() };
    if let Err(refusal) = archives.gate.admit(&key, None, &headers) {
        return refusal.into_response();
    }
    let read = archives.store.on_device(&key, move |folder| read(folder, offset, limit)).await;
    match read {
        Ok(answer) => super::json(&answer),
        Err(error) => {
            tracing::warn!(%error, "archives cannot be listed");
            (StatusCode::SERVICE_UNAVAILABLE, "the storage cannot be read at the moment\n")
                .into_response()
        }
    }
}

fn read(folder: &DeviceFolder, offset: usize, limit: usize) -> Result<Answer, StoreError> {
    let listed = folder.list(Place::Archives)?;
    let mut ids: Vec<SessionId> = listed
        .iter()
        .filter(|entry| entry.is_folder)
        .filter_map(|entry| SessionId::new(&entry.name).ok())
        .collect();
    // A session's name begins with its time.
    ids.sort_unstable_by(|a, b| b.cmp(a));
    let total = ids.len();
    let mut archives = Vec::new();
    for id in ids.into_iter().skip(offset).take(limit) {
        match folder.read_json::<Document>(Place::Archive(&id), ARCHIVE_FILE) {
            Ok(Some((document, _))) if document.status == Status::Ready => {
                archives.push(describe(folder.key(), &id, &document));
            }
            // In the making, failed, or not ours.
            Ok(_) | Err(StoreError::Unreadable { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Answer { total, archives })
}

fn describe(key: &DeviceKey, id: &SessionId, document: &Document) -> Listed {
    Listed {
        session: id.to_string(),
        started_at: document.started_at.to_string(),
        ended_at: document.ended_at.to_string(),
        duration_secs: document.duration_seconds,
        frame_count: document.frame_count,
        size_bytes: document.size_bytes,
        expires_at: document.expires_at.to_string(),
        playlist: address::archive_url(key, id),
    }
}
