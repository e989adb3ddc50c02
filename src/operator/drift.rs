//! Whether what was applied is still in force. Pure.
//!
//! The API server adds fields of its own, and others may own what is not ours: an autoscaler the
//! number of replicas, a person an annotation. So the question is whether all that we say still
//! stands, not whether the objects are equal.

use serde_json::Value;

/// Lists that Kubernetes merges by a key; what others have added to them is theirs.
const KEYED: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("env", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("ownerReferences", &["uid"]),
    ("ports", &["containerPort", "port"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];

/// Whether everything that `wanted` says stands in `found`.
pub fn stands(wanted: &Value, found: &Value) -> bool {
    holds("", wanted, found)
}

fn holds(field: &str, wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().all(|(key, value)| {
            found.get(key).map_or_else(|| is_empty(value), |found| holds(key, value, found))
        }),
        (Value::Array(wanted), Value::Array(found)) => lists(field, wanted, found),
        (Value::String(wanted), Value::String(found)) => {
            wanted == found || same_quantity(wanted, found)
        }
        (Value::Number(wanted), Value::Number(found)) => wanted.as_f64() == found.as_f64(),
        // A quantity may be written as a number.
        (Value::Number(wanted), Value::String(found)) => same_quantity(&wanted.to_string(), found),
        _ => wanted == found,
    }
}

fn lists(field: &str, wanted: &[Value], found: &[Value]) -> bool {
    let keys = KEYED.iter().find(|(name, _)| *name == field).map(|(_, keys)| *keys);
    let key = keys.and_then(|keys| {
        keys.iter().find(|key| wanted.iter().all(|item| item.get(**key).is_some()))
    });
    match key {
        Some(key) => wanted.iter().all(|item| {
            let same = |other: &&Value| other.get(*key) == item.get(*key);
            found.iter().find(same).is_some_and(|found| holds("", item, found))
        }),
        None => {
            wanted.len() == found.len()
                && wanted.iter().zip(found).all(|(wanted, found)| holds("", wanted, found))
        }
    }
}

/// What the API server leaves out when it is told so.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}

/// Quantities come back in another form: 1024Mi as 1Gi, 0.5 as 500m.
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
fn same_quantity(a: &str, b: &str) -> bool {
    match (quantity(a), quantity(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= f64::EPSILON * a.abs().max(b.abs()) * 4.0,
        _ => false,
    }
}

fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: &[(&str, f64)] = &[
        ("Ki", 1_024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    let (digits, scale) = SUFFIXES
        .iter()
        .find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, *scale)))
        .unwrap_or((text, 1.0));
    let number: f64 = digits.parse().ok().filter(|number: &f64| number.is_finite())?;
    Some(number * scale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_adds_is_no_drift() {
        let wanted = json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}], "tolerations": []}});
        let found = json!({"spec": {"containers": [{"name": "a", "imagePullPolicy": "Always",
            "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, {"name": "sidecar"}]}});
        assert!(stands(&wanted, &found));
    }

    #[test]
    fn what_was_changed_or_taken_away_is_drift() {
        let wanted = json!({"rules": [{"verbs": ["list"]}], "containers": [{"name": "a", "image": "x"}], "n": 1});
        for found in [
            json!({"rules": [{"verbs": ["list", "get"]}], "containers": [{"name": "a", "image": "x"}], "n": 1}),
            json!({"rules": [{"verbs": ["list"]}, {"verbs": ["*"]}], "containers": [{"name": "a", "image": "x"}], "n": 1}),
            json!({"rules": [{"verbs": ["list"]}], "containers": [{"name": "a", "image": "y"}], "n": 1}),
            json!({"rules": [{"verbs": ["list"]}], "containers": [{"name": "b", "image": "x"}], "n": 1}),
            json!({"rules": [{"verbs": ["list"]}], "containers": [{"name": "a", "image": "x"}]}),
        ] {
            assert!(!stands(&wanted, &found), "{found}");
        }
    }

    #[test]
    fn the_same_quantity_in_another_form_is_no_drift() {
        for (wanted, found) in [("1024Mi", "1Gi"), ("0.5", "500m"), ("1000m", "1"), ("1e3", "1k")] {
            assert!(stands(&json!({"cpu": wanted}), &json!({"cpu": found})), "{wanted}");
        }
        assert!(!stands(&json!({"cpu": "500m"}), &json!({"cpu": "0.6"})));
        assert!(!stands(&json!({"image": "a:1"}), &json!({"image": "a:2"})));
    }
}
