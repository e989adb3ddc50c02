//! The dashboard and the alerts ask for what is exported, and for nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::exported::{SCRAPED, series};
use crate::files::{objects, text, the};
use crate::promql::{Query, query};

const DASHBOARD: &str = "manifests/monitoring/dashboard.json";
const ALERTS: &str = "manifests/monitoring/alerts.yaml";

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).expect("JSON")
}

/// The panels that show something.
fn panels() -> Vec<Value> {
    let panels = dashboard()["panels"].as_array().unwrap().clone();
    panels.into_iter().filter(|panel| panel["type"] != "row").collect()
}

fn rules() -> Vec<Value> {
    let groups = the(&objects(ALERTS), "PrometheusRule")["spec"]["groups"].clone();
    let groups = groups.as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Every expression with where it is, and the text that its labels are shown in.
fn expressions() -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for panel in panels() {
        for target in panel["targets"].as_array().unwrap() {
            let shown = target["legendFormat"].as_str().unwrap().to_owned();
            all.push((panel["title"].to_string(), target["expr"].as_str().unwrap().into(), shown));
        }
    }
    for rule in rules() {
        let shown = rule["annotations"]["summary"].as_str().unwrap().to_owned();
        all.push((rule["alert"].to_string(), rule["expr"].as_str().unwrap().into(), shown));
    }
    assert!(all.len() > 50, "all of them were found");
    all
}

fn read(at: &str, expression: &str) -> Query {
    query(expression).unwrap_or_else(|error| panic!("{at}: {error}\n{expression}"))
}

/// The labels in `{{label}}` and `{{ $labels.label }}`.
fn shown_labels(text: &str) -> BTreeSet<String> {
    let inside = text.split("{{").skip(1).map(|part| part.split("}}").next().unwrap().trim());
    let names = inside.map(|name| name.strip_prefix("$labels.").unwrap_or(name));
    names.filter(|name| !name.starts_with("$value")).map(str::to_owned).collect()
}

#[test]
fn every_metric_and_label_is_exported() {
    let exported = series();
    for (at, expression, shown) in expressions() {
        let query = read(&at, &expression);
        assert!(!query.selectors.is_empty(), "{at}: it asks for nothing");
        let mut known: BTreeSet<&str> = SCRAPED.iter().copied().collect();
        for selector in &query.selectors {
            let found = exported.get(&selector.metric);
            let found =
                found.unwrap_or_else(|| panic!("{at}: {} is not exported", selector.metric));
            known.extend(found.labels.keys().map(String::as_str));
            for (label, _, value) in &selector.matchers {
                if SCRAPED.contains(&label.as_str()) {
                    continue;
                }
                let values = found.labels.get(label);
                let values = values
                    .unwrap_or_else(|| panic!("{at}: {} has no label {label}", selector.metric));
                for value in value.split('|') {
                    assert!(values.contains(value), "{at}: no {label} is {value}");
                }
            }
        }
        for label in &query.listed {
            assert!(known.contains(label.as_str()), "{at}: nothing has a label {label}");
        }
        let aggregated = ["sum", "min", "max"].iter().any(|f| query.functions.contains(*f));
        for label in shown_labels(&shown) {
            let there =
                query.listed.contains(&label) || !aggregated && SCRAPED.contains(&label.as_str());
            assert!(there, "{at}: the result has no label {label}");
        }
    }
}

#[test]
fn what_grows_is_shown_as_a_rate_and_what_is_now_is_not() {
    let exported = series();
    for (at, expression, _) in expressions() {
        let query = read(&at, &expression);
        for selector in &query.selectors {
            let counts = exported[&selector.metric].counts;
            assert_eq!(selector.range_counts == Some(true), counts, "{at}: {}", selector.metric);
        }
        let quantiles = query.functions.contains("histogram_quantile");
        assert_eq!(quantiles, query.listed.contains("le"), "{at}: a quantile is of le");
        let of_buckets = query.selectors.iter().any(|s| s.metric.ends_with("_bucket"));
        assert_eq!(quantiles, of_buckets, "{at}: a quantile is of buckets");
    }
}

#[test]
fn nothing_that_is_exported_is_left_out_of_the_dashboard() {
    let mut asked = BTreeSet::new();
    for panel in panels() {
        for target in panel["targets"].as_array().unwrap() {
            let query = read(DASHBOARD, target["expr"].as_str().unwrap());
            asked.extend(query.selectors.into_iter().map(|selector| selector.metric));
        }
    }
    let parts = ["_bucket", "_sum", "_count"];
    let whole = |name: &str| {
        let part = parts.iter().find_map(|part| name.strip_suffix(part));
        part.unwrap_or(name).to_owned()
    };
    let asked: BTreeSet<String> = asked.iter().map(|name| whole(name)).collect();
    let exported: BTreeSet<String> = series()
        .into_keys()
        .filter(|name| name.starts_with("stream_processor_"))
        .map(|name| whole(&name))
        .collect();
    let left_out: Vec<_> = exported.difference(&asked).collect();
    // They say again what is shown in another form.
    assert_eq!(
        left_out,
        ["stream_processor_redis_devices_told_total", "stream_processor_redis_up"]
    );
}

#[test]
fn every_panel_has_a_unit_a_text_and_the_data_source_of_the_viewers_choice() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|v| v["name"] == "datasource" && v["type"] == "datasource"));
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: a unit");
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}: a description");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let at = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && taken.insert((x, y)), "{title}: it covers another");
            }
        }
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn every_alert_waits_and_says_what_to_do() {
    let mut names = BTreeSet::new();
    let operating = text("docs/operating.md");
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name}: twice");
        let minutes: u64 = match rule["for"].as_str().unwrap() {
            hours if hours.ends_with('h') => {
                hours.trim_end_matches('h').parse::<u64>().unwrap() * 60
            }
            minutes => minutes.trim_end_matches('m').parse().unwrap(),
        };
        assert!(minutes >= 5, "{name}: a restart of a pod is no trouble");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        assert!(rule["annotations"]["runbook"].as_str().unwrap().len() > 60, "{name}");
        let url = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert!(url.ends_with("/docs/operating.md#alerts"), "{name}: {url}");
        assert!(operating.contains(&format!("`{name}`")), "{name}: docs/operating.md has it");
    }
    assert!(operating.contains("\n## Alerts\n"));
}
