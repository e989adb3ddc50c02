//! The settings of the pods: from the spec to the variables that [`crate::config`] reads. Pure.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, SecretKeySelector};

use crate::config::Group;
use crate::operator::crd::{
    Container, Playback, PulsarSpec, Quality, SecretKey, ServeSpec, StorageSpec,
    StreamProcessorSpec, WatermarkSpec,
};

/// Where the file system is mounted, and what stands before names in a bucket is put under it.
pub const STORAGE_PATH: &str = "/storage/streams";
/// Where secrets are mounted that are read as files.
pub const SECRETS_PATH: &str = "/etc/stream-processor";
/// The file's name within a mounted secret.
pub const SECRET_FILE: &str = "value";

/// One variable of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: Value,
}

/// Where a variable's value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// The spec.
    Plain(String),
    /// A secret; the example is of the same shape.
    Secret {
        /// The secret's name.
        secret: String,
        /// Its key.
        key: String,
        /// A text that the setting would take.
        example: &'static str,
    },
    /// A field of the pod itself.
    Field(&'static str),
}

impl Variable {
    /// With a value of the spec.
    #[expect(clippy::needless_pass_by_value, reason = "what is handed over is made for it")]
    pub fn plain(name: &str, value: impl ToString) -> Self {
        Self { name: name.to_owned(), value: Value::Plain(value.to_string()) }
    }

    fn secret(name: &str, secret: &str, key: &str, example: &'static str) -> Self {
        let (secret, key) = (secret.to_owned(), key.to_owned());
        Self { name: name.to_owned(), value: Value::Secret { secret, key, example } }
    }

    fn field(name: &str, path: &'static str) -> Self {
        Self { name: name.to_owned(), value: Value::Field(path) }
    }

    /// Its value, or one of the same shape where it is not known yet.
    pub fn example(&self) -> &str {
        match &self.value {
            Value::Plain(value) => value,
            Value::Secret { example, .. } => example,
            Value::Field(_) => "pod",
        }
    }

    /// As a container has it.
    pub fn to_env(&self) -> EnvVar {
        let name = self.name.clone();
        let from =
            |source| EnvVar { value_from: Some(source), name: name.clone(), ..EnvVar::default() };
        match &self.value {
            Value::Plain(value) => {
                EnvVar { name: name.clone(), value: Some(value.clone()), ..EnvVar::default() }
            }
            Value::Secret { secret, key, .. } => {
                let selector =
                    SecretKeySelector { name: secret.clone(), key: key.clone(), optional: None };
                from(EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() })
            }
            Value::Field(path) => {
                let selector =
                    ObjectFieldSelector { field_path: (*path).to_owned(), api_version: None };
                from(EnvVarSource { field_ref: Some(selector), ..EnvVarSource::default() })
            }
        }
    }
}

/// Those of `variables` that belong to one of `groups`.
pub fn of_groups(variables: &[Variable], groups: &[Group]) -> Vec<EnvVar> {
    let used = |name: &str| groups.iter().any(|group| name.starts_with(group.prefix()));
    variables.iter().filter(|v| used(&v.name)).map(Variable::to_env).collect()
}

/// The path of a secret that is read as a file.
pub fn secret_file(volume: &str) -> String {
    format!("{SECRETS_PATH}/{volume}/{SECRET_FILE}")
}

