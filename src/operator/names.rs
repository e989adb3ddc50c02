//! What things are called: children, labels, annotations. Pure.

use std::collections::BTreeMap;

/// Who applies children.
pub const FIELD_MANAGER: &str = "stream-processor-operator";
/// Who applies the status.
pub const STATUS_MANAGER: &str = "stream-processor-operator-status";
/// Who keeps the number of replicas when the operator lets go of it.
pub const HANDOVER_MANAGER: &str = "stream-processor-operator-handover";
/// The value of the managed-by label of everything that the operator makes.
pub const MANAGED_BY: &str = "stream-processor-operator";
/// The value of the name label.
pub const APPLICATION: &str = "stream-processor";

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// The label that names the `StreamProcessor`.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// The label that tells the parts of one apart.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// The label that says who made it.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label of a slice that names its `StreamProcessor`.
pub const LABEL_PROCESSOR: &str = "streamhub.microboxlabs.com/processor";
/// The label of a slice that names its pod.
pub const LABEL_POD: &str = "streamhub.microboxlabs.com/pod";
/// The annotation of a child with the digest of what was applied.
pub const ANNOTATION_APPLIED: &str = "streamhub.microboxlabs.com/applied";
/// The annotation of pods with the digest of the secrets that they read.
pub const ANNOTATION_SECRETS: &str = "streamhub.microboxlabs.com/secrets";

/// The parts of one `StreamProcessor`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Component {
    /// The workers.
    Consumer,
    /// What ends the sessions of silent devices.
    OfflineChecker,
    /// What removes old segments and frames.
    Cleanup,
    /// What removes old archives.
    ArchiveCleanup,
    /// What hands out streams.
    Serve,
    /// What is there for several of them.
    Shared,
}

impl Component {
    /// As it stands in names and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::OfflineChecker => "offline-checker",
            Self::Cleanup => "cleanup",
            Self::ArchiveCleanup => "archive-cleanup",
            Self::Serve => "serve",
            Self::Shared => "shared",
        }
    }

    /// The name of a part's object.
    pub fn name(self, processor: &str) -> String {
        format!("{processor}-{}", self.as_str())
    }

    /// The labels of its objects.
    pub fn labels(self, processor: &str) -> BTreeMap<String, String> {
        let mut labels = self.selector(processor);
        labels.insert("app.kubernetes.io/part-of".into(), "streamhub".into());
        labels.insert(LABEL_MANAGED_BY.into(), MANAGED_BY.into());
        labels
    }

    /// The labels that select its pods; they never change.
    pub fn selector(self, processor: &str) -> BTreeMap<String, String> {
        [(LABEL_NAME, APPLICATION), (LABEL_INSTANCE, processor), (LABEL_COMPONENT, self.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }
}

/// The service account, role and binding of the workers.
pub fn worker_account(processor: &str) -> String {
    format!("{processor}-worker")
}

/// The Service that metrics are found by.
pub fn metrics_service(processor: &str) -> String {
    format!("{processor}-metrics")
}

/// Labels as a selector's text.
pub fn selector_text(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}
