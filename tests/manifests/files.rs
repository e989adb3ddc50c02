//! Reads what the repository holds.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// Where a file of the repository is.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What a file of the repository says.
pub fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The objects of a YAML text.
pub fn objects_of(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .filter(|object| !object.is_null())
        .collect()
}

/// The objects of a file of the repository.
pub fn objects(name: &str) -> Vec<Value> {
    objects_of(&text(name))
}

/// All objects of a kind.
pub fn of_kind(objects: &[Value], kind: &str) -> Vec<Value> {
    objects.iter().filter(|object| object["kind"] == kind).cloned().collect()
}

/// The one object of a kind.
pub fn the(objects: &[Value], kind: &str) -> Value {
    let mut found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "one {kind}");
    found.remove(0)
}
