//! A run from its first fault to its verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stream_processor::model::{Clock, SystemClock};
use tokio::task::JoinSet;

use super::oracle::acks::{self, Reckoning};
use super::oracle::{Evidence, Finding, Wrong};
use super::plan::{Kind, Plan};
use super::recovery::{Recoveries, Seen, Struck, seen};
use super::redis_agreement;
use super::strike::{Claims, strike};
use super::uploads::INTERVAL_MILLIS;
use super::verdict::Verdict;
use super::world::{NORMAL_MILLIS, SUBSCRIPTION, World};

/// How often the crew is looked after.
const LOOK_AFTER: Duration = Duration::from_millis(300);
/// How often acknowledgements are compared with what is durable.
const RECKON_EVERY: Duration = Duration::from_secs(20);
/// How long the fleet has to work off what is left when all is well again.
const DRAIN: Duration = Duration::from_secs(240);
/// How long Redis has to agree with the storage.
const AGREE: Duration = Duration::from_secs(60);
/// Some workers are not there at the beginning: they may join.
const SPARE_POSTS: usize = 1;

/// Runs the plan and says what was found.
pub async fn run(plan: Plan) -> Verdict {
    let faults = plan.faults();
    eprintln!("{plan}");
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    let world = World::begin(Plan { workers: plan.workers + SPARE_POSTS, ..plan }).await;
    for post in &world.crew.posts[..plan.workers] {
        post.set_wanted(true);
    }
    let world = Arc::new(world);
    let claims = Arc::new(Claims::for_posts(world.crew.posts.len()));
    let begun = Instant::now();
    let mut strikes = JoinSet::new();
    let mut struck: Vec<Struck> = Vec::new();
    let mut findings: Vec<Finding> = Vec::new();
    let mut reckonings = reckonings(&world);
    let mut coming = faults.into_iter().peekable();
    let mut reckoned = begun;
    let mut ends_after = Duration::from_secs_f64(plan.minutes * 60.0);
    let mut interrupted = Box::pin(tokio::signal::ctrl_c());
    while begun.elapsed() < ends_after || !strikes.is_empty() {
        world.crew.look_after();
        let now_secs = begun.elapsed().min(ends_after).as_secs_f64();
        while let Some(fault) = coming.next_if(|fault| fault.at_secs <= now_secs) {
            let (world, claims) = (Arc::clone(&world), Arc::clone(&claims));
            strikes.spawn(async move { strike(&world, &claims, fault).await });
        }
        while let Some(ended) = strikes.try_join_next() {
            struck.extend(ended.expect("a fault is carried out"));
        }
        if reckoned.elapsed() > RECKON_EVERY {
            reckoned = Instant::now();
            findings.extend(reckon(&world, &mut reckonings).await);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AFTER) => {}
            // Who has seen enough gets the verdict of what was.
            _ = &mut interrupted, if begun.elapsed() < ends_after => ends_after = begun.elapsed(),
        }
    }
    eprintln!("all is well again after {:.0} s", begun.elapsed().as_secs_f64());
    drop(reckonings);
    let mut world = Arc::into_inner(world).expect("nobody else has it");
    for topic in &mut world.topics {
        topic.uploads.stop().await;
    }
    let drained = drain(&world).await;
    findings.extend(mirror(&world).await);
    for post in &world.crew.posts {
        post.set_wanted(false);
        world.crew.leave(post).await;
    }
    eprintln!("the workers have left after {:.0} s", begun.elapsed().as_secs_f64());
    judge(world, plan, findings, &struck, drained).await
}

fn reckonings(world: &World) -> Vec<Reckoning<'_>> {
    let store = &world.place.store;
    let of = |topic: &super::world::Topic| {
        Reckoning::new(&world.broker, &topic.name, SUBSCRIPTION, topic.partitions, store.clone())
    };
    world.topics.iter().map(of).collect()
}