/// Every variable that follows from the spec of `processor`.
pub fn variables(spec: &StreamProcessorSpec, processor: &str) -> Vec<Variable> {
    let mut all = pulsar(&spec.pulsar);
    all.extend(storage(&spec.storage));
    all.extend(processing(spec));
    if let Some(redis) = &spec.redis {
        all.push(Variable::plain("REDIS_ENABLED", true));
        all.push(Variable::plain("REDIS_PLAYLIST_ENABLED", redis.playlist));
        match (&redis.url, &redis.url_secret_ref) {
            (Some(url), _) => all.push(Variable::plain("REDIS_URL", url)),
            (None, Some(of)) => {
                all.push(Variable::secret("REDIS_URL", of.secret(), of.key(), "redis://secret"));
            }
            (None, None) => {}
        }
    }
    all.extend(archive(spec));
    all.extend(spec.serve.iter().flat_map(serve));
    all.extend(spec.watermark.iter().flat_map(watermark));
    all.push(Variable::plain("LOG_LEVEL", &spec.log_level));
    all.push(Variable::plain("LOG_FORMAT", "json"));
    all.push(Variable::plain("STATUS_PROCESSOR", processor));
    all.push(Variable::field("STATUS_POD_NAME", "metadata.name"));
    all.push(Variable::field("STATUS_POD_NAMESPACE", "metadata.namespace"));
    all.push(Variable::field("STATUS_POD_UID", "metadata.uid"));
    all
}

fn pulsar(spec: &PulsarSpec) -> Vec<Variable> {
    let mut all = vec![
        Variable::plain("PULSAR_SERVICE_URL", &spec.service_url),
        Variable::plain("PULSAR_TOPIC", &spec.topic),
        Variable::plain("PULSAR_SUBSCRIPTION", &spec.subscription),
        Variable::field("PULSAR_CONSUMER_NAME", "metadata.name"),
    ];
    let mut add = |name: &str, value: Option<String>| {
        all.extend(value.map(|value| Variable::plain(name, value)));
    };
    add("PULSAR_ADMIN_URL", spec.admin_url.clone());
    let token = spec.auth_secret_ref.as_ref();
    add("PULSAR_AUTH_TOKEN_FILE", token.map(|_| secret_file("pulsar-token")));
    add("PULSAR_TLS_TRUST_CERTS_FILE", spec.tls.as_ref().map(|_| secret_file("pulsar-ca")));
    if let Some(oauth2) = &spec.oauth2 {
        add("PULSAR_OAUTH2_ISSUER_URL", Some(oauth2.issuer_url.clone()));
        add("PULSAR_OAUTH2_CREDENTIALS_FILE", Some(secret_file("pulsar-oauth2")));
        add("PULSAR_OAUTH2_AUDIENCE", oauth2.audience.clone());
        add("PULSAR_OAUTH2_SCOPE", oauth2.scope.clone());
    }
    all
}

fn serve(spec: &ServeSpec) -> Vec<Variable> {
    let auth = if spec.tokens_secret_ref.is_some() { "token" } else { "none" };
    let mut all = vec![Variable::plain("SERVE_AUTH", auth)];
    let mut file = |name: &str, volume: &str| all.push(Variable::plain(name, secret_file(volume)));
    if spec.tokens_secret_ref.is_some() {
        file("SERVE_TOKENS_FILE", "serve-tokens");
    }
    if spec.signing_key_secret_ref.is_some() {
        file("SERVE_SIGNING_KEY_FILE", "serve-key");
    }
    all
}

fn storage(spec: &StorageSpec) -> Vec<Variable> {
    let mut all = vec![Variable::plain("STORAGE_TYPE", spec.kind.as_str())];
    let mut base_path = STORAGE_PATH.to_owned();
    let mut add = |name: &str, value: Option<&String>| {
        all.extend(value.map(|value| Variable::plain(name, value)));
    };
    if let Some(s3) = &spec.s3 {
        add("STORAGE_S3_BUCKET", Some(&s3.bucket));
        add("STORAGE_S3_REGION", s3.region.as_ref());
        add("STORAGE_S3_ENDPOINT_URL", s3.endpoint.as_ref());
        base_path = in_bucket(&s3.prefix);
        if let Some(of) = &s3.credentials_secret_ref {
            let id =
                Variable::secret("STORAGE_S3_ACCESS_KEY_ID", &of.name, &of.access_key_id_key, "x");
            let name = "STORAGE_S3_SECRET_ACCESS_KEY";
            all.extend([id, Variable::secret(name, &of.name, &of.secret_access_key_key, "x")]);
        }
    } else if let Some(gcs) = &spec.gcs {
        add("STORAGE_GCS_BUCKET", Some(&gcs.bucket));
        add("STORAGE_GCS_ENDPOINT_URL", gcs.endpoint.as_ref());
        let file = gcs.credentials_secret_ref.as_ref().map(|_| secret_file("gcs"));
        add("STORAGE_GCS_CREDENTIALS_FILE", file.as_ref());
        base_path = in_bucket(&gcs.prefix);
    } else if let Some(azure) = &spec.azure {
        add("STORAGE_AZURE_ACCOUNT", Some(&azure.account));
        add("STORAGE_AZURE_CONTAINER", Some(&azure.container));
        add("STORAGE_AZURE_ENDPOINT_URL", azure.endpoint.as_ref());
        base_path = in_bucket(&azure.prefix);
        if let Some(of) = &azure.credentials_secret_ref {
            let name = "STORAGE_AZURE_ACCESS_KEY";
            all.push(Variable::secret(name, of.secret(), of.key(), "x"));
        }
    }
    all.push(Variable::plain("STORAGE_BASE_PATH", base_path));
    all
}

