//! What the workers may do at the API server: tell how their devices are, and nothing else. Pure.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::meta;
use crate::operator::crd::GROUP;
use crate::operator::names::{Component, worker_account};
use crate::operator::validate::Validated;

/// The account of the pods, unless the spec names another.
pub fn service_account(of: &Validated) -> Option<ServiceAccount> {
    of.spec.pod.service_account_name.is_none().then(|| ServiceAccount {
        metadata: meta(of, &worker_account(&of.name), Component::Shared),
        // Only the pods that talk to the API server ask for a token.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// What they may do.
pub fn role(of: &Validated) -> Role {
    let verbs = ["list", "create", "patch", "delete"];
    Role {
        metadata: meta(of, &worker_account(&of.name), Component::Shared),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![GROUP.into()]),
            resources: Some(vec!["deviceslices".into()]),
            verbs: verbs.map(str::to_owned).into(),
            ..PolicyRule::default()
        }]),
    }
}

/// That they may.
pub fn role_binding(of: &Validated) -> RoleBinding {
    let own = || worker_account(&of.name);
    RoleBinding {
        metadata: meta(of, &own(), Component::Shared),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "Role".into(),
            name: own(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: of.spec.pod.service_account_name.clone().unwrap_or_else(own),
            namespace: Some(of.namespace.clone()),
            api_group: None,
        }]),
    }
}
