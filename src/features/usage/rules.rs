//! What is counted, how long a period is and when the next one begins, and whether there may be one more. Pure.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, UserId};
use crate::features::usage::problems::QUOTA_EXCEEDED;
use crate::jobs::Schedule;

/// When counters are set back.
pub(crate) const RESET: Schedule = Schedule::EveryDay { hour: 0, minute: 5 };
/// What the plan of those is called who have no subscription.
pub(crate) const DEFAULT_PLAN: &str = "default";
/// Largest limit: what every JSON reader takes as a whole number.
pub(crate) const LIMIT_MAX: u64 = (1 << 53) - 1;
/// Longest name of a plan, characters.
pub(crate) const PLAN_LENGTH_MAX: usize = 64;
/// The last moment that a period may end, 9999-12-31T23:59:59.999Z: later ones are not written with four digits.
const LATEST: i64 = 253_402_300_799_999;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountedKind {
    /// Documents of `parties`.
    Party,
    /// Documents of `encounters`.
    Encounter,
    /// Documents of `creatures`.
    Creature,
}

impl CountedKind {
    pub(crate) const ALL: [Self; 3] = [Self::Party, Self::Encounter, Self::Creature];

    /// What a document of `collection` counts as, if it counts.
    pub(crate) fn of(collection: &Collection) -> Option<Self> {
        Self::ALL.into_iter().find(|thing| thing.collection() == collection.as_str())
    }

    /// Where such documents are.
    pub(crate) const fn collection(self) -> &'static str {
        match self {
            Self::Party => "parties",
            Self::Encounter => "encounters",
            Self::Creature => "creatures",
        }
    }

    /// The name of its counter and of its limit.
    pub(crate) const fn counter(self) -> &'static str {
        match self {
            Self::Party => "partiesCreated",
            Self::Encounter => "encountersCreated",
            Self::Creature => "creaturesCreated",
        }
    }
}

/// A value for each thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PerKind<T> {
    pub parties: T,
    pub encounters: T,
    pub creatures: T,
}

impl<T: Copy> PerKind<T> {
    /// The value for `thing`.
    pub(crate) const fn of(&self, thing: CountedKind) -> T {
        match thing {
            CountedKind::Party => self.parties,
            CountedKind::Encounter => self.encounters,
            CountedKind::Creature => self.creatures,
        }
    }
}

/// How many were created.
pub(crate) type UsageCounts = PerKind<u64>;
/// How many may be; `None`: any number.
pub(crate) type Limits = PerKind<Option<u64>>;

/// How a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionStatus {
    /// Its limits hold, and when its period is over the next begins.
    Active,
    /// Its limits hold, and its period stands still: what is left of it may be used, and nothing is added.
    Paused,
    /// It is as if there were none.
    Cancelled,
}

impl SubscriptionStatus {
    /// Its name in the table and on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Cancelled].into_iter().find(|status| status.as_str() == name)
    }
}

/// From when to when; the end belongs to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

/// How long periods are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeriodLength {
    /// So many calendar months, in UTC.
    Months {
        /// At least 1.
        count: u32,
        /// The day of the month on which each begins, or the month's last day if that comes before.
        day: u32,
    },
    /// So many milliseconds, at least 1.
    Millis(i64),
}

impl Period {
    /// The calendar month that `now` is in.
    pub(crate) fn month_of(now: Timestamp) -> Option<Self> {
        let today = date_time(now)?.date_naive();
        let first = today.with_day(1)?;
        let next = first.checked_add_months(Months::new(1))?;
        let midnight = |date: NaiveDate| Some(timestamp(date.and_hms_opt(0, 0, 0)?.and_utc()));
        Some(Self { start: midnight(first)?, end: midnight(next)? })
    }

    /// Checks it. Errors: `Invalid`, naming the field of a subscription.
    pub(crate) fn check(self) -> Result<()> {
        if self.end <= self.start {
            return Err(Error::invalid_field("currentPeriodEnd", "must be after currentPeriodStart"));
        }
        Ok(())
    }

    /// How long it is: calendar months if it is some whole number of them, also where a month is too short for the day
    /// (31 January to 28 February); else just so long.
    pub(crate) fn length(self) -> PeriodLength {
        self.months()
            .unwrap_or(PeriodLength::Millis(self.end.as_millis().saturating_sub(self.start.as_millis()).max(1)))
    }

    fn months(self) -> Option<PeriodLength> {
        let (start, end) = (date_time(self.start)?, date_time(self.end)?);
        // The day that both stand for is that of the one that is not cut short.
        let day = start.day().max(end.day());
        let count = u32::try_from(month_number(end) - month_number(start)).ok().filter(|count| *count > 0)?;
        let fits = |moment: DateTime<Utc>| Some(moment) == on_day(moment, day);
        (start.time() == end.time() && fits(start) && fits(end)).then_some(PeriodLength::Months { count, day })
    }

