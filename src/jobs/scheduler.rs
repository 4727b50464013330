//! The clokwerk scheduler: at each slot of a job it sends the job's name to the runner, and each minute it has the
//! runner check all jobs.
//!
//! It knows nothing of what ran before, forgets what it missed, and a panic in what it calls would end it. So it calls
//! nothing that can panic or wait; the runner decides whether a job is due. It follows the machine's
//! clock, whatever clock the server was given: where the two differ, its calls come to nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveTime, Utc};
use clokwerk::{AsyncScheduler, Job as _, TimeUnits};
use tokio::time::{MissedTickBehavior, interval};

use super::Schedule;
use super::runner::{RunnerHandle, RunnerMessage};
use crate::base::clock_trust::ClockTrust;

/// Interval at which the clock is checked.
const TICK: Duration = Duration::from_secs(1);

/// Sends messages to the runner for as long as the server runs.
pub(crate) async fn run(handle: RunnerHandle, trust: Arc<ClockTrust>) {
    let mut scheduler = AsyncScheduler::with_tz(Utc);
    for job in handle.jobs() {
        let (handle, name) = (handle.clone(), job.name);
        // A full queue is no loss: the next look at all jobs finds what is due.
        let send = move || {
            handle.send(RunnerMessage::Due(name));
            std::future::ready(())
        };
        match job.schedule {
            Schedule::EveryDay { hour, minute } => {
                let time = NaiveTime::from_hms_opt(hour % 24, minute % 60, 0).unwrap_or(NaiveTime::MIN);
                scheduler.every(1.day()).at_time(time).run(send);
            }
            Schedule::Hourly => {
                scheduler.every(1.hour()).run(send);
            }
            // Counted from the epoch, as ours are.
            Schedule::Every(_) => {
                scheduler.every(job.schedule.seconds().seconds()).run(send);
            }
        }
    }
    // Last, so that a job whose slot is now is known to be in time and not late.
    let check = move || {
        handle.send(RunnerMessage::CheckAll);
        std::future::ready(())
    };
    scheduler.every(1.minute()).run(check);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut doubted = false;
    loop {
        ticks.tick().await;
        let doubt = trust.doubt();
        match &doubt {
            Some(doubt) if !doubted => tracing::warn!("{doubt}"),
            None if doubted => tracing::info!("the clock is believed again"),
            _ => {}
        }
        doubted = doubt.is_some();
        scheduler.run_pending().await;
    }
}
