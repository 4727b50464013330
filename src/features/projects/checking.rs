//! Checks projects: by themselves when they have changed, and when somebody asks. Of a project one check at a time.
//!
//! What has changed is read from rows that a consumer of the log writes; a check takes them away in the transaction of
//! what it finds. So a kill in between takes nothing away, and the project is checked again.

mod loading;
mod models;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore};
use tokio::time::{sleep, timeout};

use self::models::Models;
use super::consistency::checks::{self, CheckFinding, Units};
use super::consistency::model::ProjectModel;
use super::consistency::schedule::{due_at, free_at};
use super::consistency::warning::{self, KnownWarning};
use super::limits::{WARNINGS_OPEN_MAX, WARNINGS_TOLD_MAX};
use super::members::PROJECTS;
use super::problems::CHECKED_LATELY;
use super::sql::unchecked::{self, UncheckedDocument};
use super::sql::warnings::{self, StoredWarning};
use super::warning_item;
use crate::base::clock::Timestamp;
use crate::base::entropy::new_id;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentId, DocumentName};
use crate::consumers::Consumer;
use crate::document::model::Document;
use crate::http::api::Api;
use crate::store::Connection;

/// How long it is slept between looks while something waits for its time, and while nothing does.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// Projects that are looked at in one go.
const PROJECTS_AT_ONCE: usize = 500;
/// Projects that are read and looked through at a time.
const COMPUTING_MAX: usize = 2;
/// Units of a check whose warnings are asked for one by one; of more, all of the project are read.
const UNITS_ASKED_MAX: usize = 300;
/// The collections whose changes are checked.
const COLLECTIONS: &[&str] = &["chapters", "characters", "plot-loops", "projects", "wiki-entries"];

/// See the module.
pub(crate) struct Checker {
    api: Api,
    interval: Duration,
    woken: Notify,
    /// Held to take a project out and to put it in.
    models: Mutex<Models>,
    /// The projects that are being checked.
    running: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
    /// Those that compute. One that takes long leaves room for another.
    computing: Semaphore,
}

/// What came of a check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConsistencyReport {
    pub at: Timestamp,
    /// Whether all of the project was looked at.
    pub full: bool,
    /// How many findings there are in what was looked at.
    pub findings: usize,
    pub opened: usize,
    pub resolved: usize,
    /// When the next check is possible.
    pub next_at: Timestamp,
}

/// What a check has to store.
struct CheckResult {
    project: String,
    seen: Vec<UncheckedDocument>,
    /// What was looked at; `None`: all of the project.
    units: Option<Units>,
    found: Vec<CheckFinding>,
}

impl Checker {
    pub(crate) fn new(api: Api, interval: Duration) -> Arc<Self> {
        Arc::new(Self {
            api,
            interval,
            woken: Notify::new(),
            models: Mutex::default(),
            running: Mutex::default(),
            computing: Semaphore::new(COMPUTING_MAX),
        })
    }

    /// Notes which projects the log tells changes of.
    pub(crate) fn consumer(self: &Arc<Self>) -> Consumer {
        let checker = Arc::clone(self);
        Consumer::new("projects-consistency", COLLECTIONS, unchecked::note_changes)
            .on_stored(move || checker.woken.notify_one())
    }

