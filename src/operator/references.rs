//! Which secrets and claims a spec names (pure).

use super::build::digest;
use super::crd::{SecretKey, StreamProcessorSpec};
use crate::config::Group;

/// One key of one secret that pods read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretUse {
    /// The secret.
    pub secret: String,
    /// The key.
    pub key: String,
    /// The field of the spec that names it.
    pub field: &'static str,
    /// The settings that it is for: pods that read them read it.
    pub group: Group,
}

/// Digests of what secrets hold, by the settings that each is for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SecretDigests(pub Vec<(Group, String)>);

impl SecretDigests {
    /// One of all that a pod reads which reads these settings; none where it reads no secret.
    pub fn of(&self, groups: &[Group]) -> Option<String> {
        let read = self.0.iter().filter(|(group, _)| groups.contains(group));
        let all: Vec<&str> = read.map(|(_, digest)| digest.as_str()).collect();
        (!all.is_empty()).then(|| digest(all.join("\n").as_bytes()))
    }
}

/// What a spec names besides itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct References {
    /// Keys of secrets.
    pub secrets: Vec<SecretUse>,
    /// The claim of the file system.
    pub claim: Option<String>,
    /// A service account of the user's own.
    pub service_account: Option<String>,
    /// Secrets to fetch the image with.
    pub pull_secrets: Vec<String>,
}

impl References {
    /// Those of `spec`.
    pub fn of(spec: &StreamProcessorSpec) -> Self {
        let mut secrets = Vec::new();
        let mut uses = |group, field: &'static str, reference: Option<&dyn SecretKey>| {
            if let Some(reference) = reference {
                let (secret, key) = (reference.secret().to_owned(), reference.key().to_owned());
                secrets.push(SecretUse { secret, key, field, group });
            }
        };
        let pulsar = &spec.pulsar;
        uses(
            Group::Pulsar,
            "pulsar.authSecretRef",
            pulsar.auth_secret_ref.as_ref().map(|r| r as _),
        );
        let oauth2 = pulsar.oauth2.as_ref();
        uses(
            Group::Pulsar,
            "pulsar.oauth2.credentialsSecretRef",
            oauth2.map(|o| &o.credentials_secret_ref as _),
        );
        uses(
            Group::Pulsar,
            "pulsar.tls.caSecretRef",
            pulsar.tls.as_ref().map(|tls| &tls.ca_secret_ref as _),
        );
        let storage = &spec.storage;
        let gcs = storage.gcs.as_ref().and_then(|gcs| gcs.credentials_secret_ref.as_ref());
        uses(Group::Storage, "storage.gcs.credentialsSecretRef", gcs.map(|r| r as _));
        let azure = storage.azure.as_ref().and_then(|azure| azure.credentials_secret_ref.as_ref());
        uses(Group::Storage, "storage.azure.credentialsSecretRef", azure.map(|r| r as _));
        let redis = spec.redis.as_ref().and_then(|redis| redis.url_secret_ref.as_ref());
        uses(Group::Redis, "redis.urlSecretRef", redis.map(|r| r as _));
        uses(
            Group::Archive,
            "archive.databaseSecretRef",
            spec.archive.database_secret_ref.as_ref().map(|r| r as _),
        );
        let serve = spec.serve.as_ref();
        let tokens = serve.and_then(|serve| serve.tokens_secret_ref.as_ref());
        uses(Group::Serve, "serve.tokensSecretRef", tokens.map(|r| r as _));
        let key = serve.and_then(|serve| serve.signing_key_secret_ref.as_ref());
        uses(Group::Serve, "serve.signingKeySecretRef", key.map(|r| r as _));
        if let Some(s3) = storage.s3.as_ref().and_then(|s3| s3.credentials_secret_ref.as_ref()) {
            for key in [&s3.access_key_id_key, &s3.secret_access_key_key] {
                let field = "storage.s3.credentialsSecretRef";
                let (secret, key, group) = (s3.name.clone(), key.clone(), Group::Storage);
                secrets.push(SecretUse { secret, key, field, group });
            }
        }
        Self {
            secrets,
            claim: storage.filesystem.as_ref().and_then(|files| files.claim_name.clone()),
            service_account: spec.pod.service_account_name.clone(),
            pull_secrets: spec.pod.image_pull_secrets.iter().map(|s| s.name.clone()).collect(),
        }
    }

    /// Whether this secret is among them.
    pub fn name_secret(&self, name: &str) -> bool {
        self.secrets.iter().any(|used| used.secret == name)
            || self.pull_secrets.iter().any(|secret| secret == name)
    }
}
