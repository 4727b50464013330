//! Runs jobs: each in a task of its own that may fail, panic or hang without harm to any other, at most one run of each
//! at a time, each run recorded before it begins and after it ended.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::problems::CLOCK_DOUBTED;
use super::sql::{self, JobProgress, RunEnd};
use super::{Job, JobContext, RunOutcome, RunRecord, Summary, Trigger};
use crate::base::clock::Timestamp;
use crate::base::clock_trust::{ClockTrust, Doubt};
use crate::base::error::{Error, Kind, Result};
use crate::engine::data::DataAccess;
use crate::engine::handle::Engine;
use crate::engine::read::Reads;
use crate::store::Connection;

/// Signals that may wait for the runner. It only waits for tasks and messages, so that few ever do.
const MESSAGES_MAX: usize = 64;
/// Delay between two attempts to record a run while storage fails.
const RETRY: Duration = Duration::from_secs(5);

/// A message to the runner.
#[derive(Debug)]
pub(crate) enum RunnerMessage {
    /// A slot of this job has come by the clock of the machine.
    Due(&'static str),
    /// Check all jobs: some may be late.
    CheckAll,
    /// Run this job now.
    RunNow(RunRequest),
}

/// See [`RunnerHandle::run_now`].
#[derive(Debug)]
pub(crate) struct RunRequest {
    name: String,
    dry_run: bool,
    reply: oneshot::Sender<Result<Started>>,
}

/// A run that was asked for and has begun.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its [`RunRecord::id`].
    pub id: i64,
    /// Resolves when it has ended and that is recorded; with an error when the server ends first.
    pub ended: oneshot::Receiver<()>,
}

/// The jobs, once they are known: features are made with the way to the runner, and bring the jobs.
type SharedJobs = Arc<OnceLock<Arc<[Job]>>>;

/// Sends messages to the runner. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RunnerHandle {
    jobs: SharedJobs,
    messages: mpsc::Sender<RunnerMessage>,
    reads: Reads,
}

impl RunnerHandle {
    pub(crate) fn jobs(&self) -> &[Job] {
        self.jobs.get().map_or(&[], |jobs| jobs)
    }

    /// Sends a message, or drops it when the queue is full.
    pub(crate) fn send(&self, message: RunnerMessage) {
        let _ = self.messages.try_send(message);
    }

    /// Begins a run and returns when its beginning is on disk. Errors: `NotFound`; `Invalid` for a dry run of a job
    /// that cannot; `AlreadyExists` while it runs; `StorageUnavailable`.
    pub(crate) async fn run_now(&self, name: &str, dry_run: bool) -> Result<Started> {
        let (reply, started) = oneshot::channel();
        let request = RunRequest { name: name.to_owned(), dry_run, reply };
        self.messages.send(RunnerMessage::RunNow(request)).await.map_err(|_| stopping())?;
        started.await.map_err(|_| stopping())?
    }

    /// The last runs of a job, newest first.
    pub(crate) async fn last_runs(&self, job: &'static str, limit: u32) -> Result<Vec<RunRecord>> {
        self.reads.read(move |reader| reader.rows(|conn| sql::last_runs(conn, job, limit))).await
    }

    /// A run by its id. Error: `NotFound`.
    pub(crate) async fn record(&self, id: i64) -> Result<RunRecord> {
        let found = self.reads.read(move |reader| reader.rows(|conn| sql::run(conn, id))).await?;
        found.ok_or_else(|| Error::not_found("there is no such run"))
    }
}

fn stopping() -> Error {
    Error::new(Kind::StorageUnavailable, "the server is stopping")
}

/// Runs the jobs; see [`Runner::run`].
pub(crate) struct Runner {
    jobs: Arc<[Job]>,
    shared_jobs: SharedJobs,
    messages: mpsc::Receiver<RunnerMessage>,
    data: DataAccess,
    trust: Arc<ClockTrust>,
    progress: HashMap<&'static str, JobProgress>,
    tasks: JoinSet<FinishedRun>,
    /// Which job each task runs.
    running: HashMap<Id, &'static str>,
}

