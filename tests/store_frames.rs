//! Reading the frames that events name: nothing outside the base path, nothing that blocks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "support/store_fixture.rs"]
mod store_fixture;

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{Mode, mkfifoat};
use store_fixture::*;
use stream_processor::store::{FrameReadError, Store, StoreSettings};

/// A base path with a frame in it, and a secret beside it.
fn storage() -> (tempfile::TempDir, std::path::PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let base = outer.path().join("base");
    std::fs::create_dir_all(base.join("frames")).unwrap();
    std::fs::write(base.join("frames/e1.jpg"), b"a jpeg").unwrap();
    std::fs::write(outer.path().join("secret"), b"secret").unwrap();
    (outer, base)
}

async fn reason(base: &Path, path: &str) -> &'static str {
    match store(base).read_frame(path).await {
        Ok(bytes) => panic!("{path:?} was read: {bytes:?}"),
        Err(error) => error.reason(),
    }
}

#[tokio::test]
async fn a_frame_is_read_by_its_relative_and_by_its_absolute_path() {
    let (_outer, base) = storage();
    let absolute = base.join("frames/e1.jpg");
    for path in ["frames/e1.jpg", "./frames//e1.jpg", absolute.to_str().unwrap()] {
        assert_eq!(store(&base).read_frame(path).await.unwrap(), "a jpeg");
    }
}

#[tokio::test]
async fn no_path_leads_out_of_the_base_path() {
    let (outer, base) = storage();
    let outside = outer.path().join("secret");
    symlink(&outside, base.join("frames/absolute.jpg")).unwrap();
    symlink("../../secret", base.join("frames/relative.jpg")).unwrap();
    symlink(outer.path(), base.join("folder")).unwrap();
    for path in [
        "../secret",
        "frames/../../secret",
        "frames/../frames/e1.jpg",
        outside.to_str().unwrap(),
        &format!("{}/../secret", base.display()),
        &format!("{}-other/e1.jpg", base.display()),
        "/etc/hostname",
        "frames/absolute.jpg",
        "frames/relative.jpg",
        "folder/secret",
    ] {
        assert_eq!(reason(&base, path).await, "frame_outside", "{path}");
    }
}

#[tokio::test]
async fn a_link_within_the_base_path_is_followed() {
    let (_outer, base) = storage();
    symlink("e1.jpg", base.join("frames/e2.jpg")).unwrap();
    assert_eq!(store(&base).read_frame("frames/e2.jpg").await.unwrap(), "a jpeg");
}

#[tokio::test]
async fn what_is_no_frame_is_refused_for_its_reason_and_never_blocks() {
    let (_outer, base) = storage();
    std::fs::write(base.join("empty.jpg"), b"").unwrap();
    let folder = std::fs::File::open(&base).unwrap();
    mkfifoat(&folder, "pipe.jpg", Mode::RUSR | Mode::WUSR).unwrap();
    let _socket = UnixListener::bind(base.join("socket.jpg")).unwrap();
    symlink("loop.jpg", base.join("loop.jpg")).unwrap();
    for (path, expected) in [
        ("frames/e9.jpg", "frame_missing"),
        ("nowhere/e9.jpg", "frame_missing"),
        ("empty.jpg", "frame_empty"),
        ("frames", "frame_not_a_file"),
        ("pipe.jpg", "frame_not_a_file"),
        ("socket.jpg", "frame_not_a_file"),
        ("frames/e1.jpg/e2.jpg", "frame_not_a_file"),
        ("loop.jpg", "frame_not_a_file"),
        ("nul\0.jpg", "frame_io"),
        (&"x".repeat(300), "frame_io"),
    ] {
        assert_eq!(reason(&base, path).await, expected, "{path:?}");
    }
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_and_one_at_the_limit_is_read() {
    let (_outer, base) = storage();
    let limited = |max_frame_bytes| {
        Store::at(&base, StoreSettings { max_frame_bytes, ..settings() }).unwrap()
    };
    let error = limited(5).read_frame("frames/e1.jpg").await.unwrap_err();
    assert!(matches!(error, FrameReadError::TooLarge { limit_bytes: 5, .. }), "{error}");
    assert_eq!(limited(6).read_frame("frames/e1.jpg").await.unwrap(), "a jpeg");
}

#[tokio::test]
async fn a_device_folder_that_is_a_link_out_is_refused() {
    let (outer, base) = storage();
    std::fs::create_dir_all(base.join("client_ids/client-1/device_id")).unwrap();
    std::fs::create_dir(outer.path().join("elsewhere")).unwrap();
    symlink(outer.path().join("elsewhere"), base.join("client_ids/client-1/device_id/camera-1"))
        .unwrap();
    assert!(store(&base).open(&key()).await.is_err());
    assert_eq!(std::fs::read_dir(outer.path().join("elsewhere")).unwrap().count(), 0);
}

/// Trying them again would hold up their device for ever.
#[tokio::test]
async fn a_path_that_no_file_can_have_is_refused_for_good() {
    let (_outer, base) = storage();
    symlink("circle.jpg", base.join("frames/circle.jpg")).unwrap();
    let long_name = format!("frames/{}.jpg", "n".repeat(300));
    let long_path = format!("{}e1.jpg", "frames/".repeat(700));
    for path in ["frames/circle.jpg", &long_name, &long_path] {
        assert_eq!(reason(&base, path).await, "frame_not_a_file", "{path}");
    }
}
