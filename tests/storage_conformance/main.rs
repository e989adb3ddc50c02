//! The store's promises on every storage that it takes: a folder, S3, Google Cloud Storage,
//! Azure, and frames on another storage than segments. The servers are real and on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may panic.

#[path = "../support/archive_fixture.rs"]
mod archive_fixture;
#[path = "../support/servers/mod.rs"]
mod servers;
#[path = "../support/store_fixture.rs"]
mod store_fixture;

mod archives;
mod cleanup;
mod faults;
mod frames;
mod races;
mod site;
mod streams;

use site::Site;

/// Every promise, by its name; each has a part of the storage to itself.
macro_rules! promises {
    ($site:expr, $($module:ident :: $promise:ident),+ $(,)?) => {
        $(
            eprintln!("{}: {}", $site.name(), stringify!($promise));
            $module::$promise($site.part(stringify!($promise))).await;
        )+
    };
}

async fn keep_all_promises(site: &Site) {
    promises!(
        site,
        streams::a_stream_grows_and_is_read_back_by_another_process,
        streams::a_playlist_that_was_lost_cut_or_edited_is_mended_byte_for_byte,
        streams::a_committed_frame_is_known_however_long_ago,
        streams::odd_names_are_names,
        streams::foreign_files_and_folders_are_no_devices,
        streams::a_file_has_a_second_name_without_being_read,
        streams::a_session_is_ended_once,
        streams::a_window_is_trimmed_while_nothing_comes,
        streams::a_stream_begun_anew_never_steps_back,
        races::a_fenced_writer_changes_nothing_that_a_state_names,
        races::of_several_writers_one_wins_each_generation,
        races::what_a_crash_left_under_the_next_name_is_replaced,
        races::a_playlist_never_steps_back_behind_a_slow_writer,
        frames::a_frame_is_read_and_each_fault_has_its_name,
        archives::a_finished_session_becomes_an_archive_and_goes_when_its_time_has_come,
        archives::archivers_at_the_same_device_at_once_make_each_archive_whole,
        cleanup::what_has_left_the_playlist_goes_with_its_frames_after_the_grace,
        cleanup::clean_ups_at_once_take_nothing_that_is_listed,
        cleanup::a_reset_leaves_nothing_of_the_stream_and_its_numbers_go_on,
        faults::a_state_that_was_cut_is_never_guessed,
        faults::a_storage_that_works_is_found_to_work,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_keeps_the_stores_promises() {
    keep_all_promises(&Site::folder()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_keeps_the_stores_promises() {
    let server = servers::s3::S3Server::start().await;
    keep_all_promises(&Site::s3(&server)).await;
    faults::wrong_settings_are_told_with_what_the_server_says(&Site::s3(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn google_cloud_storage_keeps_the_stores_promises() {
    let server = servers::gcs::GcsServer::start().await;
    keep_all_promises(&Site::gcs(&server)).await;
    faults::wrong_settings_are_told_with_what_the_server_says(&Site::gcs(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_keeps_the_stores_promises() {
    let server = servers::azure::AzureServer::start().await;
    keep_all_promises(&Site::azure(&server)).await;
    faults::wrong_settings_are_told_with_what_the_server_says(&Site::azure(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_in_a_bucket_go_to_streams_in_a_folder() {
    let server = servers::s3::S3Server::start().await;
    let site = Site::folder_with_frames_on(&Site::s3(&server));
    frames::a_frame_is_read_and_each_fault_has_its_name(site.part("frames")).await;
    streams::a_stream_grows_and_is_read_back_by_another_process(site.part("streams")).await;
}
