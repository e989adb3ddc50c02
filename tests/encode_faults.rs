//! Helpers that die, stall or are taken over: what it costs, and that nothing is left behind.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod encode_support;

use std::collections::BTreeSet;
use std::time::Duration;

use encode_support::*;
use rustix::process::{Pid, Signal, getpgid, kill_process};
use stream_processor::encode::{EncoderPool, FrameFault, PoolSettings};

/// The helpers that this thread's pool has started: its children with that subcommand.
fn helpers() -> BTreeSet<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let children = tasks.flat_map(|task| {
        let path = task.unwrap().path().join("children");
        let list = std::fs::read_to_string(path).unwrap_or_default();
        list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<i32>>()
    });
    children.filter(|id| command_line(*id).contains("encode-helper")).collect()
}

fn command_line(id: i32) -> String {
    std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default()
}

/// The tests of this file look at the process's children, so they take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn started(settings: PoolSettings) -> (EncoderPool, BTreeSet<i32>) {
    let before = helpers();
    let pool = EncoderPool::start(settings).await.unwrap();
    let ours = helpers().difference(&before).copied().collect();
    (pool, ours)
}

/// Frames of which the second says something to the helper.
fn job_with_order(order: &str) -> stream_processor::encode::EncodeJob {
    let mut frames = jpegs(64, 48, 4);
    frames[1] = with_comment(frames[1].clone(), order);
    job(frames)
}

async fn signalled_during_a_job(signal: Signal) -> EncoderPool {
    let settings = PoolSettings { frame_time_limit: Duration::from_secs(3), ..pool_settings(1) };
    let (pool, ours) = started(settings).await;
    let job = job_with_order("failpoint:dawdle");
    let strike = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for id in &ours {
            kill_process(Pid::from_raw(*id).unwrap(), signal).unwrap();
        }
    };
    let (outcome, ()) = tokio::join!(pool.encode(job), strike);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.segments[0].frames, [0, 1, 2, 3], "{:?}", outcome.rejected);
    assert_eq!(pool.stats().restarts, 1);
    pool
}

#[tokio::test]
async fn a_killed_helper_costs_no_frame() {
    let _turn = TURN.lock().await;
    let pool = signalled_during_a_job(Signal::KILL).await;
    assert_eq!((pool.stats().deaths, pool.stats().time_outs), (1, 0));
    pool.close().await;
}

#[tokio::test]
async fn a_stopped_helper_is_replaced_and_costs_no_frame() {
    let _turn = TURN.lock().await;
    let pool = signalled_during_a_job(Signal::STOP).await;
    assert_eq!((pool.stats().deaths, pool.stats().time_outs), (0, 1));
    pool.close().await;
}

#[tokio::test]
async fn a_frame_that_kills_its_helper_costs_only_itself() {
    let _turn = TURN.lock().await;
    let (pool, _) = started(pool_settings(1)).await;
    let outcome = pool.encode(job_with_order("failpoint:abort")).await.unwrap();
    assert_eq!(outcome.segments[0].frames, [0, 2, 3]);
    let [rejected] = &outcome.rejected[..] else { panic!("{:?}", outcome.rejected) };
    assert_eq!((rejected.frame, rejected.fault), (1, FrameFault::Crashed));
    assert!(rejected.detail.contains("signal: 6"), "{}", rejected.detail);
    assert_eq!(pool.stats().deaths, 2);
    pool.close().await;
}

#[tokio::test]
async fn a_frame_that_never_ends_costs_only_itself() {
    let _turn = TURN.lock().await;
    let settings = PoolSettings { frame_time_limit: Duration::from_secs(1), ..pool_settings(1) };
    let (pool, _) = started(settings).await;
    let outcome = pool.encode(job_with_order("failpoint:hang")).await.unwrap();
    assert_eq!(outcome.segments[0].frames, [0, 2, 3]);
    assert_eq!(outcome.rejected[0].fault, FrameFault::TimedOut);
    assert_eq!(pool.stats().time_outs, 2);
    pool.close().await;
}

#[tokio::test]
async fn a_frame_that_takes_all_memory_costs_only_itself() {
    let _turn = TURN.lock().await;
    let (pool, _) = started(pool_settings(1)).await;
    let outcome = pool.encode(job_with_order("failpoint:hoard")).await.unwrap();
    assert_eq!(outcome.segments[0].frames, [0, 2, 3]);
    assert_eq!(outcome.rejected[0].fault, FrameFault::Crashed);
    pool.close().await;
}

#[tokio::test]
async fn a_job_of_nothing_but_killers_is_an_outcome_too() {
    let _turn = TURN.lock().await;
    let (pool, _) = started(pool_settings(1)).await;
    let killer = with_comment(jpeg(64, 48, 0), "failpoint:abort");
    let outcome = pool.encode(job([killer.clone(), killer])).await.unwrap();
    assert_eq!((outcome.segments.len(), outcome.rejected.len()), (0, 2));
    assert_eq!(outcome.timeline, None);
    pool.close().await;
}

#[tokio::test]
async fn a_helper_killed_between_jobs_is_replaced() {
    let _turn = TURN.lock().await;
    let (pool, ours) = started(pool_settings(1)).await;
    for id in ours {
        kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    }
    let outcome = pool.encode(job(jpegs(64, 48, 2))).await.unwrap();
    assert_eq!(outcome.segments[0].frames, [0, 1]);
    pool.close().await;
}

#[tokio::test]
async fn the_sandbox_stops_every_way_out() {
    let _turn = TURN.lock().await;
    let (pool, _) = started(pool_settings(1)).await;
    println!("sandbox: {}", pool.sandbox());
    for (what, stopped_by) in pool.probe_sandbox().await.unwrap() {
        let stopped_by = stopped_by.unwrap_or_else(|| panic!("{what} is possible"));
        println!("{what}: {stopped_by}");
        assert!(stopped_by.contains("not permitted"), "{what}: {stopped_by}");
    }
    pool.close().await;
}

#[tokio::test]
async fn a_helper_sees_nothing_of_the_environment_and_three_descriptors() {
    let _turn = TURN.lock().await;
    let (pool, ours) = started(pool_settings(1)).await;
    for id in &ours {
        let environment = std::fs::read_to_string(format!("/proc/{id}/environ")).unwrap();
        assert!(!environment.contains("CARGO"), "{environment}");
        let descriptors = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
        assert_eq!(descriptors, 3);
    }
    assert_eq!(ours.len(), 1);
    pool.close().await;
}

/// Ctrl-C at a terminal is a signal to every process of the worker's group. The worker then
/// finishes what is under way, and needs its helpers for it.
#[tokio::test]
async fn a_terminals_signals_do_not_reach_a_helper() {
    let _turn = TURN.lock().await;
    let (pool, ours) = started(pool_settings(1)).await;
    for id in ours {
        assert_ne!(getpgid(Pid::from_raw(id)).unwrap(), getpgid(None).unwrap());
    }
    pool.close().await;
}

#[tokio::test]
async fn a_closed_pool_leaves_no_process() {
    let _turn = TURN.lock().await;
    let (pool, ours) = started(pool_settings(2)).await;
    assert_eq!(ours.len(), 2);
    pool.close().await;
    assert!(helpers().is_disjoint(&ours));
}

#[tokio::test]
async fn a_dropped_pool_leaves_no_process() {
    let _turn = TURN.lock().await;
    let (pool, ours) = started(pool_settings(2)).await;
    drop(pool);
    let gone = async {
        while ours.iter().any(|id| std::fs::exists(format!("/proc/{id}")).unwrap()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}
