//! `serve`: streams, archives, clips and the page, from the storage alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::CommandError;
use super::assembly::open_store_to_read;
use super::ops::Ops;
use super::signals::stop_on_signals;
use crate::config::{Config, ServeConfig, SigningKey};
use crate::fleet::{Fleet, FleetSettings};
use crate::http::archives::Archives;
use crate::http::auth::Gate;
use crate::http::auth::signed::{LEAST_KEY_BYTES, Signer};
use crate::http::auth::token_file::TokenFile;
use crate::http::auth::tokens::Tokens;
use crate::http::export::{ExportSettings, Exports};
use crate::http::page::PageFacts;
use crate::http::playback::{Playback, PlaybackSettings};
use crate::http::{Health, Metrics, Part, page, serve};
use crate::model::{Clock, Secret, SystemClock};

/// The fleet's loop turns four times a second, and waits for a slow storage; silent for this
/// long, it hangs.
const MAX_SILENCE: Duration = Duration::from_secs(120);

/// After how long without a commit a camera counts as gone.
const OFFLINE_AFTER: Duration = Duration::from_secs(60);

/// Serves until it is told to stop.
///
/// # Errors
/// When it cannot start: a storage that cannot be read, tokens or a key that are not right, an
/// address that is taken.
pub async fn run(config: Config) -> Result<(), CommandError> {
    let stop = stop_on_signals()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (gate, token_file) = gate(&config.serve, clock.clone())?;
    let store = open_store_to_read(&config.storage, &config.processing).await?;
    let listen = config.serve.listen;
    let listener = TcpListener::bind(listen).await.map_err(|e| {
        let sentence =
            format!("SERVE_ADDRESS and SERVE_PORT say {listen}, where nothing can be served");
        CommandError::because(sentence, e)
    })?;
    let address = listener.local_addr().unwrap_or(listen);
    let metrics =
        Metrics::new().map_err(|e| CommandError::because("the metrics cannot be set up", e))?;
    let health = Health::of(MAX_SILENCE, &[Part::Storage]);
    let ops = Ops::start(&config.metrics, metrics, health.clone(), stop.clone()).await?;

    let fleet = Fleet::new(
        store.clone(),
        clock.clone(),
        FleetSettings {
            looks_per_second: config.serve.looks_per_second,
            offline_after: OFFLINE_AFTER,
        },
    );
    let playback =
        PlaybackSettings { cache_bytes: config.serve.cache_bytes, ..PlaybackSettings::default() };
    let exports = ExportSettings {
        max_clip: Duration::from_secs(config.serve.max_clip_secs.into()),
        max_clips: config.serve.max_clips,
    };
    let facts = PageFacts { max_clip: exports.max_clip };
    let router = page::router(Arc::new(fleet.clone()), gate.clone(), facts)
        .merge(Playback::new(store.clone(), gate.clone(), playback).router())
        .merge(Exports::new(store.clone(), gate.clone(), clock, exports).router())
        .merge(Archives::new(store, gate.clone()).router());
    let following = tokio::spawn(fleet.follow(health, stop.clone()));
    let watching = token_file.map(|file| tokio::spawn(file.follow(gate.clone(), stop.clone())));
    if !gate.is_locked() {
        tracing::warn!("whoever reaches {address} sees every camera: SERVE_AUTH is none");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %address,
        storage = %config.storage.streams,
        "streams and the page are served"
    );
    let served = serve(listener, router, stop.clone()).await;
    stop.cancel();
    ended(following).await?;
    if let Some(watching) = watching {
        ended(watching).await?;
    }
    ops.ended().await;
    served.map_err(|e| CommandError::because("the streams can no longer be served", e))
}

async fn ended(task: tokio::task::JoinHandle<()>) -> Result<(), CommandError> {
    task.await.map_err(|e| CommandError::because("a part of the server has failed", e))
}

/// Who may see what, by the settings.
fn gate(
    config: &ServeConfig,
    clock: Arc<dyn Clock>,
) -> Result<(Gate, Option<TokenFile>), CommandError> {
    let signer = config.signing_key.as_ref().map(signer).transpose()?;
    if !config.asks_for_tokens {
        return Ok((Gate::open(signer, clock), None));
    }
    let (file, tokens) = match &config.tokens_file {
        Some(path) => {
            let (file, tokens) = TokenFile::open(path.clone())
                .map_err(|e| CommandError::because("SERVE_TOKENS_FILE does not work", e))?;
            (Some(file), tokens)
        }
        None => (None, Tokens::default()),
    };
    let fresh = || {
        tracing::info!("links are signed with a key of this process: SERVE_SIGNING_KEY is not set");
        Signer::fresh().ok_or_else(|| CommandError::new("no key can be made"))
    };
    let signer = signer.map_or_else(fresh, Ok)?;
    Ok((Gate::locked(tokens, signer, clock), file))
}

/// What signs links.
///
/// # Errors
/// A file that cannot be read, and a key that is too short.
pub(super) fn signer(key: &SigningKey) -> Result<Signer, CommandError> {
    let key = match key {
        SigningKey::Given(key) => key.clone(),
        SigningKey::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| {
                let sentence = format!("SERVE_SIGNING_KEY_FILE {} cannot be read", path.display());
                CommandError::because(sentence, e)
            })?;
            Secret::new(text.trim_end_matches(['\r', '\n']))
        }
    };
    Signer::new(&key).ok_or_else(|| {
        CommandError::new(format!(
            "the signing key has less than {LEAST_KEY_BYTES} characters; make one with \
             `openssl rand -hex 32`"
        ))
    })
}