/// What the runner has to do when a run has ended.
#[derive(Default)]
struct FinishedRun {
    /// How far the job is; `None`: as far as before.
    progress: Option<JobProgress>,
    /// Who waits for the end. Told when the job can run again.
    told: Option<oneshot::Sender<()>>,
}

impl Runner {
    /// A runner of no jobs yet, and the way to it.
    pub(crate) fn new(data: DataAccess, trust: Arc<ClockTrust>) -> (Self, RunnerHandle) {
        let (jobs, shared_jobs) = (Arc::default(), SharedJobs::default());
        let (sender, messages) = mpsc::channel(MESSAGES_MAX);
        let handle = RunnerHandle { jobs: Arc::clone(&shared_jobs), messages: sender, reads: data.reads.clone() };
        let (progress, tasks, running) = (HashMap::new(), JoinSet::new(), HashMap::new());
        (Self { jobs, shared_jobs, messages, data, trust, progress, tasks, running }, handle)
    }

    /// The same runner, of `jobs`, whose names are all different. To be called once.
    #[must_use]
    pub(crate) fn with_jobs(self, jobs: Vec<Job>) -> Self {
        let jobs: Arc<[Job]> = jobs.into();
        let _ = self.shared_jobs.set(Arc::clone(&jobs));
        Self { jobs, ..self }
    }

    /// Makes up for what was missed or broken off, then does what it is told, for ever. Dropped, it breaks all runs
    /// off, which the next start notes and makes up for: a stop is no other than a crash.
    pub(crate) async fn run(mut self) {
        self.recover().await;
        self.check_all();
        loop {
            tokio::select! {
                biased;
                Some(finished) = self.tasks.join_next_with_id() => self.finish(finished),
                message = self.messages.recv() => match message {
                    Some(message) => self.handle_message(message),
                    // Nobody is left who could tell anything; what runs is still watched to its end.
                    None => while let Some(finished) = self.tasks.join_next_with_id().await {
                        self.finish(finished);
                    },
                },
            }
            if self.messages.is_closed() && self.messages.is_empty() && self.tasks.is_empty() {
                return;
            }
        }
    }

    async fn recover(&mut self) {
        let names: Vec<&'static str> = self.jobs.iter().map(|job| job.name).collect();
        loop {
            let (names, trust) = (names.clone(), Arc::clone(&self.trust));
            let recover = move |conn: &Connection, now| {
                note_clock(conn, &trust, now)?;
                sql::recover(conn, &names, now)
            };
            match self.data.engine.rows(recover).await {
                Ok(progress) => {
                    self.progress = progress;
                    return;
                }
                Err(error) => warn!(%error, "jobs wait until storage tells what ran before"),
            }
            sleep(RETRY).await;
        }
    }

    fn handle_message(&mut self, message: RunnerMessage) {
        match message {
            RunnerMessage::Due(name) => {
                if let Some(job) = self.jobs.iter().find(|job| job.name == name).cloned() {
                    self.run_if_due(&job, Trigger::Schedule);
                }
            }
            RunnerMessage::CheckAll => self.check_all(),
            RunnerMessage::RunNow(request) => self.run_by_request(request),
        }
    }

    fn check_all(&mut self) {
        for job in Arc::clone(&self.jobs).iter() {
            self.run_if_due(job, Trigger::MakeUp);
        }
    }