fn in_bucket(prefix: &str) -> String {
    format!("/{}", prefix.trim_matches('/'))
}

fn processing(spec: &StreamProcessorSpec) -> Vec<Variable> {
    let of = &spec.processing;
    let mut all = vec![
        Variable::plain("PROCESSING_MAX_WORKERS", of.max_workers),
        Variable::plain("PROCESSING_SEGMENT_DURATION_SECONDS", of.segment_duration_seconds),
        Variable::plain("PROCESSING_FRAMES_PER_SEGMENT", of.frames_per_segment),
        Variable::plain("PROCESSING_RETENTION_HOURS", of.retention_hours),
        Variable::plain("PROCESSING_VIDEO_WIDTH", of.video_width),
        Variable::plain(
            "PROCESSING_CONTAINER",
            match of.container {
                Container::Ts => "ts",
                Container::Fmp4 => "fmp4",
            },
        ),
        Variable::plain(
            "PROCESSING_PLAYBACK",
            match of.playback {
                Playback::Realtime => "realtime",
                Playback::Timelapse => "timelapse",
            },
        ),
        Variable::plain(
            "PROCESSING_QUALITY",
            match of.quality {
                Quality::Low => "low",
                Quality::Standard => "standard",
                Quality::High => "high",
            },
        ),
    ];
    let rate = of.timelapse_frame_rate;
    all.extend(rate.map(|rate| Variable::plain("PROCESSING_TIMELAPSE_FRAME_RATE", rate)));
    all
}

fn archive(spec: &StreamProcessorSpec) -> Vec<Variable> {
    let of = &spec.archive;
    let seconds =
        |name: &str, value: i32| Variable::plain(&format!("ARCHIVE_{name}_SECONDS"), value);
    let mut all = vec![
        Variable::plain("ARCHIVE_ENABLED", of.enabled),
        Variable::plain("ARCHIVE_RETENTION_DAYS", of.retention_days),
        seconds("OFFLINE_THRESHOLD", of.offline_threshold_seconds),
        seconds("MIN_SESSION_DURATION", of.min_session_duration_seconds),
        seconds("MAX_SESSION_DURATION", of.max_session_duration_seconds),
    ];
    all.extend(of.database_secret_ref.as_ref().map(|of| {
        Variable::secret("ARCHIVE_DATABASE_URL", of.secret(), of.key(), "postgres://secret/db")
    }));
    all
}

fn watermark(spec: &WatermarkSpec) -> Vec<Variable> {
    vec![
        Variable::plain("WATERMARK_ENABLED", spec.enabled),
        Variable::plain("WATERMARK_POSITION", spec.position.as_str()),
        Variable::plain("WATERMARK_FONT_SIZE", spec.font_size),
        Variable::plain("WATERMARK_FORMAT", &spec.format),
        Variable::plain("WATERMARK_TIMEZONE", &spec.timezone),
        Variable::plain("WATERMARK_SHOW_TIMEZONE", spec.show_timezone),
    ]
}
