//! Specs for tests, which go through the real validation.

use serde_json::{Value, json};

use super::super::crd::StreamProcessor;
use super::super::validate::{Validated, validate};

/// The least that a spec has to say.
pub fn minimal() -> Value {
    json!({
        "pulsar": {"serviceUrl": "pulsar://broker:6650"},
        "storage": {"type": "filesystem", "filesystem": {"claimName": "streams"}},
    })
}

/// A spec that uses every field.
pub fn full() -> Value {
    json!({
        "image": "registry.example.com/stream-processor:1",
        "imagePullPolicy": "Always",
        "replicas": 3,
        "pulsar": {
            "serviceUrl": "pulsar+ssl://broker:6651",
            "adminUrl": "https://broker:8443",
            "topic": "persistent://a/b/c",
            "subscription": "fleet",
            "authSecretRef": {"name": "pulsar", "key": "jwt"},
            "tls": {"caSecretRef": {"name": "pulsar-tls"}},
        },
        "storage": {"type": "s3", "s3": {
            "bucket": "frames", "prefix": "fleet/one/", "region": "sa-east-1",
            "endpoint": "https://s3.example.com", "credentialsSecretRef": {"name": "s3"},
        }},
        "processing": {
            "maxWorkers": 8, "segmentDurationSeconds": 20, "framesPerSegment": 4,
            "retentionHours": 48, "videoWidth": 1280, "container": "fmp4",
            "playback": "timelapse", "timelapseFrameRate": 4, "quality": "high",
        },
        "redis": {"urlSecretRef": {"name": "redis"}, "playlist": true},
        "archive": {"retentionDays": 3, "databaseSecretRef": {"name": "database"}},
        "cleanup": {"schedule": "*/10 * * * *", "suspend": true},
        "archiveCleanup": {"schedule": "@daily"},
        "serve": {
            "replicas": 2, "tokensSecretRef": {"name": "viewers"},
            "signingKeySecretRef": {"name": "links"},
        },
        "watermark": {"position": "bottomLeft", "fontSize": 30, "timezone": "America/Santiago"},
        "logLevel": "debug",
        "settings": {"RETENTION_GRACE_SECONDS": "60"},
        "pod": {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "video", "operator": "Exists"}],
            "labels": {"team": "video"},
            "annotations": {"note": "mine"},
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "high",
        },
    })
}

/// The object as the API server would hand it out.
#[expect(clippy::needless_pass_by_value, reason = "specs are made for it")]
pub fn object(spec: Value) -> StreamProcessor {
    let object = json!({
        "apiVersion": "streamhub.microboxlabs.com/v1alpha1",
        "kind": "StreamProcessor",
        "metadata": {"name": "fleet", "namespace": "cameras", "uid": "u-1", "generation": 1},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// What builders get.
pub fn validated(spec: Value) -> Validated {
    validate(&object(spec), "example.com/stream-processor:test").unwrap()
}
