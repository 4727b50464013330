//! What is made of the past of a project: statistics and trends.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ProjectPath;
use super::progress::{PlotLoopsSchema, save_due};
use crate::base::clock::Timestamp;
use crate::base::error::{Kind as K, Result};
use crate::features::projects::progress::calendar::TrendPeriod;
use crate::features::projects::progress::series::{Series, SeriesPoint};
use crate::features::projects::progress::statistics::{Statistics, StatisticsInput};
use crate::features::projects::progress::trends::{TrendBucket, TrendLimit, TrendQuery, trend};
use crate::features::projects::sql;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::openapi::problems;
use crate::http::response::success::Success;
use crate::store::Connection;

#[derive(OpenApi)]
#[openapi(components(schemas(StatisticsSchema, BucketSchema)))]
struct Schemas;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi()).routes(routes!(read_statistics)).routes(routes!(read_trends))
}

problems! {
    /// Of reading.
    ReadProblems: &[K::Unauthenticated, K::NotFound, K::Gone, K::Damaged, K::StorageUnavailable];
}

/// How many documents of each kind a project has.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProjectEntities)]
struct EntitiesSchema {
    chapters: u64,
    characters: u64,
    wiki_entries: u64,
    plot_loops: PlotLoopsSchema,
}

/// The day with the most words; null: no words have been added.
#[derive(Serialize, ToSchema)]
#[schema(as = BestDay)]
struct BestDaySchema {
    /// `YYYY-MM-DD`.
    #[schema(format = Date)]
    date: String,
    words: i64,
}

/// Active days in a row: those on which the number of words changed.
#[derive(Serialize, ToSchema)]
#[schema(as = Streak)]
struct StreakSchema {
    /// Counts until the end of the day after the last active one.
    current: u64,
    longest: u64,
}

/// The words of the chapters; null: there are none.
#[derive(Serialize, ToSchema)]
#[schema(as = WordsPerChapter)]
struct WordsPerChapterSchema {
    least: u64,
    median: f64,
    most: u64,
}

/// The statistics of a project.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProjectStatistics)]
struct StatisticsSchema {
    /// The words now.
    total: u64,
    /// By how many they grew today.
    today: i64,
    /// And since Monday.
    this_week: i64,
    average_per_active_day: f64,
    best_day: Option<BestDaySchema>,
    streak: StreakSchema,
    entities: EntitiesSchema,
    words_per_chapter: Option<WordsPerChapterSchema>,
    /// How long the project was in each of its phases, seconds.
    phase_seconds: BTreeMap<String, u64>,
    /// `YYYY-MM-DD`: when the goal is reached if each day brings as many words as the last 14 active ones on average;
    /// null without a goal, once it is reached, and without progress.
    #[schema(format = Date)]
    projected_finish: Option<String>,
}

/// A day, a week from Monday, or a month.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TrendBucket)]
struct BucketSchema {
    #[schema(format = DateTime)]
    from: String,
    /// Exclusive.
    #[schema(format = DateTime)]
    to: String,
    /// At its end.
    word_count: u64,
    /// By how many words it grew within it.
    delta: i64,
    entities: EntitiesSchema,
}

/// How a project went.
#[derive(Serialize, ToSchema)]
#[schema(as = ProjectTrend)]
struct TrendSchema<T> {
    /// `daily`, `weekly` or `monthly`.
    period: &'static str,
    /// The time zone of the days.
    tz: String,
    /// Oldest first, empty ones included.
    #[schema(value_type = Vec<BucketSchema>)]
    buckets: Vec<T>,
}

/// A time zone by its IANA name.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Zone(Tz);

