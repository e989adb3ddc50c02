//! What a spec asks for, once it has been found to make sense. Pure: no client, no clock.
//!
//! The API server has checked each field and the rules of the definition; here the settings that
//! the pods will get are read by the same reader that the pods use, so that what would end a
//! worker at its start is said before there is one.

use std::collections::BTreeMap;
use std::ffi::OsString;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use super::build::env::{self, Variable};
use super::crd::{StreamProcessor, StreamProcessorSpec};
use super::references::References;
use crate::config::{Config, Group, Sources, settings};

/// A spec that makes sense: what builders see.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The object's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// What children say of whose they are.
    pub owner: OwnerReference,
    /// The image of the pods.
    pub image: String,
    /// The settings of the pods.
    pub variables: Vec<Variable>,
    /// What it names besides itself.
    pub references: References,
    /// The port of metrics and health.
    pub metrics_port: i32,
    /// The port that streams are served on, where they are.
    pub serve_port: i32,
    /// The rest of what it says.
    pub spec: StreamProcessorSpec,
}

/// What is wrong with a spec: everything, one sentence each.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Invalid(pub Vec<String>);

/// Reads what `object` asks for; `default_image` is for an object that names none.
///
/// # Errors
/// [`Invalid`] with everything that is wrong.
pub fn validate(object: &StreamProcessor, default_image: &str) -> Result<Validated, Invalid> {
    let incomplete = || Invalid(vec!["the object has no name, namespace or uid".into()]);
    let name = object.name_any();
    let namespace = object.namespace().ok_or_else(incomplete)?;
    let uid = object.uid().ok_or_else(incomplete)?;
    let owner = object.controller_owner_ref(&()).ok_or_else(incomplete)?;
    let spec = object.spec.clone();
    let (variables, mut wrong) =
        with_further_settings(env::variables(&spec, &name), &spec.settings);
    let config = read(&variables, &mut wrong);
    match config {
        Some(config) if wrong.is_empty() => Ok(Validated {
            owner,
            image: spec.image.clone().unwrap_or_else(|| default_image.to_owned()),
            references: References::of(&spec),
            metrics_port: i32::from(config.metrics.listen.port()),
            serve_port: i32::from(config.serve.listen.port()),
            variables,
            name,
            namespace,
            uid,
            spec,
        }),
        _ => Err(Invalid(wrong)),
    }
}

/// Adds `spec.settings`; what has a field of its own is refused.
fn with_further_settings(
    mut variables: Vec<Variable>,
    further: &BTreeMap<String, String>,
) -> (Vec<Variable>, Vec<String>) {
    let mut wrong = Vec::new();
    for (name, value) in further {
        let taken = variables.iter().any(|variable| variable.name == *name);
        let known = settings().find(|setting| setting.variable == name);
        match known {
            _ if taken || ["STATUS_", "OPERATOR_"].iter().any(|p| name.starts_with(p)) => {
                wrong.push(format!(
                    "settings.{name} is set by the operator: use the field of the spec instead"
                ));
            }
            Some(setting) if setting.secret => wrong.push(format!(
                "settings.{name} is a secret, which everybody could read here: use a secret \
                 reference of the spec instead"
            )),
            _ => variables.push(Variable::plain(name, value)),
        }
    }
    (variables, wrong)
}

/// The settings as the pods will read them. What a secret holds is not known here: something of
/// the right shape stands for it.
fn read(variables: &[Variable], wrong: &mut Vec<String>) -> Option<Config> {
    let environment: BTreeMap<OsString, OsString> = variables
        .iter()
        .map(|variable| (variable.name.clone().into(), variable.example().to_owned().into()))
        .collect();
    let sources = Sources { environment, ..Sources::default() };
    match Config::resolve(&sources, Group::ALL, "pod") {
        Ok(resolved) => {
            // Variables of a spec are written by people: one that is not known is a mistake.
            wrong
                .extend(resolved.notices.into_iter().filter(|notice| notice.contains("not known")));
            Some(resolved.config)
        }
        Err(crate::config::ConfigError::Invalid(problems)) => {
            wrong.extend(problems.iter().map(ToString::to_string));
            None
        }
        Err(error) => {
            wrong.push(error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::build::fixture;

    fn refused(spec: serde_json::Value) -> String {
        validate(&fixture::object(spec), "image").unwrap_err().to_string()
    }

    #[test]
    fn what_would_end_a_worker_at_its_start_is_said_before_there_is_one() {
        let with = |key: &str, value: serde_json::Value| {
            let mut spec = fixture::minimal();
            spec[key] = value;
            refused(spec)
        };
        assert!(with("logLevel", json!("INFOO")).contains("LOG_LEVEL"));
        let zone = with("watermark", json!({"timezone": "America/Atlantis"}));
        assert!(zone.contains("WATERMARK_TIMEZONE"), "{zone}");
        let unknown = with("settings", json!({"RETENTION_GRACE_SECOND": "1"}));
        assert!(unknown.contains("did you mean RETENTION_GRACE_SECONDS"), "{unknown}");
        let twice = with("settings", json!({"PULSAR_TOPIC": "persistent://a/b/c"}));
        assert!(twice.contains("field of the spec"), "{twice}");
        let secret = with("settings", json!({"SERVE_SIGNING_KEY": "x"}));
        assert!(secret.contains("everybody could read"), "{secret}");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let mut spec = fixture::minimal();
        spec["logLevel"] = json!("INFOO");
        spec["watermark"] = json!({"format": "%!"});
        let Invalid(wrong) = validate(&fixture::object(spec), "image").unwrap_err();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }

    #[test]
    fn an_object_without_an_image_gets_the_operators() {
        let mut spec = fixture::minimal();
        assert_eq!(validate(&fixture::object(spec.clone()), "mine:1").unwrap().image, "mine:1");
        spec["image"] = json!("theirs:2");
        assert_eq!(validate(&fixture::object(spec), "mine:1").unwrap().image, "theirs:2");
    }
}
