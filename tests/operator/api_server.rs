//! An API server in trouble: it is asked again, later each time, told of once, and nothing is
//! written twice.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use stream_processor::operator::api_server::ApiServer;
use stream_processor::operator::kinds::Kind;
use stream_processor::operator::metrics::OperatorMetrics;
use tokio::time::Instant;

use crate::proxy::{Fault, Proxy};
use crate::rig::{Operator, Rig, USER, object, shared, spec};

/// Answers are short, so that silence is noticed within the test.
const SETTINGS: &[(&str, &str)] = &[("OPERATOR_API_TIMEOUT_SECONDS", "2")];
/// Watches would not be begun anew if another took over and all began anew.
const ALONE: &[(&str, &str)] =
    &[("OPERATOR_API_TIMEOUT_SECONDS", "2"), ("OPERATOR_LEADER_ELECTION", "false")];

async fn running(settings: &[(&str, &str)]) -> (Rig, String, Proxy, Operator) {
    let rig = Rig::start().await;
    let namespace = rig.namespace().await;
    let proxy = Proxy::start(&rig.cluster.url()).await;
    let operator = rig.operator_by(&proxy, "one", settings).await;
    rig.apply(&object(&namespace, "fleet", &spec())).await;
    rig.ready(&namespace, "fleet").await;
    rig.quiet(Duration::from_secs(2)).await;
    (rig, namespace, proxy, operator)
}

fn replicas(n: i64) -> impl Fn(&DynamicObject) -> bool {
    move |child| child.data["spec"]["replicas"] == json!(n)
}

async fn scale(rig: &Rig, namespace: &str, n: i64) {
    rig.change(namespace, "fleet", &json!({"spec": {"replicas": n}})).await;
}

async fn scaled(rig: &Rig, namespace: &str, n: i64) {
    rig.child(Kind::Deployment, namespace, "fleet-consumer", replicas(n)).await;
    rig.ready(namespace, "fleet").await;
}

/// How often the workers' Deployment was written with success.
fn times_written(audit: &crate::cluster::audit::Audit) -> usize {
    let all = audit.requests_of(USER);
    let is_it = |r: &&crate::cluster::audit::Request| {
        r.writes() && r.name == "fleet-consumer" && r.resource == "deployments.apps" && r.code < 400
    };
    all.iter().filter(is_it).count()
}

fn of_trouble<'a>(lines: &'a [Value], trouble: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["trouble"] == trouble).collect()
}

#[tokio::test]
async fn what_was_just_applied_is_not_told_as_ready_by_what_was_known_before() {
    let (rig, namespace, proxy, _operator) = running(&[]).await;
    // The next watches of Deployments are silent for a while.
    proxy.disturb(Fault::Held, |seen| {
        seen.path.contains("/deployments?") && seen.path.contains("watch=true")
    });
    proxy.cut_watches();
    proxy.wait_for_struck(1).await;
    rig.change(&namespace, "fleet", &json!({"spec": {"logLevel": "DEBUG"}})).await;
    let said = rig.condition(&namespace, "fleet", ("Ready", "False", "WorkersNotReady")).await;
    assert!(said.contains("fleet-consumer"), "{said}");
    proxy.heal();
    rig.ready(&namespace, "fleet").await;
}

#[tokio::test]
async fn an_api_server_that_asks_to_wait_or_is_broken_is_asked_later_and_told_of_once() {
    let (rig, namespace, proxy, operator) = running(SETTINGS).await;

    // Everything but the Lease is throttled.
    let audit = rig.cluster.audit().since_now();
    proxy.disturb(Fault::Status(429, Some(2)), |seen| !seen.is_about_lease());
    scale(&rig, &namespace, 3).await;
    proxy.wait_for_struck(4).await;
    let refused = proxy.struck();
    let too_early = |seen: &crate::proxy::Seen| {
        refused.iter().any(|first| {
            let after = seen.at.saturating_duration_since(first.at);
            // What was on its way when the first answer came had not been told.
            (Duration::from_millis(300)..Duration::from_millis(1_900)).contains(&after)
        })
    };
    assert!(!refused.iter().any(too_early), "before its time: {refused:#?}");
    assert!(refused.len() < 30, "{refused:#?}");
    proxy.heal();
    scaled(&rig, &namespace, 3).await;
    assert_eq!(times_written(&audit), 1);
    operator.wait_until_said("the API server answers again").await;
    let trouble = operator.said("the API server is in trouble");
    assert_eq!(of_trouble(&trouble, "throttled").len(), 1, "{trouble:#?}");
    let series = "stream_processor_operator_api_failures_total{trouble=\"throttled\"}";
    assert!(operator.metric(series).await.unwrap() >= 4.0);

    // Only one kind of child is: the condition says so, and the others are looked after.
    let deployments =
        |seen: &crate::proxy::Seen| seen.method == "PATCH" && seen.path.contains("/deployments/");
    let audit = rig.cluster.audit().since_now();
    let before = proxy.struck().len();
    let told_before = operator.said("to be tried again").len();
    proxy.disturb(Fault::Status(500, None), deployments);
    scale(&rig, &namespace, 4).await;
    rig.change(&namespace, "fleet", &json!({"spec": {"cleanup": {"schedule": "7 * * * *"}}})).await;
    let said = rig.condition(&namespace, "fleet", ("Reconciling", "True", "Retrying")).await;
    assert!(said.contains("cannot apply the Deployment fleet-consumer"), "{said}");
    let seven = |child: &DynamicObject| child.data["spec"]["schedule"] == "7 * * * *";
    rig.child(Kind::CronJob, &namespace, "fleet-cleanup", seven).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    // Half a second, one, two, four: bounded, and not given up.
    let tried = proxy.struck().len() - before;
    assert!((3..=12).contains(&tried), "{tried}");
    let told = operator.said("to be tried again").len() - told_before;
    assert_eq!(told, 1, "{:#?}", operator.log());
    proxy.heal();
    scaled(&rig, &namespace, 4).await;
    assert_eq!(times_written(&audit), 1);
    operator.wait_until_said("it works again").await;

    // The answer to a write is lost: it is found to be done, and not done again.
    let audit = rig.cluster.audit().since_now();
    proxy.disturb(Fault::AnswerLost, deployments);
    scale(&rig, &namespace, 5).await;
    scaled(&rig, &namespace, 5).await;
    proxy.heal();
    rig.quiet(Duration::from_secs(3)).await;
    assert_eq!(times_written(&audit), 1);
}

