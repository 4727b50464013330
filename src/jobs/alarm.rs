//! Clokwerk, and all that it does: at each slot of a job it sends the job's name to the runner, and each minute it asks
//! the runner to look at all jobs.
//!
//! It knows nothing of what ran before, forgets what it missed, and a panic in what it calls would end it. So it calls
//! nothing that can panic or wait; whether there is something to do, the runner decides. It follows the machine's
//! clock, whatever clock the server was given: where the two differ, its calls come to nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveTime, Utc};
use clokwerk::{AsyncScheduler, Job as _, TimeUnits};
use tokio::time::{MissedTickBehavior, interval};

use super::Schedule;
use super::runner::{Handle, Signal};
use crate::base::clock_trust::ClockTrust;

/// How often it looks at the clock, about.
const TICK: Duration = Duration::from_secs(1);

/// Sends the signals, for ever.
pub(crate) async fn run(handle: Handle, trust: Arc<ClockTrust>) {
    let mut scheduler = AsyncScheduler::with_tz(Utc);
    for job in handle.jobs() {
        let (handle, name) = (handle.clone(), job.name);
        // A full queue is no loss: the next look at all jobs finds what is due.
        let send = move || {
            handle.signal(Signal::Due(name));
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
    let look = move || {
        handle.signal(Signal::Look);
        std::future::ready(())
    };
    scheduler.every(1.minute()).run(look);
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