    /// Checks projects when it is time to, for as long as the server runs.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let waits = match self.check_due().await {
                Ok(waits) => waits,
                Err(error) => {
                    if !error.kind().retryable() {
                        tracing::warn!(%error, "a project could not be checked; it is tried again");
                    }
                    sleep(LOOKS.1).await;
                    continue;
                }
            };
            if waits {
                sleep(LOOKS.0).await;
            } else {
                let _ = timeout(LOOKS.1, self.woken.notified()).await;
            }
        }
    }

    /// Checks the projects whose time has come. Returns whether others wait for theirs.
    async fn check_due(&self) -> Result<bool> {
        let projects = self.api.read_rows(|conn| unchecked::projects(conn, PROJECTS_AT_ONCE)).await?;
        let (waits, mut failed) = (!projects.is_empty(), None);
        for project in projects {
            let now = self.api.now();
            if due_at(project.unchecked, project.checked, self.interval, now) > now {
                continue;
            }
            let id = DocumentId::new(&project.project)?;
            match self.check(&id, false).await {
                Err(error) if matches!(error.kind(), Kind::NotFound | Kind::RateLimited) => {}
                // The others are checked all the same.
                Err(error) => failed = Some(error),
                Ok(_) => {}
            }
        }
        failed.map_or(Ok(waits), Err)
    }

    /// Checks a project now: what has changed since the last check, or all of it. Errors: `NotFound`; `RateLimited`
    /// within the interval after its last check; `StorageUnavailable`.
    pub(crate) async fn check(&self, id: &DocumentId, all: bool) -> Result<ConsistencyReport> {
        let running = self.running.lock().entry(id.to_string()).or_default().clone();
        let alone = running.lock_owned().await;
        let report = self.check_alone(id, all).await;
        drop(alone);
        // Whoever waits holds it, too.
        self.running.lock().retain(|_, running| Arc::strong_count(running) > 1);
        report
    }

    async fn check_alone(&self, id: &DocumentId, all: bool) -> Result<ConsistencyReport> {
        let (project, name) = (id.to_string(), DocumentName::new(PROJECTS, id.as_str())?);
        let asked = project.clone();
        let read = move |conn: &Connection| {
            let known = (unchecked::documents(conn, &asked)?, unchecked::checked_at(conn, &asked)?);
            Ok((known, warnings::resolved_by_hand(conn, &asked)?))
        };
        let ((seen, checked), resolved) = self.api.read_rows(read).await?;
        let now = self.api.now();
        let free = free_at(checked, self.interval, now);
        if checked.is_some() && free > now {
            return Err(checked_lately(now, free));
        }
        let _permit = self.computing.acquire().await.map_err(Error::internal)?;
        let model = self.models.lock().take(&project);
        let document = self.api.reads.document(&name).await?.filter(|document| !document.is_deleted());
        let Some(document) = document else {
            self.api.write_rows(move |conn, _| warnings::remove_project(conn, &project)).await?;
            return Err(Error::not_found("there is no such project"));
        };
        let anew = all || seen.iter().any(|changed| changed.name == name);
        let (model, units) = match model.filter(|_| !anew) {
            Some(model) => {
                let (model, mut units) = self.update(&document, model, &seen).await?;
                // What was resolved by hand and is still there is opened again.
                units.extend(resolved.iter().filter_map(|(check, unit)| checks::unit(check, unit)));
                (model, Some(units))
            }
            None => (self.load(&document).await?, None),
        };
        let compute = move || {
            let found = match &units {
                Some(units) => checks::findings(&model, units),
                None => checks::findings(&model, &checks::all_units(&model)),
            };
            (model, units, found)
        };
        let (model, units, found) = tokio::task::spawn_blocking(compute).await.map_err(Error::internal)?;
        let result = CheckResult { project: project.clone(), seen, units, found };
        let report = self.store(&document, result).await?;
        self.models.lock().put(&project, model);
        Ok(report)
    }

    async fn load(&self, project: &Arc<Document>) -> Result<ProjectModel> {
        let names = loading::members(&self.api, &project.meta.name.id).await?;
        let facts = loading::facts(&self.api, project).await?;
        let entities = loading::entities(&self.api, project, names.clone()).await?;
        let build = move || {
            let mut model = ProjectModel::new(facts);
            model.update(entities);
            model
        };
        let mut model = tokio::task::spawn_blocking(build).await.map_err(Error::internal)?;
        loading::find_outside(&self.api, project, &mut model, &names).await?;
        Ok(model)
    }

    async fn update(
        &self,
        project: &Arc<Document>,
        mut model: ProjectModel,
        changed: &[UncheckedDocument],
    ) -> Result<(ProjectModel, Units)> {
        let names: Vec<DocumentName> = changed.iter().map(|changed| changed.name.clone()).collect();
        let entities = loading::entities(&self.api, project, names.clone()).await?;
        let update = move || {
            let units = checks::update(&mut model, entities);
            (model, units)
        };
        let (mut model, units) = tokio::task::spawn_blocking(update).await.map_err(Error::internal)?;
        loading::find_outside(&self.api, project, &mut model, &names).await?;
        Ok((model, units))
    }

    /// Stores what was found, and tells open streams of the project what is new and what is gone.
    async fn store(&self, project: &Document, result: CheckResult) -> Result<ConsistencyReport> {
        let (full, findings) = (result.units.is_none(), result.found.len());
        let entropy = Arc::clone(&self.api.entropy);
        let write = move |conn: &Connection, now: Timestamp| {
            let changed = write_result(conn, &result, now, || new_id(&*entropy, now))?;
            Ok((changed, now))
        };
        let (ChangedWarnings { opened, resolved, told }, at) = self.api.write_rows(write).await?;
        warning_item::announce(&self.api, &project.meta, told)?;
        let next_at = at.plus(self.interval);
        Ok(ConsistencyReport { at, full, findings, opened, resolved, next_at })
    }
}

