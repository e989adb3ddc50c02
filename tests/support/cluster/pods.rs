//! What a node would say of its pods, said by the admin: no container runs here.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::control_plane::ControlPlane;

impl ControlPlane {
    /// Says of every pod in the namespace that it runs and is ready, from when it is first said;
    /// says how many there are.
    pub async fn pretend_running(&self, namespace: &str) -> usize {
        let now = Timestamp::now().strftime("%FT%TZ").to_string();
        let condition = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": now});
        let conditions = ["Ready", "ContainersReady", "Initialized", "PodScheduled"].map(condition);
        let status = json!({"phase": "Running", "conditions": conditions});
        self.pretend(namespace, is_ready, &json!({"status": status})).await
    }

    /// Says of every pod in the namespace that its containers have ended well; says how many
    /// there are.
    pub async fn pretend_succeeded(&self, namespace: &str) -> usize {
        self.pretend(namespace, |_| false, &json!({"status": {"phase": "Succeeded"}})).await
    }

    async fn pretend(
        &self,
        namespace: &str,
        is_said: impl Fn(&Pod) -> bool,
        patch: &serde_json::Value,
    ) -> usize {
        let pods: Api<Pod> = Api::namespaced(self.admin().await, namespace);
        let listed = pods.list(&ListParams::default()).await.expect("the pods");
        let (by_us, patch) = (PatchParams::default(), Patch::Merge(patch));
        let mut there = 0;
        for pod in listed {
            if is_said(&pod) {
                there += 1;
                continue;
            }
            let name = pod.metadata.name.expect("a name");
            // It may have gone since.
            match pods.patch_status(&name, &by_us, &patch).await {
                Ok(_) => there += 1,
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
        there
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}
