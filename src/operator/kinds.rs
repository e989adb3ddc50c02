//! The kinds of children, and where the API server has them. Pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::core::{ApiResource, GroupVersionKind};

/// A kind of child.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The account of the pods.
    ServiceAccount,
    /// What they may do.
    Role,
    /// That they may.
    RoleBinding,
    /// Workers, and the offline checker.
    Deployment,
    /// Clean-ups.
    CronJob,
    /// Metrics by name.
    Service,
    /// What a drain may take.
    PodDisruptionBudget,
    /// For the Prometheus operator, where it is.
    PodMonitor,
}

impl Kind {
    /// The kinds that every cluster has.
    pub const BUILT_IN: [Self; 7] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::Deployment,
        Self::CronJob,
        Self::Service,
        Self::PodDisruptionBudget,
    ];

    /// Where it is.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Role => ApiResource::erase::<Role>(&()),
            Self::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::CronJob => ApiResource::erase::<CronJob>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::PodMonitor => {
                let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PodMonitor");
                ApiResource::from_gvk_with_plural(&kind, "podmonitors")
            }
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::Deployment => "Deployment",
            Self::CronJob => "CronJob",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::PodMonitor => "PodMonitor",
        }
    }
}