fn checked_lately(now: Timestamp, free: Timestamp) -> Error {
    let wait = free.as_millis().saturating_sub(now.as_millis()).max(0);
    let seconds = wait.saturating_add(999) / 1_000;
    let error = CHECKED_LATELY.error("this project was checked a moment ago");
    error.with("retryAfterSeconds", seconds).with("nextAt", free.to_string())
}

/// What a check changed.
#[derive(Default)]
struct ChangedWarnings {
    opened: usize,
    resolved: usize,
    /// Those that changed their state, as far as they are told.
    told: Vec<StoredWarning>,
}

/// What is known of the warnings of the units that were looked at.
fn known(conn: &Connection, project: &str, units: Option<&Units>) -> Result<Vec<KnownWarning>> {
    let Some(units) = units else {
        return Ok(warnings::known(conn, project)?.into_iter().map(|(.., known)| known).collect());
    };
    let names: HashSet<(&str, String)> =
        units.iter().filter_map(|(at, unit)| Some((checks::ALL.get(*at)?.name(), unit.to_string()))).collect();
    if names.len() > UNITS_ASKED_MAX {
        let all = warnings::known(conn, project)?.into_iter();
        let looked_at = all.filter(|(check, unit, _)| names.contains(&(check.as_str(), unit.clone())));
        return Ok(looked_at.map(|(.., known)| known).collect());
    }
    let mut found = Vec::new();
    for (check, unit) in &names {
        found.extend(warnings::known_of_unit(conn, project, check, unit)?.into_iter().map(|(.., known)| known));
    }
    Ok(found)
}

fn write_result(
    conn: &Connection,
    result: &CheckResult,
    now: Timestamp,
    id: impl Fn() -> String,
) -> Result<ChangedWarnings> {
    let CheckResult { project, seen, units, found } = result;
    let changes = warning::changes(&known(conn, project, units.as_ref())?, found.clone());
    let (mut changed, mut numbers) = (ChangedWarnings::default(), Vec::new());
    for number in &changes.gone {
        warnings::set_status(conn, *number, warning::WarningStatus::Resolved, (None, None), now)?;
        changed.resolved += 1;
        numbers.push(*number);
    }
    for (number, found, status) in &changes.found {
        if warnings::update(conn, *number, found, *status, now)? {
            changed.opened += 1;
            numbers.push(*number);
        }
    }
    let mut open: HashMap<&str, u64> = HashMap::new();
    for (fingerprint, found) in &changes.new {
        let open = match open.entry(found.check) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(warnings::count_open(conn, project, found.check)?),
        };
        if *open < WARNINGS_OPEN_MAX {
            *open += 1;
            changed.opened += 1;
            numbers.push(warnings::insert(conn, project, (&id(), fingerprint), found, now)?);
        }
    }
    for number in numbers.into_iter().take(WARNINGS_TOLD_MAX) {
        changed.told.extend(warnings::by_number(conn, number)?);
    }
    warnings::trim(conn, project)?;
    unchecked::set_checked(conn, project, seen, now)?;
    Ok(changed)
}
