//! A machine's blocking tasks, and the loop's own reading ahead: a small pool of worker threads, the only
//! threads there are.
//!
//! A result is sent first and the loop woken second, so a wake-up never finds nothing for good.
//!
//! Invariant K1: each job that was submitted gives one result, or one [`Outcome::Panicked`], unless
//! the pool is stopped before the job has begun.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use std::{fmt, io};

use mio::Waker;

use crate::clock::Clock;
use crate::send_queue::ColdRange;
use crate::{ConnId, Machine, TaskId, TaskRunner, Time};

/// What a worker has to do.
#[derive(Debug)]
pub(crate) enum Job<T> {
    /// A task of the machine.
    Task(TaskId, T),
    /// To bring into memory what this connection is to send. Goes before all tasks: somebody waits for it.
    Load(ConnId, ColdRange),
}

/// What a worker has to tell.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// A task is finished.
    Done(TaskId, T),
    /// What this connection is to send is in memory, unless it can't be read.
    Loaded(ConnId),
    /// This panicked, which is a bug; its worker is gone.
    Panicked(String),
}

/// The worker threads and what they have to do.
pub(crate) struct TaskPool<M: Machine, R> {
    shared: Arc<Shared<M, R>>,
    /// Kept to be cloned for further workers; `None` once stopped.
    sender: Option<Sender<Outcome<M::TaskResult>>>,
    results: Receiver<Outcome<M::TaskResult>>,
    workers: usize,
    workers_max: usize,
}

struct Shared<M: Machine, R> {
    runner: R,
    waker: Waker,
    jobs: Mutex<Jobs<M::Task>>,
    available: Condvar,
}

struct Jobs<T> {
    queue: VecDeque<Job<T>>,
    /// Workers that wait for a job.
    idle: usize,
    stopped: bool,
}

impl<M: Machine, R> fmt::Debug for TaskPool<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskPool").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl<M: Machine, R> Drop for TaskPool<M, R> {
    /// Lets the workers end, but waits for none.
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

impl<M: Machine, R> Shared<M, R> {
    fn jobs(&self) -> MutexGuard<'_, Jobs<M::Task>> {
        // Nothing that can panic is done under this lock.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Machine, R> TaskPool<M, R> {
    /// A pool of up to `workers_max` threads, started when there is work for them.
    pub(crate) fn new(runner: R, waker: Waker, workers_max: usize) -> Self {
        let (sender, results) = mpsc::channel();
        let jobs = Mutex::new(Jobs { queue: VecDeque::new(), idle: 0, stopped: false });
        Self {
            shared: Arc::new(Shared { runner, waker, jobs, available: Condvar::new() }),
            sender: Some(sender),
            results,
            workers: 0,
            workers_max,
        }
    }

    /// The next result, if one is there.
    pub(crate) fn try_next(&self) -> Option<Outcome<M::TaskResult>> {
        self.results.try_recv().ok()
    }

    /// Drops the tasks that have not begun, and waits for the others, but no longer than `wait`.
    pub(crate) fn stop(&mut self, wait: Duration) {
        let Some(sender) = self.sender.take() else { return };
        drop(sender);
        let mut jobs = self.shared.jobs();
        jobs.stopped = true;
        let dropped = jobs.queue.len();
        jobs.queue.clear();
        drop(jobs);
        self.shared.available.notify_all();
        // Each worker holds a sender until it ends, so the channel's end is theirs.
        let clock = Clock::start();
        let finished = loop {
            let left = wait.saturating_sub(clock.now().since(Time::ZERO));
            match self.results.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break true,
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        if dropped > 0 || !finished {
            log::debug!("tasks stopped dropped={dropped} finished={finished}");
        }
    }
}

impl<M: Machine + 'static, R: TaskRunner<M>> TaskPool<M, R> {
    /// Queues a job.
    ///
    /// # Errors
    /// When no thread can be started and none is there.
    pub(crate) fn submit(&mut self, job: Job<M::Task>) -> io::Result<()> {
        let mut jobs = self.shared.jobs();
        match job {
            Job::Task(..) => jobs.queue.push_back(job),
            Job::Load(..) => jobs.queue.push_front(job),
        }
        let short = jobs.queue.len() > jobs.idle;
        drop(jobs);
        self.shared.available.notify_one();
        if short && self.workers < self.workers_max {
            match self.start_worker() {
                Ok(()) => {}
                Err(error) if self.workers == 0 => return Err(error),
                Err(error) => log::debug!("no further worker error={error}"),
            }
        }
        Ok(())
    }

    fn start_worker(&mut self) -> io::Result<()> {
        let Some(sender) = self.sender.clone() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name(format!("worker-{}", self.workers))
            .spawn(move || work(&shared, &sender))?;
        self.workers += 1;
        Ok(())
    }
}

/// Tells of a panic in the job that it was made for.
struct PanicGuard<'a, M: Machine, R> {
    what: &'static str,
    number: u64,
    shared: &'a Shared<M, R>,
    sender: &'a Sender<Outcome<M::TaskResult>>,
}

impl<M: Machine, R> Drop for PanicGuard<'_, M, R> {
    fn drop(&mut self) {
        if thread::panicking() {
            let what = format!("{} {}", self.what, self.number);
            tell(self.shared, self.sender, Outcome::Panicked(what));
        }
    }
}

fn work<M: Machine, R: TaskRunner<M>>(
    shared: &Shared<M, R>,
    sender: &Sender<Outcome<M::TaskResult>>,
) {
    while let Some(job) = next_job(shared) {
        let (what, number) = match &job {
            Job::Task(id, _) => ("task", id.0),
            Job::Load(conn, _) => ("reading ahead for connection", conn.0),
        };
        let guard = PanicGuard { what, number, shared, sender };
        let outcome = match job {
            Job::Task(id, task) => Outcome::Done(id, shared.runner.run(task)),
            Job::Load(conn, cold) => {
                cold.load();
                Outcome::Loaded(conn)
            }
        };
        drop(guard);
        tell(shared, sender, outcome);
    }
}

/// Waits for a job; `None` when there will be no more.
fn next_job<M: Machine, R>(shared: &Shared<M, R>) -> Option<Job<M::Task>> {
    let mut jobs = shared.jobs();
    loop {
        if jobs.stopped {
            return None;
        }
        if let Some(job) = jobs.queue.pop_front() {
            return Some(job);
        }
        jobs.idle += 1;
        jobs = shared.available.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        jobs.idle -= 1;
    }
}

fn tell<M: Machine, R>(
    shared: &Shared<M, R>,
    sender: &Sender<Outcome<M::TaskResult>>,
    outcome: Outcome<M::TaskResult>,
) {
    // Nobody listens any more once the loop has ended.
    if sender.send(outcome).is_ok()
        && let Err(error) = shared.waker.wake()
    {
        log::error!("cannot wake the loop error={error}");
    }
}
