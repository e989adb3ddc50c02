//! Processes that can be killed and stopped, and the threads they block on: coroutines, of which
//! one runs at a time, in an order that follows from the seed.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use stream_processor::model::{Clock, UtcMillis};
use stream_processor::store::ports::{Threads, Work};
use tokio::sync::Notify;

use crate::draw::Random;
use crate::plan::{Breakdown, Failure};
use crate::world::{START, World};

/// Enough for what the store does, and little to touch.
const STACK_BYTES: usize = 512 * 1_024;

#[derive(Debug)]
struct Life {
    is_dead: bool,
    is_stopped: bool,
    /// At which of its durable steps it dies, counted down.
    dies_in: Option<u64>,
    storage_failures: Option<(Failure, u64)>,
    encoder_failures: Option<(Breakdown, u64)>,
    random: Random,
}

/// One process: a worker from its start to its death.
pub struct Process {
    pub worker: usize,
    /// Tells it from the one before, and from all others.
    pub number: u64,
    pub world: Arc<World>,
    life: Mutex<Life>,
    resumed: Notify,
    clock_offset_millis: AtomicI64,
}

impl Process {
    pub fn new(world: &Arc<World>, worker: usize, number: u64, clock_offset_millis: i64) -> Self {
        Self {
            worker,
            number,
            world: Arc::clone(world),
            life: Mutex::new(Life {
                is_dead: false,
                is_stopped: false,
                dies_in: None,
                storage_failures: None,
                encoder_failures: None,
                random: Random::new(world.plan.seed, 1_000 + number),
            }),
            resumed: Notify::new(),
            clock_offset_millis: AtomicI64::new(clock_offset_millis),
        }
    }

    fn life<T>(&self, look: impl FnOnce(&mut Life) -> T) -> T {
        look(&mut self.life.lock().unwrap())
    }

    pub fn is_dead(&self) -> bool {
        self.life(|life| life.is_dead)
    }

    /// It does nothing from now on.
    pub fn die(&self) {
        self.life(|life| life.is_dead = true);
        self.resumed.notify_waiters();
    }

    pub fn stop(&self, is_stopped: bool) {
        self.life(|life| life.is_stopped = is_stopped);
        self.resumed.notify_waiters();
    }

    pub fn die_at_step(&self, step: u64) {
        self.life(|life| life.dies_in = Some(step));
    }

    pub fn fail_storage(&self, failures: Option<(Failure, u64)>) {
        self.life(|life| life.storage_failures = failures);
    }

    pub fn fail_encoder(&self, failures: Option<(Breakdown, u64)>) {
        self.life(|life| life.encoder_failures = failures);
    }

    pub fn set_clock(&self, by_millis: i64) {
        self.clock_offset_millis.fetch_add(by_millis, Ordering::Relaxed);
    }

    pub fn clock_offset_millis(&self) -> i64 {
        self.clock_offset_millis.load(Ordering::Relaxed)
    }

    pub fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        self.life(|life| draw(&mut life.random))
    }

    /// How the next step of the storage fails, if it does.
    pub fn storage_failure(&self) -> Option<Failure> {
        self.life(|life| {
            let (failure, left) = life.storage_failures.as_mut()?;
            let failure = *failure;
            *left -= 1;
            if *left == 0 {
                life.storage_failures = None;
            }
            Some(failure)
        })
    }

    pub fn encoder_failure(&self) -> Option<Breakdown> {
        self.life(|life| {
            let (failure, left) = life.encoder_failures.as_mut()?;
            let failure = *failure;
            *left -= 1;
            if *left == 0 {
                life.encoder_failures = None;
            }
            Some(failure)
        })
    }

    /// Waits for as long as it is stopped; for ever once it is dead.
    pub async fn go_on(&self) {
        loop {
            let mut resumed = pin!(self.resumed.notified());
            resumed.as_mut().enable();
            let (is_dead, is_stopped) = self.life(|life| (life.is_dead, life.is_stopped));
            if !is_dead && !is_stopped {
                return;
            }
            resumed.await;
        }
    }

    /// Takes a little time; mostly none.
    pub async fn takes(&self, most_millis: u64) {
        self.go_on().await;
        let millis = self.draw(|random| match random.within(0, 20) {
            0..10 => 0,
            10..19 => random.within(1, most_millis.max(2)),
            _ => random.within(1, most_millis * 20 + 2),
        });
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            self.go_on().await;
        }
    }

    /// One durable step is due, or was just made: the process may die at it.
    pub async fn step(&self) {
        let dies = self.life(|life| match &mut life.dies_in {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                *left == 0
            }
            None => false,
        });
        if dies {
            self.world.note("dies at a step", self.worker, "");
            self.world.kill(self.number);
            self.go_on().await;
        }
    }
}

