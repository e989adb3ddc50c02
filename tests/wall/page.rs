//! The page in a real browser, over fleets of four, sixty and a thousand cameras.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use stream_processor::model::{Clock, SystemClock, UtcMillis};

use super::browser::{self, Verdict, assert_all_good};
use super::footage::{self, IN_A_ROW, INTERVAL_MILLIS};
use super::serving::{ALL_TOKEN, Server};
use super::variables;

/// Pictures of the page are kept there, for people.
fn gallery() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/wall");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// In memory where the machine has room there: a thousand streams are synced to disk.
fn roomy() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn now() -> UtcMillis {
    UtcMillis(SystemClock.now().0 / 1_000 * 1_000)
}

fn starts_at(now: UtcMillis) -> UtcMillis {
    now.plus_millis(-3 * IN_A_ROW * INTERVAL_MILLIS)
}

async fn serve(base: &Path) -> Server {
    let settings = [("SERVE_LOOKS_PER_SECOND", "5000"), ("SERVE_MAX_CLIP_SECONDS", "600")];
    Server::start(&variables(base), &settings).await
}

async fn look(server: &Server, of: &str, arguments: &[&str]) -> Verdict {
    let gallery = gallery();
    let url = format!("{}/", server.base_url);
    let options = [&[of, &url, gallery.to_str().unwrap()], arguments].concat();
    browser::run("wall.mjs", &options).await
}

#[test]
fn the_page_reckons_rightly() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let tests = std::process::Command::new("node")
        .args(["--test", "page.test.mjs"])
        .current_dir(scripts)
        .output()
        .expect("node can be run");
    assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_is_played_sought_and_saved_from() {
    let base = roomy();
    let now = now();
    let told = footage::fleet(base.path(), 4, now).await;
    let server = serve(base.path()).await;
    let start = starts_at(now).0.to_string();
    let verdict = look(&server, "camera", &["--start-millis", &start]).await;
    assert_all_good(std::slice::from_ref(&verdict));
    let index = usize::try_from(verdict.found["still"]["frame"].as_u64().unwrap()).unwrap();
    let expected = hex(told.jpeg(index));
    assert_eq!(verdict.found["still"]["sha256"], expected, "the still is another picture");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_cameras_are_a_wall_of_which_twelve_play() {
    let base = roomy();
    footage::fleet(base.path(), 60, now()).await;
    let server = serve(base.path()).await;
    let verdict =
        look(&server, "wall", &["--cameras", "60", "--late", "6", "--offline", "5"]).await;
    assert_all_good(&[verdict]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_thousand_cameras_is_found_and_names_are_only_text() {
    let base = roomy();
    footage::fleet(base.path(), 1_000, now()).await;
    let server = serve(base.path()).await;
    let names = serde_json::to_string(&footage::hostile_names()).unwrap();
    let wall = ["--cameras", "1000", "--late", "99", "--offline", "99", "--names", &names];
    assert_all_good(&[look(&server, "wall", &wall).await]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_token_gets_in_and_who_has_none_is_told_so() {
    let base = roomy();
    footage::fleet(base.path(), 4, now()).await;
    let server = Server::locked(&variables(base.path())).await;
    let verdict = look(&server, "login", &["--token", ALL_TOKEN]).await;
    assert_all_good(&[verdict]);
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
