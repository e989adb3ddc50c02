//! The API server's audit log: what was asked of it, by whom, and what it answered.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a line may be waited for: it is written after the answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// One request that was answered; a watch is when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Such as `admin` or `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// In the plural, with the group unless it is the core's, and the subresource, such as
    /// `pods`, `pods/status` or `deployments.apps/scale`; a path if it is none.
    pub resource: String,
    /// Empty where there is none.
    pub namespace: String,
    /// Empty where there is none.
    pub name: String,
    /// The answer's code of HTTP.
    pub code: u16,
}

impl Request {
    /// Whether it would change something.
    pub fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether its user may not do that.
    pub fn is_forbidden(&self) -> bool {
        self.code == 403
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, verb, resource, namespace, name, code } = self;
        write!(f, "{user} {verb} {resource} {namespace}/{name}: {code}")
    }
}

/// The log, from a place in it on.
#[derive(Clone, Debug)]
pub struct Audit {
    file: PathBuf,
    from_byte: u64,
}

impl Audit {
    /// All that is in the file.
    pub fn of(file: PathBuf) -> Self {
        Self { file, from_byte: 0 }
    }

    /// Only what comes from now on.
    pub fn since_now(&self) -> Self {
        let length = std::fs::metadata(&self.file).map_or(0, |file| file.len());
        Self { file: self.file.clone(), from_byte: length }
    }

    /// The requests so far, in the order of their answers.
    pub fn requests(&self) -> Vec<Request> {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.file) {
            file.seek(SeekFrom::Start(self.from_byte)).expect("a place in the log");
            file.read_to_string(&mut text).expect("text");
        }
        // The last line may be half there yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(read).collect()
    }

    /// The requests of one user so far.
    pub fn requests_of(&self, user: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.user == user).collect()
    }

    /// How many requests there were of each user, verb and resource.
    pub fn counts(&self) -> BTreeMap<(String, String, String), usize> {
        let mut counts = BTreeMap::new();
        for Request { user, verb, resource, .. } in self.requests() {
            *counts.entry((user, verb, resource)).or_default() += 1;
        }
        counts
    }

    /// What was asked for by somebody who may not.
    pub fn forbidden(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_forbidden).collect()
    }

    /// Waits for a request that is as wanted.
    pub async fn wait_for(&self, wanted: impl Fn(&Request) -> bool) -> Request {
        let begun = Instant::now();
        loop {
            if let Some(found) = self.requests().into_iter().find(&wanted) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "no such request: {:#?}", self.counts());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A line of the log; none of a watch that has ended, whose beginning was told before.
fn read(line: &str) -> Option<Request> {
    let event: Value = serde_json::from_str(line).expect("a line of JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (verb, code) = (text(&event["verb"]), event["responseStatus"]["code"].as_u64());
    let ended_watch = verb == "watch" && event["stage"] == "ResponseComplete";
    if ended_watch && code.is_some_and(|code| code < 400) {
        return None;
    }
    let object = &event["objectRef"];
    let mut resource = text(&object["resource"]);
    if resource.is_empty() {
        resource = text(&event["requestURI"]);
    }
    for (mark, part) in [('.', "apiGroup"), ('/', "subresource")] {
        if let Some(part) = object[part].as_str() {
            resource.push(mark);
            resource += part;
        }
    }
    Some(Request {
        user: text(&event["user"]["username"]),
        verb,
        resource,
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: code.and_then(|code| code.try_into().ok()).unwrap_or(0),
    })
}
