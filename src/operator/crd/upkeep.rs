//! `spec.cleanup` and `spec.archiveCleanup`: when what is old is removed.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

macro_rules! cleanup_spec {
    ($(#[$doc:meta])* $name:ident, $default:literal, $schedule:ident, $message:literal) => {
        $(#[$doc])*
        #[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// When it runs, in the five fields of cron.
            #[schemars(length(min = 1, max = 200))]
            #[x_kube(validation = Rule::new(
                "self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[^ ]+( [^ ]+){4})$')"
            ).message($message))]
            #[serde(default = $default)]
            pub schedule: String,
            /// Whether it does not run for now.
            #[serde(default)]
            pub suspend: bool,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { schedule: $schedule(), suspend: false }
            }
        }
    };
}

cleanup_spec!(
    /// When segments and frames that are past their retention are removed.
    CleanupSpec,
    "every_five_minutes",
    every_five_minutes,
    "write cleanup.schedule in the five fields of cron, such as \"*/5 * * * *\" for every five minutes"
);

cleanup_spec!(
    /// When archives whose time is over are removed.
    ArchiveCleanupSpec,
    "every_hour",
    every_hour,
    "write archiveCleanup.schedule in the five fields of cron, such as \"0 * * * *\" for every hour"
);

fn every_five_minutes() -> String {
    "*/5 * * * *".into()
}

fn every_hour() -> String {
    "0 * * * *".into()
}
