//! `crds`: prints the definitions of the operator's kinds.

use super::{CommandError, say};
use crate::operator::crd::definitions;

/// Prints them as one YAML stream.
///
/// # Errors
/// When a definition cannot be written as YAML: a defect.
pub fn run() -> Result<(), CommandError> {
    for definition in definitions() {
        let text = serde_yaml::to_string(&definition)
            .map_err(|e| CommandError::because("a definition cannot be written as YAML", e))?;
        say(&format!("---\n{}", text.trim_end()));
    }
    Ok(())
}