/// A worker's clock: the world's time, wrong by as much as it was set.
pub struct WorkerClock(pub Arc<Process>);

impl Clock for WorkerClock {
    fn now(&self) -> UtcMillis {
        let millis = i64::try_from(self.0.world.millis()).unwrap();
        START.plus_millis(millis + self.0.clock_offset_millis())
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.world.millis())
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            tokio::time::sleep(duration).await;
            self.0.go_on().await;
        })
    }
}

/// The threads of a process.
pub struct WorkerThreads(pub Arc<Process>);

impl Threads for WorkerThreads {
    fn run(&self, work: Work) {
        tokio::spawn(Job { coroutine: Some(coroutine(work)), process: Arc::clone(&self.0) });
    }

    fn wait(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        wait_here(future);
    }
}

type Stacked = Coroutine<(), (), (), DefaultStack>;

thread_local! {
    /// The coroutine that runs: where it gives way.
    static RUNNING: Cell<*const Yielder<(), ()>> = const { Cell::new(std::ptr::null()) };
    /// Who wakes it.
    static WAKER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

fn coroutine(work: Work) -> Stacked {
    let stack = STACKS.with_borrow_mut(Vec::pop);
    let stack = stack.unwrap_or_else(|| DefaultStack::new(STACK_BYTES).unwrap());
    Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
        RUNNING.set(yielder);
        work();
    })
}

/// Waits within a coroutine until `future` is complete; others run meanwhile.
pub fn wait_here(mut future: Pin<&mut dyn Future<Output = ()>>) {
    let yielder = RUNNING.get();
    assert!(!yielder.is_null(), "only work that was given to threads blocks");
    loop {
        let waker = WAKER.with_borrow(Clone::clone).expect("a job is polled");
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return;
        }
        // SAFETY: the coroutine that it gives way for is the one that runs this code, so its
        // yielder, which lives on its stack, is alive.
        unsafe { &*yielder }.suspend(());
        RUNNING.set(yielder);
    }
}

/// Work that blocks, until it is done or its process dies.
struct Job {
    coroutine: Option<Stacked>,
    process: Arc<Process>,
}

// SAFETY: a world's runtime has one thread, which makes, polls and drops its jobs.
unsafe impl Send for Job {}

impl Future for Job {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.process.is_dead() {
            self.bury();
            return Poll::Ready(());
        }
        let Some(mut coroutine) = self.coroutine.take() else { return Poll::Ready(()) };
        WAKER.set(Some(cx.waker().clone()));
        let result = catch_unwind(AssertUnwindSafe(|| coroutine.resume(())));
        let result = result.unwrap_or_else(|_| {
            self.process.world.find("work that blocks has panicked".into());
            CoroutineResult::Return(())
        });
        RUNNING.set(std::ptr::null());
        self.coroutine = Some(coroutine);
        match result {
            CoroutineResult::Yield(()) => Poll::Pending,
            CoroutineResult::Return(()) => {
                self.bury();
                Poll::Ready(())
            }
        }
    }
}

impl Job {
    /// Unwinds what is left on its stack, and keeps that for the next one.
    fn bury(&mut self) {
        if let Some(mut coroutine) = self.coroutine.take() {
            if !coroutine.done() {
                coroutine.force_unwind();
            }
            STACKS.with_borrow_mut(|stacks| stacks.push(coroutine.into_stack()));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.bury();
    }
}
