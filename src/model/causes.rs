//! An error as one line for a person.

use std::error::Error;

/// What an error says, and what led to it as far as it has not said so itself.
pub fn causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said += &format!(": {more}");
        }
        cause = error.source();
    }
    said
}
