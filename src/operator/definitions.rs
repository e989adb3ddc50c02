//! Whether the installed definitions of both kinds know every field that this operator and its
//! workers write, and what to do if not. Asks the API server for what it serves to everybody, so
//! that no right is needed.

use std::collections::BTreeMap;

use axum::http::Request;
use kube::{Client, Error};
use serde_json::Value;

use super::crd::{GROUP, StreamProcessorStatus, definitions};

/// The version of both kinds.
const VERSION: &str = "v1alpha1";
/// The most missing fields that are named.
const MOST_NAMED: usize = 8;

/// The definitions as they are installed, as far as they matter here.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Installed {
    /// What they lack, such as `StreamProcessor.status.backlog`.
    lacking: Vec<String>,
    /// The schema of a status, where it lacks something.
    status: Option<Value>,
}

impl Installed {
    /// Reads what the API server serves of our group: an `OpenAPI` document of version 3.
    /// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3>
    pub fn read(document: &Value) -> Self {
        let schemas: BTreeMap<&str, &Value> = document["components"]["schemas"]
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::values)
            .filter_map(|schema| {
                let of = &schema["x-kubernetes-group-version-kind"][0];
                let is_ours = of["group"] == GROUP && of["version"] == VERSION;
                of["kind"].as_str().filter(|_| is_ours).map(|kind| (kind, schema))
            })
            .collect();
        let mut lacking = Vec::new();
        for definition in definitions() {
            let kind = definition.spec.names.kind.as_str();
            let version = definition.spec.versions.first();
            let ours = version.and_then(|version| version.schema.as_ref());
            let ours = serde_json::to_value(ours).unwrap_or_default();
            match schemas.get(kind) {
                Some(theirs) => compare(kind, &ours["openAPIV3Schema"], theirs, &mut lacking),
                None => lacking.push(format!("the kind {kind}")),
            }
            let wants_status = version.is_some_and(|v| v.subresources.is_some());
            let plural = &definition.spec.names.plural;
            let path =
                format!("/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{plural}/{{name}}");
            let has_status = document["paths"].get(format!("{path}/status")).is_some();
            if wants_status && schemas.contains_key(kind) && !has_status {
                lacking.push(format!("the subresource status of {kind}"));
            }
        }
        let status = schemas.get("StreamProcessor").map(|kind| &kind["properties"]["status"]);
        let status = status.filter(|_| !lacking.is_empty()).cloned();
        Self { lacking, status }
    }

    /// None at all.
    pub fn nothing() -> Self {
        Self::read(&Value::Null)
    }

    /// What is wrong and what to do, as a sentence; none if every field is known.
    pub fn outdated(&self) -> Option<String> {
        if self.lacking.is_empty() {
            return None;
        }
        let mut named: Vec<&str> =
            self.lacking.iter().take(MOST_NAMED).map(String::as_str).collect();
        let more = format!("{} more", self.lacking.len().saturating_sub(MOST_NAMED));
        if self.lacking.len() > MOST_NAMED {
            named.push(&more);
        }
        Some(format!(
            "the installed definitions are not those of this operator, {}: they lack {}. Run \
             kubectl apply --server-side -f crds (or stream-processor crds | kubectl apply \
             --server-side -f -); with Helm, helm upgrade",
            env!("CARGO_PKG_VERSION"),
            named.join(", ")
        ))
    }

    /// A status as JSON, without what the installed definition would refuse the whole for.
    ///
    /// # Errors
    /// A status that cannot be written as JSON: a defect.
    pub fn fitting(&self, status: &StreamProcessorStatus) -> Result<Value, serde_json::Error> {
        let mut value = serde_json::to_value(status)?;
        if let Some(schema) = &self.status {
            cut(&mut value, schema);
        }
        Ok(value)
    }
}

/// Notes the fields and values of `ours` that `theirs` does not know.
fn compare(at: &str, ours: &Value, theirs: &Value, lacking: &mut Vec<String>) {
    if theirs["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    for (name, field) in ours["properties"].as_object().into_iter().flatten() {
        // Served to everybody in a form of its own.
        if !at.contains('.') && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let at = format!("{at}.{name}");
        match theirs["properties"].get(name) {
            Some(theirs) => compare(&at, field, theirs, lacking),
            None => lacking.push(at),
        }
    }
    for inner in ["items", "additionalProperties"] {
        if ours[inner].is_object() && theirs[inner].is_object() {
            compare(at, &ours[inner], &theirs[inner], lacking);
        }
    }
    if let (Some(ours), Some(theirs)) = (ours["enum"].as_array(), theirs["enum"].as_array()) {
        let unknown = ours.iter().filter(|value| !theirs.contains(value));
        lacking.extend(unknown.map(|value| format!("{at}: {value}")));
    }
}

