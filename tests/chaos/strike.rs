//! Carries a fault out, and takes it back at its end.

use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use stream_processor::model::{Clock, SystemClock};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Sleep;

use super::bucket_link::Answers;
use super::crew::Post;
use super::link::Passes;
use super::plan::{Fault, Kind};
use super::recovery::Struck;
use super::servers::process::signal_process;
use super::world::{Disk, World};

/// How far a clock may be wrong, in milliseconds.
const STEP_MILLIS: i64 = 3 * 3_600_000;

/// What only one fault at a time may be at.
#[derive(Default)]
pub struct Claims {
    posts: Vec<Mutex<()>>,
    broker: Mutex<()>,
    storage: Mutex<()>,
    redis: Mutex<()>,
}

impl Claims {
    pub fn for_posts(posts: usize) -> Self {
        Self { posts: (0..posts).map(|_| Mutex::default()).collect(), ..Self::default() }
    }

    /// A post that nothing is done to, if there is one.
    fn post<'a>(
        &'a self,
        world: &'a World,
        rng: &mut ChaCha8Rng,
    ) -> Option<(&'a Post, MutexGuard<'a, ()>)> {
        let mut order: Vec<usize> = (0..self.posts.len()).collect();
        order.shuffle(rng);
        order.into_iter().find_map(|number| {
            let claim = self.posts[number].try_lock().ok()?;
            let post = &world.crew.posts[number];
            post.is_wanted().then_some((post, claim))
        })
    }

    /// A post without a worker, if there is one.
    fn vacancy<'a>(&'a self, world: &'a World) -> Option<(&'a Post, MutexGuard<'a, ()>)> {
        world.crew.posts.iter().find_map(|post| {
            let claim = self.posts[post.number].try_lock().ok()?;
            (!post.is_wanted()).then_some((post, claim))
        })
    }
}

/// Does what the fault says; none if everything that it could hit is being hit already.
pub async fn strike(world: &World, claims: &Claims, fault: Fault) -> Option<Struck> {
    let mut rng = ChaCha8Rng::seed_from_u64(fault.draw);
    let lasts = tokio::time::sleep(Duration::from_secs_f64(fault.lasts_secs));
    let began = SystemClock.now();
    let mut topic = None;
    match fault.kind {
        Kind::BrokerKilled => {
            let _claim = claims.broker.try_lock().ok()?;
            world.broker.crash().await;
            tokio::time::sleep(Duration::from_secs_f64(fault.lasts_secs)).await;
            world.broker.resume().await;
        }
        Kind::TopicUnloaded => {
            let _claim = claims.broker.try_lock().ok()?;
            let unloaded = rng.random_range(0..world.topics.len());
            topic = Some(unloaded);
            world.broker.unload(&world.topics[unloaded].name).await;
        }
        Kind::RedisKilled => {
            let _claim = claims.redis.try_lock().ok()?;
            world.redis.process.kill();
            lasts.await;
            world.redis.process.restart().await;
        }
        Kind::DiskFull => {
            let Disk::Folder(disk) = &world.disk else { return None };
            let _claim = claims.storage.try_lock().ok()?;
            disk.fill();
            lasts.await;
            disk.make_room();
        }
        Kind::BucketKilled => {
            let Disk::Bucket(server, _) = &world.disk else { return None };
            let _claim = claims.storage.try_lock().ok()?;
            server.process.kill();
            lasts.await;
            server.process.restart().await;
        }
        Kind::WorkerJoins => {
            let (post, _claim) = claims.vacancy(world)?;
            topic = Some(post.topic);
            post.set_wanted(true);
            lasts.await;
            post.set_wanted(false);
            world.crew.leave(post).await;
        }
        kind => {
            let (post, _claim) = claims.post(world, &mut rng)?;
            topic = Some(post.topic);
            at_post(world, post, kind, &mut rng, lasts).await;
        }
    }
    Some(Struck { kind: fault.kind, topic, began, ended: SystemClock.now() })
}

async fn at_post(world: &World, post: &Post, kind: Kind, rng: &mut ChaCha8Rng, lasts: Sleep) {
    match kind {
        Kind::WorkerStopped => {
            let stopped = post.signal(Signal::STOP);
            lasts.await;
            stopped.into_iter().for_each(|worker| signal_process(worker, Signal::CONT));
        }
        Kind::WorkerReplaced => world.crew.leave(post).await,
        Kind::WorkerLeaves => {
            post.set_wanted(false);
            world.crew.leave(post).await;
            lasts.await;
            post.set_wanted(true);
        }
        Kind::HelperKilled => post.kill_helper(),
        Kind::LinkCut => passing(post, Passes::Nothing, lasts).await,
        Kind::LinkHalfOpen => passing(post, Passes::Silence, lasts).await,
        Kind::LinkSlow => passing(post, Passes::Slowly, lasts).await,
        Kind::LinkReset => {
            passing(post, Passes::SomeBytes(rng.random_range(500..20_000)), lasts).await
        }
        Kind::ClockStepped => {
            let step = rng.random_range(-STEP_MILLIS..STEP_MILLIS);
            failing(post, &format!("clock.step=return({step})\n"), lasts).await;
        }
        Kind::DiskErrors => {
            let points = ["read", "write", "sync", "rename", "sync_folder"];
            let percent = rng.random_range(5..40);
            let set = points.map(|point| format!("storage.{point}={percent}%return\n"));
            failing(post, &set.concat(), lasts).await;
        }
        Kind::BucketRefuses => answering(world, post, Answers::Refusing, lasts).await,
        Kind::BucketLosesAnswers => answering(world, post, Answers::Losing, lasts).await,
        Kind::BucketSlow => answering(world, post, Answers::Slowly, lasts).await,
        Kind::BucketWrongTags => answering(world, post, Answers::WrongTags, lasts).await,
        // Of a worker: the others have been seen to.
        _ => post.kill(),
    }
}

/// The worker's link to the broker lets no more than that pass for a while.
async fn passing(post: &Post, passes: Passes, lasts: Sleep) {
    post.link.lets_pass(passes);
    lasts.await;
    post.link.lets_pass(Passes::Everything);
}

/// The bucket answers the worker so for a while.
async fn answering(world: &World, post: &Post, answers: Answers, lasts: Sleep) {
    let Disk::Bucket(_, links) = &world.disk else { return lasts.await };
    links[post.number].answers(answers);
    lasts.await;
    links[post.number].answers(Answers::Truly);
}

/// The worker passes those fail points for a while.
async fn failing(post: &Post, points: &str, lasts: Sleep) {
    post.set_fail_points(points);
    lasts.await;
    post.set_fail_points("");
}