    /// Runs a job whose slot has come. While it still runs it is skipped: a later look finds it late.
    fn run_if_due(&mut self, job: &Job, trigger: Trigger) {
        let Some(JobProgress { covered, owed }) = self.progress.get(job.name).copied() else { return };
        if self.is_running(job) {
            return;
        }
        let now = self.data.now();
        let doubt = self.trust.doubt().filter(|_| job.removes_by_time);
        match (job.schedule.due(covered, now), doubt) {
            (Some(slot), None) => self.begin(job, RunStart::slot(trigger, slot), None),
            // Recorded once a slot as a failed run that is owed.
            (Some(slot), Some(doubt)) => {
                self.begin(job, RunStart { doubt: Some(doubt), ..RunStart::slot(trigger, slot) }, None);
            }
            (None, None) if owed => self.begin(job, RunStart::slot(Trigger::MakeUp, covered), None),
            (None, _) => {}
        }
    }

    fn run_by_request(&mut self, request: RunRequest) {
        let RunRequest { name, dry_run, reply } = request;
        let refusal = match self.jobs.iter().find(|job| job.name == name).cloned() {
            None => Error::not_found("there is no such job"),
            Some(job) if dry_run && !job.can_dry_run => {
                Error::invalid_field("dryRun", "this job cannot tell what it would do without doing it")
            }
            Some(job) if self.is_running(&job) => Error::new(Kind::AlreadyExists, "a run of this job is under way"),
            Some(job) => match self.trust.doubt().filter(|_| job.removes_by_time && !dry_run) {
                Some(doubt) => CLOCK_DOUBTED.error(doubt.to_string()),
                None => {
                    let start = RunStart { trigger: Trigger::Request, dry_run, slot: None, doubt: None };
                    return self.begin(&job, start, Some(reply));
                }
            },
        };
        // Whoever asked may have gone.
        let _ = reply.send(Err(refusal));
    }

    fn is_running(&self, job: &Job) -> bool {
        self.running.values().any(|name| *name == job.name)
    }

    fn begin(&mut self, job: &Job, start: RunStart, reply: Option<oneshot::Sender<Result<Started>>>) {
        let RunStart { trigger, dry_run, slot, doubt } = start;
        let context = JobContext { data: self.data.clone(), dry_run };
        let progress = slot.map(|covered| JobProgress { covered, owed: false });
        let trust = Arc::clone(&self.trust);
        let run = JobRun { job: job.clone(), trigger, progress, context, trust, doubt, reply };
        let task = self.tasks.spawn(run.execute());
        self.running.insert(task.id(), job.name);
    }

    fn finish(&mut self, finished: std::result::Result<(Id, FinishedRun), tokio::task::JoinError>) {
        let (id, finished) = match finished {
            Ok(ended) => ended,
            Err(error) => {
                error!(%error, "the watch over a job ended by a panic");
                (error.id(), FinishedRun::default())
            }
        };
        if let Some(name) = self.running.remove(&id)
            && let Some(progress) = finished.progress
        {
            self.progress.insert(name, progress);
        }
        if let Some(told) = finished.told {
            // Whoever asked may have gone.
            let _ = told.send(());
        }
    }
}

/// Why and how a run begins.
struct RunStart {
    trigger: Trigger,
    dry_run: bool,
    /// The slot that the run covers, if it is one of the schedule.
    slot: Option<Timestamp>,
    /// Why the job's body is not run now.
    doubt: Option<Doubt>,
}

impl RunStart {
    fn slot(trigger: Trigger, slot: Timestamp) -> Self {
        Self { trigger, dry_run: false, slot: Some(slot), doubt: None }
    }
}

/// One run, from the record of its beginning to the record of its end.
struct JobRun {
    job: Job,
    trigger: Trigger,
    /// How far the job is when the run has ended, however it ended: a job that fails is tried again at its next slot,
    /// but soon if it was storage that failed.
    progress: Option<JobProgress>,
    context: JobContext,
    trust: Arc<ClockTrust>,
    doubt: Option<Doubt>,
    reply: Option<oneshot::Sender<Result<Started>>>,
}

/// Notes that the clock is believed, if it is.
fn note_clock(conn: &Connection, trust: &ClockTrust, now: Timestamp) -> Result<()> {
    if trust.is_trusted() { sql::note_believed_clock(conn, now) } else { Ok(()) }
}

