//! The Helm chart says what `manifests` says, and refuses what it does not know.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stream_processor::config;

use crate::files::{objects, of_kind, path, text, the};
use crate::helm::{NAMESPACE, RELEASE, rendered, run};

const EVERYTHING: &[&str] = &[
    "monitoring.podMonitor.enabled=true",
    "monitoring.prometheusRule.enabled=true",
    "monitoring.dashboard.enabled=true",
    "monitoring.labels.release=prometheus",
];

async fn render(values: &[&str]) -> Vec<Value> {
    rendered(values).await.unwrap_or_else(|error| panic!("{values:?}: {error}"))
}

/// Takes what is at a place out of an object.
fn take(object: &mut Value, place: &str) -> Value {
    object.pointer_mut(place).map(Value::take).unwrap_or_default()
}

fn strings(map: &Value) -> BTreeMap<String, String> {
    let map = map.as_object().unwrap().iter();
    map.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn by_name(list: &Value) -> BTreeMap<String, Value> {
    let list = list.as_array().unwrap().iter();
    list.map(|item| (item["name"].as_str().unwrap().to_owned(), item.clone())).collect()
}

/// Without the labels, which a release has more of.
fn bare(mut object: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().remove("labels");
    object
}

#[tokio::test]
async fn the_deployment_is_that_of_the_manifests() {
    let mut ours = the(&objects("manifests/operator/deployment.yaml"), "Deployment");
    let mut theirs = the(&render(&[]).await, "Deployment");
    for labels in
        ["/metadata/labels", "/spec/selector/matchLabels", "/spec/template/metadata/labels"]
    {
        let (ours, theirs) = (take(&mut ours, labels), take(&mut theirs, labels));
        let (ours, theirs) = (strings(&ours), strings(&theirs));
        assert!(ours.iter().all(|(key, value)| theirs.get(key) == Some(value)), "{labels}");
        assert_eq!(theirs["app.kubernetes.io/instance"], RELEASE, "{labels}");
    }
    let env = "/spec/template/spec/containers/0/env";
    let ours_env = by_name(&take(&mut ours, env));
    for (name, variable) in by_name(&take(&mut theirs, env)) {
        if let Some(ours) = ours_env.get(&name) {
            assert_eq!(&variable, ours);
            continue;
        }
        // What the manifests leave out is what the program takes by itself.
        let setting = config::settings().find(|setting| setting.variable == name);
        let setting = setting.unwrap_or_else(|| panic!("{name} is no setting"));
        assert_eq!(variable["value"].as_str(), setting.default, "{name}");
    }
    assert_eq!(theirs, ours);
}

#[tokio::test]
async fn the_rights_are_those_of_the_manifests() {
    let ours = objects("manifests/operator/rbac.yaml");
    let theirs = render(&[]).await;
    for kind in ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"] {
        assert_eq!(bare(the(&theirs, kind)), the(&ours, kind), "{kind}");
    }
}

