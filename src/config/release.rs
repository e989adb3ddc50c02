//! What this release knows of but does not do yet. To be shortened release by release.

use super::reader::Reader;
use super::setting::Setting;
use super::{Config, redis};

/// What the names of settings begin with that have no effect yet.
const FOR_LATER: &[&str] = &["REDIS_"];

impl Setting {
    /// Whether it is accepted and has no effect in this release, which its help has to say.
    pub fn is_for_later(&self) -> bool {
        FOR_LATER.iter().any(|prefix| self.variable.starts_with(prefix))
    }
}

/// Refuses what would not work, warns about what has no effect.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    for (given, setting) in [(config.redis.enabled, &redis::ENABLED)] {
        if given {
            reader.notice(format!(
                "{} is not used by this release; it comes in a later release",
                setting.variable
            ));
        }
    }
}