/// Removes the fields that `schema` does not know.
fn cut(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object() else { return };
            fields.retain(|name, _| known.contains_key(name));
            for (name, value) in fields {
                cut(value, &schema["properties"][name.as_str()]);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| cut(item, &schema["items"])),
        _ => {}
    }
}

/// Asks for the definitions; none if there is no answer now.
///
/// # Errors
/// What the API server says.
pub async fn installed(client: &Client) -> Result<Installed, Error> {
    let path = format!("/openapi/v3/apis/{GROUP}/{VERSION}");
    let request = Request::get(path).body(Vec::new()).map_err(Error::HttpError)?;
    match client.request::<Value>(request).await {
        Ok(document) => Ok(Installed::read(&document)),
        Err(Error::Api(status)) if status.is_not_found() => Ok(Installed::nothing()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What an API server serves of these definitions.
    fn served(change: impl FnOnce(&mut Value)) -> Value {
        let mut document = json!({"components": {"schemas": {}}, "paths": {}});
        for definition in definitions() {
            let kind = definition.spec.names.kind.clone();
            let version = &definition.spec.versions[0];
            let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref();
            let mut schema = serde_json::to_value(schema).unwrap();
            let of = json!([{"group": GROUP, "version": VERSION, "kind": kind}]);
            schema["x-kubernetes-group-version-kind"] = of;
            document["components"]["schemas"][format!("com.{kind}")] = schema;
            let plural = &definition.spec.names.plural;
            let path = format!(
                "/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{plural}/{{name}}/status"
            );
            document["paths"][path] = json!({});
        }
        change(&mut document);
        document
    }

    fn remove(document: &mut Value, path: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = format!("/components/schemas{parent}");
        let parent = document.pointer_mut(&parent).unwrap().as_object_mut().unwrap();
        parent.remove(name).unwrap();
    }

    #[test]
    fn our_own_definitions_lack_nothing() {
        let installed = Installed::read(&served(|_| {}));
        assert_eq!(installed.outdated(), None);
        let status = StreamProcessorStatus { backlog: Some(1), ..Default::default() };
        assert_eq!(installed.fitting(&status).unwrap(), serde_json::to_value(&status).unwrap());
    }

    #[test]
    fn what_older_definitions_lack_is_named_and_left_out_of_the_status() {
        let installed = Installed::read(&served(|document| {
            remove(document, "/com.StreamProcessor/properties/status/properties/backlog");
            remove(
                document,
                "/com.StreamProcessor/properties/spec/properties/archive/properties/enabled",
            );
            remove(document, "/com.DeviceSlice/properties/devices/items/properties/error");
            document["components"]["schemas"]["com.DeviceSlice"]["properties"]["devices"]["items"]
                ["properties"]["state"]["enum"] = json!(["live", "late", "offline"]);
        }));
        let said = installed.outdated().unwrap();
        for named in [
            "StreamProcessor.status.backlog",
            "StreamProcessor.spec.archive.enabled",
            "DeviceSlice.devices.error",
            "DeviceSlice.devices.state: \"failing\"",
            "kubectl apply --server-side -f crds",
        ] {
            assert!(said.contains(named), "{named}: {said}");
        }
        let status = StreamProcessorStatus { backlog: Some(1), replicas: 2, ..Default::default() };
        assert_eq!(installed.fitting(&status).unwrap(), json!({"replicas": 2, "readyReplicas": 0}));
    }

    #[test]
    fn none_at_all_and_none_of_a_status_are_said() {
        assert!(Installed::nothing().outdated().unwrap().contains("the kind StreamProcessor"));
        let installed = Installed::read(&served(|document| document["paths"] = json!({})));
        let said = installed.outdated().unwrap();
        assert!(said.contains("the subresource status of StreamProcessor"), "{said}");
    }
}