impl Default for Zone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl TryFrom<String> for Zone {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        name.parse().map(Self).map_err(|_| "must be the IANA name of a time zone, as Europe/Berlin")
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct GivenMoment(TrendLimit);

impl TryFrom<String> for GivenMoment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        TrendLimit::parse(&text).map(Self).ok_or("must be a date, YYYY-MM-DD, or an RFC 3339 time, of 1970 to 9999")
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct StatisticsQuery {
    /// The IANA name of the time zone whose days count.
    #[serde(default)]
    #[param(value_type = Option<String>, default = "UTC")]
    tz: Zone,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TrendsQuery {
    /// `daily`, `weekly` (from Monday) or `monthly`.
    #[param(value_type = Option<String>, default = "daily", pattern = "^(daily|weekly|monthly)$")]
    period: Option<TrendPeriod>,
    /// Where it begins: a local date or an RFC 3339 time, which is in the first bucket; left out: with the project.
    #[param(value_type = Option<String>)]
    since: Option<GivenMoment>,
    /// Where it ends, exclusive, widened to a whole bucket; left out: with now.
    #[param(value_type = Option<String>)]
    until: Option<GivenMoment>,
    /// The IANA name of the time zone whose days count.
    #[serde(default)]
    #[param(value_type = Option<String>, default = "UTC")]
    tz: Zone,
}

/// Read the statistics of a project
#[utoipa::path(
    get, path = "/api/v1/projects/{id}/progress/statistics", operation_id = "readProgressStatistics", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller, StatisticsQuery),
    responses((status = 200, description = "The statistics.", body = StatisticsSchema), ReadProblems),
)]
async fn read_statistics(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    caller: Caller,
    Query(StatisticsQuery { tz: Zone(zone) }): Query<StatisticsQuery>,
) -> HandlerResult<Response> {
    api.reads.live_document(&name, &caller.viewer).await?;
    save_due(&api, name.id.as_str()).await?;
    let now = api.now();
    let input = api.read_rows(move |conn| statistics_input(conn, name.id.as_str(), now)).await?;
    Ok(json(Success::Done, &Statistics::new(input, now, zone))?)
}

/// Error: `StorageUnavailable` for a project that is not stored.
fn statistics_input(conn: &Connection, project: &str, now: Timestamp) -> Result<StatisticsInput> {
    let row = sql::progress::find(conn, project)?.ok_or_else(sql::progress::not_stored_yet)?;
    let measures = row.measures(conn)?;
    let mut lasted = sql::phases::lasted(conn, row.key)?;
    for phase in row.settings.phases.names() {
        lasted.entry(phase.clone()).or_insert(0);
    }
    let since = sql::phases::since(conn, row.key)?.unwrap_or(row.began_at);
    let current = u64::try_from(now.as_millis() - since.as_millis()).unwrap_or(0);
    *lasted.entry(measures.phase).or_insert(0) += current;
    Ok(StatisticsInput {
        series: series(conn, &row)?,
        words: measures.word_count,
        entities: measures.entities,
        chapter_words: sql::members::chapter_words(conn, project)?,
        goal_words: row.settings.goal_words,
        phase_seconds: lasted.into_iter().map(|(phase, ms)| (phase, ms / 1_000)).collect(),
    })
}

fn series(conn: &Connection, row: &sql::progress::ProgressRow) -> Result<Series> {
    let measures = row.measures(conn)?;
    let now = SeriesPoint { at: row.at, words: measures.word_count, entities: measures.entities };
    Ok(Series::new(sql::snapshots::points(conn, row.key)?, now))
}

/// Read how a project went
///
/// By days, weeks or months of a time zone: days on which the clock is set have 23 or 25 hours. At most 1,000 buckets.
#[utoipa::path(
    get, path = "/api/v1/projects/{id}/progress/trends", operation_id = "readProgressTrends", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller, TrendsQuery),
    responses((status = 200, description = "The trend.", body = TrendSchema<BucketSchema>), ReadProblems),
)]
async fn read_trends(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    caller: Caller,
    Query(TrendsQuery { period, since, until, tz: Zone(zone) }): Query<TrendsQuery>,
) -> HandlerResult<Response> {
    api.reads.live_document(&name, &caller.viewer).await?;
    save_due(&api, name.id.as_str()).await?;
    let period = period.unwrap_or(TrendPeriod::Daily);
    let query = TrendQuery { period, since: since.map(|given| given.0), until: until.map(|given| given.0), zone };
    let find = move |conn: &Connection| match sql::progress::find(conn, name.id.as_str())? {
        Some(row) => series(conn, &row),
        None => Err(sql::progress::not_stored_yet()),
    };
    let series = api.read_rows(find).await?;
    let buckets: Vec<TrendBucket> = trend(&series, query, api.now())?;
    Ok(json(Success::Done, &TrendSchema { period: period.as_str(), tz: zone.name().to_owned(), buckets })?)
}