/// Compares what is acknowledged with what is durable, topic by topic.
async fn reckon(world: &World, reckonings: &mut [Reckoning<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (topic, reckoning) in world.topics.iter().zip(reckonings) {
        // What cannot be asked now is asked the next time.
        let found = reckoning.no_ack_before_its_commit(|| topic.uploads.ledger()).await;
        findings.extend(found.unwrap_or_default());
    }
    findings
}

/// Waits until everything is acknowledged; how long that took, none if it never was.
async fn drain(world: &World) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < DRAIN {
        world.crew.look_after();
        let mut left = 0;
        for topic in &world.topics {
            let counters = world.broker.counters(&topic.name, SUBSCRIPTION).await;
            // Until a worker asks for it, a topic that was just loaded has no figures.
            left += if counters.consumers == 0 { 1 } else { counters.backlog };
        }
        if left == 0 {
            return Some(begun.elapsed());
        }
        tokio::time::sleep(LOOK_AFTER).await;
    }
    None
}

/// Redis agrees with the storage in the end.
async fn mirror(world: &World) -> Vec<Finding> {
    let begun = Instant::now();
    loop {
        let wrong =
            redis_agreement::differences(&world.place.store, &world.redis.url(), true).await;
        if wrong.is_empty() || begun.elapsed() > AGREE {
            let finding = |detail| Finding {
                wrong: Wrong::Mirror,
                device: None,
                ids: Vec::new(),
                at: SystemClock.now(),
                detail,
            };
            return wrong.into_iter().map(finding).collect();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn judge(
    mut world: World,
    plan: Plan,
    mut findings: Vec<Finding>,
    struck: &[Struck],
    drained: Option<Duration>,
) -> Verdict {
    let mut verdict = Verdict { plan, drained, ..Verdict::default() };
    findings.extend(world.crew.findings());
    let watchers: Vec<_> = world.topics.iter_mut().filter_map(|t| t.watcher.take()).collect();
    let mut frames: Vec<Seen> = Vec::new();
    let mut judged = JoinSet::new();
    for ((index, topic), watcher) in world.topics.iter().enumerate().zip(watchers) {
        let partitions = topic.partitions;
        let store = world.place.store.clone();
        let mut reckoning =
            Reckoning::new(&world.broker, &topic.name, SUBSCRIPTION, partitions, store);
        let found = reckoning.no_ack_before_its_commit(|| topic.uploads.ledger()).await;
        findings.extend(found.expect("the broker and the storage answer"));
        let acked = reckoning.acked().await.expect("the topic's inner figures");
        findings.extend(acks::owed(&topic.uploads.ledger(), &acked, SystemClock.now()));
        let mut published = topic.uploads.ledger().by_device();
        let letters = Arc::new(reckoning.letters().await);
        verdict.entries += topic.uploads.ledger().entries.len();
        for (device, playlists) in topic.uploads.devices.iter().zip(watcher.stop_all()) {
            let records = reckoning.records(device).await;
            let published = published.remove(device).unwrap_or_default();
            verdict.published += published.len();
            verdict.committed += records.iter().map(|record| record.frames.len()).sum::<usize>();
            verdict.segments += records.len();
            verdict.versions += playlists.versions();
            let shown = published.iter().map(|frame| &**frame);
            frames.extend(seen(index, shown, playlists.progress()));
            let device = device.clone();
            let interval_millis = INTERVAL_MILLIS;
            let evidence = Evidence { device, published, records, playlists, interval_millis };
            let letters = Arc::clone(&letters);
            judged.spawn_blocking(move || evidence.judge(&letters));
        }
    }
    while let Some(found) = judged.join_next().await {
        findings.extend(found.expect("a device is judged"));
    }
    for (_, log) in world.crew.logs() {
        let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        verdict.duplicates_dropped += count("delivered again after its commit");
    }
    verdict.workers_started = world.crew.started();
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    struck.iter().for_each(|struck| *counts.entry(struck.kind).or_default() += 1);
    verdict.faults = counts;
    verdict.recoveries = Recoveries::of(struck, &frames, NORMAL_MILLIS);
    findings.sort_by_key(|finding| (finding.wrong, finding.at));
    verdict.findings = findings;
    if !verdict.findings.is_empty() {
        let kept = world.folder.keep();
        eprintln!("the workers' logs are kept in {}", kept.display());
    }
    world.broker.stop().await;
    verdict
}
