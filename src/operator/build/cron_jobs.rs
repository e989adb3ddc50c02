//! The two CronJobs: what is old is removed. Pure.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec, JobTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::pod::{self, Role};
use super::{Inputs, meta};
use crate::cli::{ArchiveCleanupSettings, CleanupSettings, SettingScope};
use crate::config::Group;
use crate::operator::names::Component;

/// A run that could not be started for this long is left out. Without it a CronJob that has
/// missed a hundred runs never runs again.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#job-creation>
const STARTING_DEADLINE_SECS: i64 = 120;
/// A clean-up ends between two devices.
const STOP_SECS: i64 = 60;

/// Removes segments and frames that are past their retention.
pub fn cleanup(inputs: &Inputs<'_>) -> CronJob {
    let of = &inputs.of.spec.cleanup;
    let component = Component::Cleanup;
    cron_job(inputs, component, CleanupSettings::GROUPS, &of.schedule, of.suspend)
}

/// Removes archives whose time is over.
pub fn archive_cleanup(inputs: &Inputs<'_>) -> CronJob {
    let of = &inputs.of.spec.archive_cleanup;
    let component = Component::ArchiveCleanup;
    cron_job(inputs, component, ArchiveCleanupSettings::GROUPS, &of.schedule, of.suspend)
}

fn cron_job(
    inputs: &Inputs<'_>,
    component: Component,
    groups: &'static [Group],
    schedule: &str,
    suspend: bool,
) -> CronJob {
    let of = inputs.of;
    let role = &Role {
        component,
        args: vec![component.as_str().into()],
        groups,
        resources: of.spec.pod.upkeep_resources.clone(),
        talks_to_cluster: false,
        serves_metrics: false,
        serves_viewers: false,
        stop_secs: STOP_SECS,
    };
    let template = pod::template(inputs, role, |spec| {
        spec.restart_policy = Some("Never".into());
    });
    let labels = component.labels(&of.name);
    CronJob {
        metadata: meta(of, &component.name(&of.name), component),
        spec: Some(CronJobSpec {
            schedule: schedule.to_owned(),
            suspend: Some(suspend),
            concurrency_policy: Some("Forbid".into()),
            starting_deadline_seconds: Some(STARTING_DEADLINE_SECS),
            successful_jobs_history_limit: Some(1),
            failed_jobs_history_limit: Some(3),
            job_template: JobTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(JobSpec {
                    // The next run is near: it does what this one has left.
                    backoff_limit: Some(1),
                    template,
                    ..JobSpec::default()
                }),
            },
            ..CronJobSpec::default()
        }),
        status: None,
    }
}
