//! What every pod has: the image, its settings, the storage, and as few rights as can be. Pure.
//!
//! Architecture invariant: what is built here is admitted under the restricted Pod Security
//! Standard, but for a `hostPath` that the spec asks for.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Inputs;
use super::env::{self, SECRET_FILE, SECRETS_PATH, STORAGE_PATH};
use crate::config::Group;
use crate::operator::crd::SecretKey;
use crate::operator::names::{ANNOTATION_SECRETS, Component, worker_account};

/// The port of metrics and health, by name.
pub const METRICS_PORT_NAME: &str = "metrics";
/// The port of streams and the page, by name.
pub const SERVE_PORT_NAME: &str = "http";

/// What differs between the pods of one `StreamProcessor`.
pub struct Role {
    /// Which part it is.
    pub component: Component,
    /// The command line.
    pub args: Vec<String>,
    /// The settings that it reads.
    pub groups: &'static [Group],
    /// CPU and memory.
    pub resources: ResourceRequirements,
    /// Whether it talks to the API server.
    pub talks_to_cluster: bool,
    /// Whether metrics and health are served.
    pub serves_metrics: bool,
    /// Whether viewers come to it: then it has a port for them, and writes nothing.
    pub serves_viewers: bool,
    /// How long it may take to stop, in seconds.
    pub stop_secs: i64,
}

/// The template of a part's pods.
pub fn template(
    inputs: &Inputs<'_>,
    role: &Role,
    change: impl FnOnce(&mut PodSpec),
) -> PodTemplateSpec {
    let of = inputs.of;
    let pod = &of.spec.pod;
    let mut labels = pod.labels.clone();
    labels.extend(role.component.labels(&of.name));
    let mut annotations = pod.annotations.clone();
    if let Some(digest) = inputs.secrets.of(role.groups) {
        annotations.insert(ANNOTATION_SECRETS.into(), digest);
    }
    let (volumes, mounts) = volumes(inputs, role);
    let own = || worker_account(&of.name);
    let mut spec = PodSpec {
        service_account_name: Some(pod.service_account_name.clone().unwrap_or_else(own)),
        automount_service_account_token: Some(role.talks_to_cluster),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(role.stop_secs),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(pod.run_as.user),
            run_as_group: Some(pod.run_as.group),
            fs_group: Some(pod.run_as.fs_group),
            // A claim with millions of files would be walked at each start otherwise.
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(inputs, role, mounts)],
        volumes: Some(volumes),
        node_selector: some_map(&pod.node_selector),
        tolerations: some_list(&pod.tolerations),
        affinity: pod.affinity.clone(),
        priority_class_name: pod.priority_class_name.clone(),
        image_pull_secrets: some_list(&pod.image_pull_secrets),
        ..PodSpec::default()
    };
    change(&mut spec);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations).filter(|a| !a.is_empty()),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    }
}

fn container(inputs: &Inputs<'_>, role: &Role, mounts: Vec<VolumeMount>) -> Container {
    let of = inputs.of;
    let metrics = role.serves_metrics.then(|| port(METRICS_PORT_NAME, of.metrics_port));
    let streams = role.serves_viewers.then(|| port(SERVE_PORT_NAME, of.serve_port));
    let ports: Vec<ContainerPort> = metrics.into_iter().chain(streams).collect();
    Container {
        name: role.component.as_str().into(),
        image: Some(of.image.clone()),
        image_pull_policy: of.spec.image_pull_policy.map(|policy| policy.as_str().into()),
        args: Some(role.args.clone()),
        env: Some(env::of_groups(&of.variables, role.groups)),
        ports: some_list(&ports),
        resources: Some(role.resources.clone()),
        volume_mounts: Some(mounts),
        // What a worker says at its end is in `kubectl describe pod`, and in our conditions.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }
}

/// A folder for what is temporary, the storage, and the secrets that are read as files.
fn volumes(inputs: &Inputs<'_>, role: &Role) -> (Vec<Volume>, Vec<VolumeMount>) {
    let (spec, groups) = (&inputs.of.spec, role.groups);
    let temporary = EmptyDirVolumeSource {
        size_limit: Some(Quantity("64Mi".into())),
        ..EmptyDirVolumeSource::default()
    };
    let mut volumes =
        vec![Volume { name: "tmp".into(), empty_dir: Some(temporary), ..Volume::default() }];
    let mut mounts = vec![mount("tmp", "/tmp", false, None)];
    if let Some(files) = &spec.storage.filesystem {
        let claim = files
            .claim_name
            .clone()
            .map(|claim_name| PersistentVolumeClaimVolumeSource { claim_name, read_only: None });
        let folder = files
            .host_path
            .clone()
            .map(|path| HostPathVolumeSource { path, type_: Some("Directory".into()) });
        volumes.push(Volume {
            name: "streams".into(),
            persistent_volume_claim: claim,
            host_path: folder,
            ..Volume::default()
        });
        mounts.push(mount("streams", STORAGE_PATH, role.serves_viewers, files.sub_path.clone()));
    }
    let mut secret = |name: &str, group: Group, reference: Option<&dyn SecretKey>| {
        let Some(reference) = reference.filter(|_| groups.contains(&group)) else { return };
        let item = KeyToPath { key: reference.key().into(), path: SECRET_FILE.into(), mode: None };
        let source = SecretVolumeSource {
            secret_name: Some(reference.secret().into()),
            items: Some(vec![item]),
            // Readable by the group that the pod's fsGroup makes them belong to.
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        };
        volumes.push(Volume { name: name.into(), secret: Some(source), ..Volume::default() });
        mounts.push(mount(name, &format!("{SECRETS_PATH}/{name}"), true, None));
    };
    let pulsar = &spec.pulsar;
    let gcs = spec.storage.gcs.as_ref().and_then(|gcs| gcs.credentials_secret_ref.as_ref());
    secret("pulsar-token", Group::Pulsar, pulsar.auth_secret_ref.as_ref().map(|r| r as _));
    let oauth2 = pulsar.oauth2.as_ref().map(|oauth2| &oauth2.credentials_secret_ref as _);
    secret("pulsar-oauth2", Group::Pulsar, oauth2);
    secret("pulsar-ca", Group::Pulsar, pulsar.tls.as_ref().map(|tls| &tls.ca_secret_ref as _));
    secret("gcs", Group::Storage, gcs.map(|r| r as _));
    let serve = spec.serve.as_ref();
    let tokens = serve.and_then(|serve| serve.tokens_secret_ref.as_ref());
    secret("serve-tokens", Group::Serve, tokens.map(|r| r as _));
    let key = serve.and_then(|serve| serve.signing_key_secret_ref.as_ref());
    secret("serve-key", Group::Serve, key.map(|r| r as _));
    (volumes, mounts)
}

fn mount(name: &str, path: &str, read_only: bool, sub_path: Option<String>) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        sub_path,
        ..VolumeMount::default()
    }
}

fn some_list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn some_map<K: Clone + Ord, V: Clone>(
    map: &std::collections::BTreeMap<K, V>,
) -> Option<std::collections::BTreeMap<K, V>> {
    (!map.is_empty()).then(|| map.clone())
}
