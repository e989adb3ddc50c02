//! Whether Redis holds what the storage says, by the words of the contract and nothing of ours.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig};
use serde_json::{Value, json};
use stream_processor::model::DeviceKey;
use stream_processor::store::{DeviceState, Store};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How far a score may be from the capture time: what a playlist says of it is as exact.
const SCORE_TOLERANCE_SECS: f64 = 0.1001;
const DAY_SECS: i64 = 86_400;

/// A connection of the test's own.
pub async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("an address");
    // A machine that is busy answers late.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connected = client.get_multiplexed_async_connection_with_config(&config).await;
    connected.expect("Redis answers")
}

/// Waits until Redis holds exactly what the storage says of all devices.
pub async fn agrees(store: &Store, url: &str, windows: bool) {
    let begun = Instant::now();
    loop {
        let wrong = differences(store, url, windows).await;
        if wrong.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "Redis and the storage differ:\n{}", wrong.join("\n"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that Redis holds otherwise than the storage says.
pub async fn differences(store: &Store, url: &str, windows: bool) -> Vec<String> {
    let mut redis = connect(url).await;
    let mut wrong = Vec::new();
    let mut members = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for key in store.devices().await.expect("the devices") {
        let state = store.on_device(&key, |folder| folder.state()).await.expect("a state");
        let Some(state) = state else { continue };
        let name = format!("{}:{}", key.client, key.device);
        let session_key = format!("stream:session:{name}");
        let record: Option<String> = redis.get(&session_key).await.expect("a record");
        let record = record.map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
        let expected = expected_record(&key, &state);
        if record != expected {
            wrong.push(format!("{session_key} is {record:?}, not {expected:?}"));
        }
        if expected.is_some() {
            let ttl_secs: i64 = redis.ttl(&session_key).await.expect("a time to live");
            if !(1..=DAY_SECS).contains(&ttl_secs) {
                wrong.push(format!("{session_key} lives {ttl_secs} s"));
            }
            keys.extend([session_key, "stream:sessions".to_owned()]);
            members.insert(name.clone());
        }
        if windows {
            let [next_key, segments_key] =
                ["hls:seq", "hls:segments"].map(|prefix| format!("{prefix}:{name}"));
            let next: Option<u64> = redis.get(&next_key).await.expect("a number");
            if next != Some(state.next_segment) {
                wrong.push(format!("{next_key} is {next:?}, not {}", state.next_segment));
            }
            wrong.extend(window_differences(&mut redis, store, &key, &state).await);
            keys.insert(next_key);
            if state.published.media_sequence < state.next_segment {
                keys.insert(segments_key);
            }
        }
    }
    let set: BTreeSet<String> = redis.smembers("stream:sessions").await.expect("a set");
    if set != members {
        wrong.push(format!("stream:sessions is {set:?}, not {members:?}"));
    }
    let all: BTreeSet<String> = redis.keys("*").await.expect("keys");
    if all != keys {
        wrong.push(format!("the keys are {all:?}, not {keys:?}"));
    }
    wrong
}

fn expected_record(key: &DeviceKey, state: &DeviceState) -> Option<Value> {
    let session = state.session.as_ref()?;
    Some(json!({
        "client_id": key.client.as_str(),
        "device_id": key.device.as_str(),
        "session_id": session.id.as_str(),
        "started_at": session.started_at.to_string(),
        "last_frame_at": session.last_frame_at.to_string(),
        "first_segment_number": session.first_segment,
        "last_segment_number": session.last_segment,
        "frame_count": session.frame_count,
        "first_frame_captured_at": session.first_captured_at.to_string(),
        "last_frame_captured_at": session.last_captured_at.to_string(),
    }))
}

async fn window_differences(
    redis: &mut MultiplexedConnection,
    store: &Store,
    key: &DeviceKey,
    state: &DeviceState,
) -> Vec<String> {
    let name = format!("hls:segments:{}:{}", key.client, key.device);
    let mut told: Vec<(u64, f64)> = redis.zrange_withscores(&name, 0, -1).await.expect("a window");
    told.sort_by_key(|(number, _)| *number);
    let records = store.committed_segments(key).await.expect("records");
    let listed: Vec<_> =
        records.iter().filter(|r| r.number >= state.published.media_sequence).collect();
    let mut wrong = Vec::new();
    let numbers = |told: &[(u64, f64)]| told.iter().map(|(n, _)| *n).collect::<Vec<_>>();
    let expected: Vec<u64> = listed.iter().map(|record| record.number).collect();
    if numbers(&told) != expected {
        wrong.push(format!("{name} has {:?}, not {expected:?}", numbers(&told)));
    }
    for ((_, score), record) in told.iter().zip(&listed) {
        #[allow(clippy::cast_precision_loss)] // Fewer than 53 bits.
        let captured_secs = record.captured_at.0 as f64 / 1_000.0;
        if (score - captured_secs).abs() > SCORE_TOLERANCE_SECS {
            wrong.push(format!(
                "{name}: {} was taken at {captured_secs}, not {score}",
                record.number
            ));
        }
    }
    wrong
}