#[tokio::test]
async fn with_namespaces_there_are_rights_in_these_and_nowhere_else() {
    let theirs = render(&["namespaces={cameras,staging}"]).await;
    assert!(of_kind(&theirs, "ClusterRoleBinding").is_empty());
    let bindings = of_kind(&theirs, "RoleBinding");
    let of_role = |kind: &str| {
        let of = bindings.iter().filter(|binding| binding["roleRef"]["kind"] == kind);
        of.map(|b| b["metadata"]["namespace"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of_role("ClusterRole"), ["cameras", "staging"]);
    assert_eq!(of_role("Role"), [NAMESPACE]);
    for binding in &bindings {
        assert_eq!(binding["subjects"][0]["namespace"], NAMESPACE);
    }
    let deployment = the(&theirs, "Deployment");
    let env = by_name(&deployment["spec"]["template"]["spec"]["containers"][0]["env"]);
    assert_eq!(env["OPERATOR_NAMESPACES"]["value"], "cameras,staging");
    let one = render(&["namespaces={cameras}"]).await;
    assert_eq!(of_kind(&one, "RoleBinding").len(), 2);
}

#[tokio::test]
async fn the_definitions_are_whole_and_stay_when_the_release_goes() {
    let mut ours = objects("crds/streamprocessors.yaml");
    ours.extend(objects("crds/deviceslices.yaml"));
    let sorted = |mut objects: Vec<Value>| {
        objects.sort_by_key(|object| object["metadata"]["name"].to_string());
        objects
    };
    let kept = of_kind(&render(&[]).await, "CustomResourceDefinition");
    let kept = kept.into_iter().map(|mut definition| {
        let metadata = definition["metadata"].as_object_mut().unwrap();
        let annotations = metadata.remove("annotations").unwrap();
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        definition
    });
    assert_eq!(sorted(kept.collect()), sorted(ours.clone()));
    let loose = render(&["crds.keep=false"]).await;
    assert_eq!(sorted(of_kind(&loose, "CustomResourceDefinition")), sorted(ours));
    let none = render(&["crds.install=false"]).await;
    assert!(of_kind(&none, "CustomResourceDefinition").is_empty());
}

#[tokio::test]
async fn monitoring_is_that_of_the_manifests_and_off_at_first() {
    let without = render(&[]).await;
    for kind in ["PodMonitor", "PrometheusRule", "ConfigMap"] {
        assert!(of_kind(&without, kind).is_empty(), "{kind}");
    }
    let with = render(EVERYTHING).await;
    let ours = objects("manifests/monitoring/alerts.yaml");
    assert_eq!(the(&with, "PrometheusRule")["spec"], the(&ours, "PrometheusRule")["spec"]);
    let dashboard = the(&with, "ConfigMap");
    let shown = dashboard["data"]["stream-processor.json"].as_str().unwrap();
    let ours = text("manifests/monitoring/dashboard.json");
    assert_eq!(shown.trim_end(), ours.trim_end());
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    let monitor = the(&with, "PodMonitor");
    let ours = the(&objects("manifests/monitoring/podmonitor.yaml"), "PodMonitor");
    assert_eq!(monitor["spec"]["podMetricsEndpoints"], ours["spec"]["podMetricsEndpoints"]);
    for kind in ["PodMonitor", "PrometheusRule", "ConfigMap"] {
        assert_eq!(the(&with, kind)["metadata"]["labels"]["release"], "prometheus", "{kind}");
    }
    // Both find the operator's pods.
    let labels = &the(&with, "Deployment")["spec"]["template"]["metadata"]["labels"];
    let service = the(&with, "Service");
    for selector in [&monitor["spec"]["selector"]["matchLabels"], &service["spec"]["selector"]] {
        let labels = strings(labels);
        assert!(strings(selector).iter().all(|(k, v)| labels.get(k) == Some(v)), "{selector}");
    }
}

#[tokio::test]
async fn a_value_that_is_not_right_is_refused_by_its_name() {
    for (value, says) in [
        ("replicas=-1", "'/replicas': minimum: got -1, want 0"),
        ("replicas=two", "'/replicas': got string, want integer"),
        ("nameSpaces={cameras}", "additional properties 'nameSpaces' not allowed"),
        ("image.version=1", "'/image': additional properties 'version' not allowed"),
        ("namespaces={Cam_eras}", "'/namespaces/0': 'Cam_eras' does not match"),
        ("namespaces={a,a}", "'/namespaces': items at 0 and 1 are equal"),
        ("image.pullPolicy=Sometimes", "'/image/pullPolicy': value must be one of"),
        ("image.digest=latest", "'/image/digest': 'latest' does not match"),
        ("leaseSeconds=1", "'/leaseSeconds': minimum: got 1, want 3"),
        ("monitoring.dashboard.enabled=yes", "'/monitoring/dashboard/enabled': got string"),
        ("serviceAccount.create=false", "serviceAccount.name: name the account"),
    ] {
        let refusal = rendered(&[value]).await.expect_err(value);
        assert!(refusal.contains(says), "{value}: {refusal}");
    }
}

#[tokio::test]
async fn values_are_taken() {
    let theirs = render(&[
        "fullnameOverride=op",
        "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "workerImage=registry/worker:1",
        "serviceAccount.create=false",
        "serviceAccount.name=theirs",
        "podLabels.team=video",
        "nodeSelector.disk=ssd",
        "tolerations[0].operator=Exists",
        "extraEnv[0].name=RUST_BACKTRACE",
        "extraEnv[0].value=x",
        "metrics.service.enabled=false",
        "rbac.create=false",
    ])
    .await;
    let kinds: BTreeSet<_> = theirs.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["CustomResourceDefinition", "Deployment"]));
    let deployment = the(&theirs, "Deployment");
    assert_eq!(deployment["metadata"]["name"], "op");
    let template = &deployment["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "video");
    assert_eq!(template["spec"]["serviceAccountName"], "theirs");
    assert_eq!(template["spec"]["nodeSelector"]["disk"], "ssd");
    assert_eq!(template["spec"]["tolerations"][0]["operator"], "Exists");
    let container = &template["spec"]["containers"][0];
    assert!(container["image"].as_str().unwrap().contains("stream-processor@sha256:0"));
    let env = by_name(&container["env"]);
    assert_eq!(env["OPERATOR_IMAGE"]["value"], "registry/worker:1");
    assert_eq!(env["OPERATOR_LEASE_NAME"]["value"], "op");
    assert_eq!(env["RUST_BACKTRACE"]["value"], "x");
}

#[tokio::test]
async fn helm_finds_nothing_to_complain_of() {
    let chart = path("charts/stream-processor");
    let mut arguments = vec!["lint", "--strict", chart.to_str().unwrap()];
    arguments.extend(["--kube-version", "1.33.0"]);
    for value in EVERYTHING {
        arguments.extend(["--set", value]);
    }
    let output = run(&arguments).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("0 chart(s) failed"), "{said}");
    let chart = &objects("charts/stream-processor/Chart.yaml")[0];
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// The names of an object's fields, of the fields of these, and so on.
fn fields(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = format!("{prefix}/{name}");
        fields(&name, value, into);
        into.insert(name);
    }
}

/// The same of a schema's properties. What takes any names has none of its own.
fn properties(prefix: &str, schema: &Value, into: &mut BTreeSet<String>) {
    assert!(
        schema["type"] != "object"
            || schema["properties"].is_null()
            || schema["additionalProperties"] == false,
        "{prefix}: it takes names that it does not know"
    );
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let name = format!("{prefix}/{name}");
        properties(&name, schema, into);
        into.insert(name);
    }
}

#[test]
fn the_schema_knows_the_values_and_no_others() {
    let (mut values, mut known) = (BTreeSet::new(), BTreeSet::new());
    fields("", &objects("charts/stream-processor/values.yaml")[0], &mut values);
    let schema: Value =
        serde_json::from_str(&text("charts/stream-processor/values.schema.json")).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    properties("", &schema, &mut known);
    // Amounts have names that Kubernetes knows; the other two are seldom asked for.
    values.retain(|name| {
        !name.starts_with("/resources/requests/") && !name.starts_with("/resources/limits/")
    });
    for seldom in ["/global", "/resources/claims"] {
        assert!(known.remove(seldom));
    }
    assert_eq!(values, known);
}
