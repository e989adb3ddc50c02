//! One connection to Redis: looks at devices, and writes to several keys at once, on condition
//! that nobody else has written since. Decides nothing.
//!
//! Commands that every Redis from version 5 on has, and no scripts.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, Pipeline, RedisError, RedisResult, Value,
};

use super::keys::{Command, Found, FoundWindow, Keys, SESSIONS};
use super::trouble::RedisTrouble;
use crate::model::DeviceKey;

/// How long Redis may take to let us in, and for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a key that holds another kind of value is told by.
const WRONG_TYPE: &str = "WRONGTYPE";

/// A connection that stands, as far as is known. After an error it is not used again.
pub(super) struct Link {
    connection: MultiplexedConnection,
    /// Whether windows are told, not sessions alone.
    windows: bool,
}

/// A device to be looked at, and its window's first and last number, if it has segments.
pub(super) type Look<'a> = (&'a DeviceKey, Option<(u64, u64)>);

impl Link {
    /// Connects, and finds out whether what listens there is Redis and lets us in.
    pub async fn connect(client: &Client, windows: bool) -> Result<Self, RedisTrouble> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        // The client's own limit leaves out what comes before the connection: the name's look-up.
        let encrypted =
            matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. });
        let connection = match tokio::time::timeout(2 * PATIENCE, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) if !error.is_timeout() => return Err(RedisTrouble::of(&error)),
            Ok(Err(_)) | Err(_) => return Err(RedisTrouble::no_connection_in_time(encrypted)),
        };
        let mut link = Self { connection, windows };
        link.asked_to_answer().await.map_err(|e| RedisTrouble::of_first_answer(&e))?;
        Ok(link)
    }

    /// Whether it still answers.
    pub async fn ping(&mut self) -> Result<(), RedisTrouble> {
        self.asked_to_answer().await.map_err(|e| RedisTrouble::of(&e))
    }

    async fn asked_to_answer(&mut self) -> RedisResult<()> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("PING");
        pipeline.exec_async(&mut self.connection).await
    }

    /// From now on, [`Link::write`] writes only if nobody else has written to these devices.
    pub async fn watch(&mut self, keys: &[&DeviceKey]) -> Result<(), RedisTrouble> {
        let mut pipeline = redis::pipe();
        self.add_watch(&mut pipeline, keys.iter().copied());
        pipeline.exec_async(&mut self.connection).await.map_err(|e| RedisTrouble::of(&e))
    }

    fn add_watch<'a>(&self, pipeline: &mut Pipeline, keys: impl Iterator<Item = &'a DeviceKey>) {
        pipeline.cmd("WATCH");
        for key in keys {
            let keys = Keys::of(key);
            pipeline.arg(keys.session);
            if self.windows {
                pipeline.arg(keys.next);
            }
        }
    }

    /// Ends what [`Link::watch`] began, without writing.
    pub async fn unwatch(&mut self) -> Result<(), RedisTrouble> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("UNWATCH");
        pipeline.exec_async(&mut self.connection).await.map_err(|e| RedisTrouble::of(&e))
    }

    /// What there is of each device.
    pub async fn look(&mut self, devices: &[Look<'_>]) -> Result<Vec<Found>, RedisTrouble> {
        self.ask(redis::pipe(), devices).await
    }

    /// [`Link::watch`] and [`Link::look`] with one question.
    pub async fn watch_and_look(
        &mut self,
        devices: &[Look<'_>],
    ) -> Result<Vec<Found>, RedisTrouble> {
        let mut pipeline = redis::pipe();
        self.add_watch(&mut pipeline, devices.iter().map(|(key, _)| *key));
        self.ask(pipeline, devices).await
    }

    /// Asks for each device after what the pipeline holds already.
    async fn ask(
        &mut self,
        mut pipeline: Pipeline,
        devices: &[Look<'_>],
    ) -> Result<Vec<Found>, RedisTrouble> {
        let before = pipeline.len();
        for (key, listed) in devices {
            let keys = Keys::of(key);
            pipeline.cmd("GET").arg(&keys.session);
            pipeline.cmd("SISMEMBER").arg(SESSIONS).arg(&keys.member);
            if self.windows {
                let (first, last) = listed.unwrap_or_default();
                pipeline.cmd("GET").arg(&keys.next);
                pipeline.cmd("ZCARD").arg(&keys.segments);
                pipeline.cmd("ZSCORE").arg(&keys.segments).arg(first);
                pipeline.cmd("ZSCORE").arg(&keys.segments).arg(last);
            }
        }
        pipeline.ignore_errors();
        let answers: RedisResult<Vec<RedisResult<Value>>> =
            pipeline.query_async(&mut self.connection).await;
        let answers = answers.map_err(|e| RedisTrouble::of(&e))?;
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            if !is_wrong_type(error) {
                return Err(RedisTrouble::of(error));
            }
        }
        let each = if self.windows { 6 } else { 2 };
        let answers = answers.get(before..).unwrap_or_default();
        Ok(answers.chunks(each).map(|answers| found(answers, self.windows)).collect())
    }

    /// Runs commands all at once; not at all if somebody has written to what is watched.
    pub async fn write(&mut self, commands: &[Command]) -> Result<bool, RedisTrouble> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for Command(words) in commands {
            let mut words = words.iter();
            pipeline.cmd(words.next().map(String::as_str).unwrap_or_default());
            for word in words {
                pipeline.arg(word);
            }
        }
        let done: RedisResult<Option<Vec<Value>>> =
            pipeline.query_async(&mut self.connection).await;
        done.map(|done| done.is_some()).map_err(|e| RedisTrouble::of(&e))
    }
}

fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some(WRONG_TYPE)
}

/// A device, from the answers to what was asked of it.
fn found(answers: &[RedisResult<Value>], windows: bool) -> Found {
    let answer = |index: usize| answers.get(index).and_then(|answer| answer.as_ref().ok());
    let record = match answer(0) {
        Some(Value::Nil) => None,
        Some(value) => Some(text(value).unwrap_or_default()),
        None => Some(String::new()),
    };
    let window = windows.then(|| FoundWindow {
        next: answer(2).and_then(text).and_then(|text| text.parse().ok()),
        has_next: answer(2) != Some(&Value::Nil),
        count: answer(3).and_then(number),
        has_first: answer(4).is_some_and(|score| *score != Value::Nil),
        has_last: answer(5).is_some_and(|score| *score != Value::Nil),
    });
    Found { record, in_sessions: answer(1).and_then(number) == Some(1), window }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}