#[tokio::test]
async fn watches_that_end_expire_or_go_deaf_are_begun_anew() {
    let (rig, namespace, proxy, operator) = running(ALONE).await;
    let audit = rig.cluster.audit().since_now();

    proxy.cut_watches();
    scale(&rig, &namespace, 3).await;
    scaled(&rig, &namespace, 3).await;

    // What happens while nobody watches is found by looking at all.
    proxy.disturb(Fault::Status(500, None), |_| true);
    proxy.expire_watches();
    let services = rig.children(Kind::Service, &namespace);
    services.delete("fleet-metrics", &DeleteParams::default()).await.expect("it is deleted");
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.heal();
    rig.child(Kind::Service, &namespace, "fleet-metrics", |_| true).await;
    let lists = |seen: &&crate::proxy::Seen| {
        seen.path.starts_with("/api/v1/services?") && !seen.path.contains("watch=true")
    };
    assert!(proxy.seen().iter().filter(lists).count() >= 2, "it was listed anew");

    // No answer at all, and what was open stays so and says nothing.
    proxy.deafen_watches();
    proxy.disturb(Fault::Silence, |_| true);
    scale(&rig, &namespace, 4).await;
    let again = json!({"metadata": {"annotations": {"look": "again"}}});
    rig.change(&namespace, "fleet", &again).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    proxy.heal();
    scaled(&rig, &namespace, 4).await;
    let trouble = operator.said("the API server is in trouble");
    assert_eq!(of_trouble(&trouble, "no_answer").len(), 1, "{trouble:#?}");
    rig.quiet(Duration::from_secs(3)).await;
    assert_eq!(times_written(&audit), 2);
}

#[tokio::test]
async fn a_write_leaves_only_while_the_operator_surely_leads() {
    let cluster = shared().await;
    // It sets up what every client of this process needs.
    cluster.admin().await;
    let proxy = Proxy::start(&cluster.url()).await;
    let config = kube::Config::new(proxy.url.parse().unwrap());
    let metrics = OperatorMetrics::new().unwrap();
    let api = ApiServer::new(config, Duration::from_secs(5), metrics).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(api.client(), "default");
    let leases: Api<Lease> = Api::namespaced(api.client(), "default");
    let metadata = ObjectMeta { name: Some("a".into()), ..ObjectMeta::default() };
    let map = ConfigMap { metadata: metadata.clone(), ..ConfigMap::default() };
    let lease = Lease { metadata, ..Lease::default() };
    // Whether the API server was asked; nobody may do anything here, which it then says.
    let write = async || {
        let before = proxy.seen().len();
        let error = maps.create(&PostParams::default(), &map).await.expect_err("one may not");
        (proxy.seen().len() > before, error.to_string())
    };
    assert!(write().await.0, "nobody is elected, so nobody else leads");
    api.lead_until(Instant::now());
    let (asked, error) = write().await;
    assert!(!asked && error.contains("another operator may lead"), "{error}");
    // It may look, and reach for the lead.
    let before = proxy.seen().len();
    maps.get_opt("a").await.expect_err("one may not");
    leases.create(&PostParams::default(), &lease).await.expect_err("one may not");
    assert_eq!(proxy.seen().len(), before + 2);
    api.lead_until(Instant::now() + Duration::from_secs(60));
    assert!(write().await.0);
}
