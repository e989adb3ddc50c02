//! What a node would say of its pods, said by the admin: no container runs here.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::control_plane::ControlPlane;

impl ControlPlane {
    /// Says of every pod in the namespace that it runs and is ready; says how many there are.
    pub async fn pretend_running(&self, namespace: &str) -> usize {
        let condition = |kind| json!({"type": kind, "status": "True"});
        let conditions = ["Ready", "ContainersReady", "Initialized", "PodScheduled"].map(condition);
        let status = json!({"phase": "Running", "conditions": conditions});
        self.pretend(namespace, &json!({"status": status})).await
    }

    /// Says of every pod in the namespace that its containers have ended well; says how many
    /// there are.
    pub async fn pretend_succeeded(&self, namespace: &str) -> usize {
        self.pretend(namespace, &json!({"status": {"phase": "Succeeded"}})).await
    }

    async fn pretend(&self, namespace: &str, patch: &serde_json::Value) -> usize {
        let pods: Api<Pod> = Api::namespaced(self.admin().await, namespace);
        let listed = pods.list(&ListParams::default()).await.expect("the pods");
        let (by_us, patch) = (PatchParams::default(), Patch::Merge(patch));
        let mut patched = 0;
        for pod in listed {
            let name = pod.metadata.name.expect("a name");
            // It may have gone since.
            match pods.patch_status(&name, &by_us, &patch).await {
                Ok(_) => patched += 1,
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
        patched
    }
}
