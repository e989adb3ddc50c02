//! What `serve` makes of a storage for people: the page in a real browser, and multivariant
//! playlists as players read them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/browser.rs"]
mod browser;
#[path = "support/encoder.rs"]
mod encoder;
#[path = "wall/footage.rs"]
mod footage;
#[path = "wall/master.rs"]
mod master;
#[path = "wall/page.rs"]
mod page;
#[path = "support/serving.rs"]
mod serving;
#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::path::Path;

use serving::Variables;

/// What names a folder to a command.
fn variables(base: &Path) -> Box<Variables> {
    Box::new([("STORAGE_BASE_PATH", base.display().to_string())])
}