    /// The period that runs at `now`, when periods of this length follow each other without a gap from this one on:
    /// itself if it has not ended. `None`: it would end beyond the year 9999.
    pub(crate) fn running_at(self, length: PeriodLength, now: Timestamp) -> Option<Self> {
        if now < self.end {
            return Some(self);
        }
        Some(match length {
            PeriodLength::Millis(millis) => {
                let passed = now.as_millis().checked_sub(self.end.as_millis())?.checked_div(millis)?;
                let start = self.end.as_millis().checked_add(passed.checked_mul(millis)?)?;
                let end = start.checked_add(millis).filter(|end| *end <= LATEST)?;
                Self { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) }
            }
            PeriodLength::Months { count, day } => {
                let (first, at) = (date_time(self.end)?, date_time(now)?);
                let boundary = |index: u32| {
                    let months = Months::new(index.checked_mul(count)?);
                    let moment = on_day(first.checked_add_months(months)?, day)?;
                    (moment.timestamp_millis() <= LATEST).then(|| timestamp(moment))
                };
                // The months between say which it is, but for the day: one earlier or the very one.
                let whole = u32::try_from(month_number(at) - month_number(first)).ok()?.checked_div(count)?;
                let index = if boundary(whole)? <= now { whole } else { whole.checked_sub(1)? };
                Self { start: boundary(index)?, end: boundary(index + 1)? }
            }
        })
    }
}

fn date_time(moment: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(moment.as_millis())
}

fn timestamp(moment: DateTime<Utc>) -> Timestamp {
    Timestamp::from_millis(moment.timestamp_millis())
}

fn month_number(moment: DateTime<Utc>) -> i32 {
    moment.year() * 12 + i32::try_from(moment.month0()).unwrap_or(0)
}

/// The same time on that day of the same month, or on the month's last day if there is no such day.
fn on_day(moment: DateTime<Utc>, day: u32) -> Option<DateTime<Utc>> {
    (1..=day).rev().take(4).find_map(|day| moment.with_day(day))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub user: UserId,
    /// What the plan is called; for people.
    pub plan: String,
    pub status: SubscriptionStatus,
    /// The period that runs, or, until it is set forward, the last that ran.
    pub period: Period,
    /// How long its periods are.
    pub length: PeriodLength,
    /// What may be created in one.
    pub limits: Limits,
}

/// How a user stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageState {
    /// The subscription, if there is one, also a cancelled one.
    pub subscription: Option<Subscription>,
    /// What was created since counting began anew.
    pub counts: UsageCounts,
}

/// What is in force for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EffectivePlan<'a> {
    pub name: &'a str,
    /// What may be created.
    pub limits: Limits,
    /// In which time; `None`: the clock shows a time that has no month.
    pub period: Option<Period>,
    /// When counters are set back; `None`: not as things stand.
    pub reset_at: Option<Timestamp>,
}

impl UsageState {
    /// The subscription as far as it grants anything.
    pub(crate) fn granted(&self) -> Option<&Subscription> {
        self.subscription.as_ref().filter(|subscription| subscription.status != SubscriptionStatus::Cancelled)
    }

    /// What is in force at `now`: the subscription, or the default plan, which has `defaults` for limits and the
    /// calendar month for a period.
    pub(crate) fn plan(&self, defaults: Limits, now: Timestamp) -> EffectivePlan<'_> {
        match self.granted() {
            Some(Subscription { plan, status, period, limits, .. }) => {
                let reset_at = (*status == SubscriptionStatus::Active).then(|| reset_after(period.end));
                EffectivePlan { name: plan, limits: *limits, period: Some(*period), reset_at }
            }
            None => {
                let period = Period::month_of(now);
                let reset_at = period.map(|period| reset_after(period.end));
                EffectivePlan { name: DEFAULT_PLAN, limits: defaults, period, reset_at }
            }
        }
    }
}

/// The first time to set counters back that is not before `end`.
pub(crate) fn reset_after(end: Timestamp) -> Timestamp {
    let last = RESET.last_slot(end);
    if last == end { end } else { RESET.next_slot(end) }
}

impl EffectivePlan<'_> {
    /// Refuses one more than may be, when `used` were created. Error: `quota-exceeded`.
    pub(crate) fn check(&self, thing: CountedKind, used: u64) -> Result<()> {
        let Some(limit) = self.limits.of(thing).filter(|limit| used >= *limit) else { return Ok(()) };
        let (things, name) = (thing.collection(), self.name);
        let message = match self.reset_at {
            Some(at) => format!("the count begins anew at {at}"),
            None => "it is paused, so the count stands still".to_owned(),
        };
        let message =
            format!("the plan '{name}' allows {limit} new {things} in a period, {used} were created; {message}");
        Err(QUOTA_EXCEEDED
            .error(message)
            .with("counter", thing.counter())
            .with("used", used)
            .with("limit", limit)
            .with("resetAt", self.reset_at.map(|at| at.to_string())))
    }
}