impl JobRun {
    async fn execute(self) -> FinishedRun {
        let Self { job, trigger, progress, context, trust, doubt, reply } = self;
        let (engine, name, dry_run) = (context.engine.clone(), job.name, context.dry_run);
        let start = move |conn: &Connection, now| {
            note_clock(conn, &trust, now)?;
            sql::start(conn, name, trigger, dry_run, now)
        };
        let began = engine.rows(start).await;
        let (done, ended) = oneshot::channel();
        let id = match began {
            Ok(id) => id,
            Err(error) => {
                // Nothing ran, so that a later look finds the job late.
                warn!(job = name, %error, "a job does not run, since that cannot be recorded");
                if let Some(reply) = reply {
                    let _ = reply.send(Err(error));
                }
                return FinishedRun::default();
            }
        };
        if let Some(reply) = reply {
            let _ = reply.send(Ok(Started { id, ended }));
        }
        let RunResult { outcome, summary, error, retry } = match doubt {
            Some(doubt) => {
                warn!(job = job.name, "a job waits: {doubt}");
                RunResult { retry: true, ..RunResult::failed(RunOutcome::Failed, doubt.to_string()) }
            }
            None => execute_body(&job, context).await,
        };
        let progress = progress.map(|progress| JobProgress { owed: retry, ..progress });
        let end = RunEnd { id, job: name, outcome, summary, error, progress };
        while let Err(error) = record_end(&engine, end.clone()).await {
            warn!(job = name, %error, "the end of a job's run is not recorded yet");
            sleep(RETRY).await;
        }
        FinishedRun { progress, told: Some(done) }
    }
}

async fn record_end(engine: &Engine, end: RunEnd) -> Result<()> {
    engine.rows(move |conn, now| sql::end(conn, &end, now)).await
}

/// How a job's body ended.
struct RunResult {
    outcome: RunOutcome,
    summary: Option<Summary>,
    error: Option<String>,
    /// Whether the same may go well soon.
    retry: bool,
}

impl RunResult {
    fn failed(outcome: RunOutcome, error: impl Into<String>) -> Self {
        Self { outcome, summary: None, error: Some(error.into()), retry: false }
    }
}

/// Runs a job's body to its end, or breaks it off after its time. One that holds its thread cannot be broken off: then
/// it is told as timed out at once, and the run ends, and the job can run again, when it lets go.
async fn execute_body(job: &Job, context: JobContext) -> RunResult {
    let run = Arc::clone(&job.run);
    // Called within the task, so that a panic before the first await is no other than one after it.
    let mut body = AbortOnDropHandle::new(tokio::spawn(async move { run(context).await }));
    let result = match timeout(job.timeout, &mut body).await {
        Ok(Ok(Ok(summary))) => {
            RunResult { outcome: RunOutcome::Succeeded, summary: Some(summary), error: None, retry: false }
        }
        Ok(Ok(Err(error))) => {
            warn!(job = job.name, %error, "a job failed");
            RunResult { retry: error.kind().retryable(), ..RunResult::failed(RunOutcome::Failed, error.message()) }
        }
        Ok(Err(_)) => RunResult::failed(RunOutcome::Panicked, "a bug: the server's log says where"),
        Err(_) => RunResult::failed(RunOutcome::TimedOut, format!("it took longer than {:?}", job.timeout)),
    };
    log_result(job.name, &result);
    if result.outcome == RunOutcome::TimedOut {
        body.abort();
        let _ = body.await;
    }
    result
}

fn log_result(job: &str, RunResult { outcome, summary, error: reason, .. }: &RunResult) {
    match (outcome, summary) {
        (RunOutcome::Succeeded, Some(Summary { counts, .. })) => info!(job, ?counts, "a job has run"),
        _ => error!(job, outcome = outcome.as_str(), reason, "a job has not done its work"),
    }
}
