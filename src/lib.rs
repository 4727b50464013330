//! Rejoin: live state that you can pull the plug on.
//!
//! One process keeps JSON documents in memory, streams every change, has each change in an SQLite file before it says
//! "done", and brings every client back to exactly where it was after a lost connection or a `kill -9`. This crate is
//! the server, and a library to build servers with rules of one's own:
//!
//! ```no_run
//! use rejoin::{Action, Actor, Rejection, Rules};
//! use serde_json::{Value, json};
//!
//! /// A counter that only goes up.
//! struct Counter;
//!
//! impl Rules for Counter {
//!     fn apply(&self, state: &Value, action: &Action<'_>, _: &Actor) -> Result<Value, Rejection> {
//!         match action.kind {
//!             "count" => Ok(json!({ "count": state["count"].as_u64().unwrap_or(0) + 1 })),
//!             other => Err(Rejection::new(format!("a counter cannot {other}"))),
//!         }
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     rejoin::run(rejoin::Server::builder().rules("counters", Counter))
//! }
//! ```
//!
//! # Words
//!
//! One word per concept, in Rust, SQL, JSON and on the pages: a *document* (`collection/id`) is the unit of order and
//! of conflict; an *action* asks for a change, *rules* decide it; an *event* is the immutable record of one accepted
//! change and carries the *patch* that makes the new state from the old; the *log* is all events by *seq*; a document's
//! *version* counts its events and its *hash* chains them; a *position* (`<seq>-<short hash>`) names a place in the log
//! and the history behind it; a *snapshot* is a stored full state; *hot* is in memory, *cold* only on disk; a *viewer*
//! reads, and what they may see of a document makes them its *host* or a *player*; a *notice* is what rules say of a
//! change to somebody, and a *notification* is a notice as it is kept and told.
//!
//! # The way of a change
//!
//! 1. [`http`]: the connection's [`server`](http::server), which [authenticates](tailnet::authenticator) the peer, the
//!    [`middleware`](http::server::middleware) (host, origin, panics, logs), the [caller](http::request::caller), then
//!    a handler in [`features`], which turns the request into a [`Request`](document::decide::Request) and sends it to
//!    the engine.
//! 2. [`engine`]: one thread takes all that waits and, for each, [decides](document::decide) against its own documents:
//!    rights, preconditions, rules, new state; from old and new state the [patch](document::patch); from that the
//!    [event](document::event) and its hash.
//! 3. [`store`]: all events of the round, due snapshots, idempotency keys and the rows that features add
//!    ([`engine::hooks`]) in one transaction with one sync.
//! 4. [`live`]: documents and events become visible under one lock, callers are answered, subscribers are woken by a
//!    task of their own.
//! 5. [`http::response::sse`]: each subscriber is a cursor; all that waits for it goes out in one write.
//!
//! Who is connected goes beside it: [`live::presence`] counts streams, and wakes the same subscribers.
//!
//! Reading asks nobody: hot documents from [`live::hub`], cold ones and the past from the reader pool
//! ([`engine::read`]).
//!
//! # The house
//!
//! A folder imports only folders of a lower rank; features never import each other; the files of a folder form no
//! circle, and no word of a feature occurs below `features`: tests in `tests/tidy` read the `use` lines and the words.
//!
//! | rank | folder | what |
//! |---|---|---|
//! | 0 | [`base`] | ids, clock, entropy, errors, bounds: no I/O |
//! | 0 | [`guide`] | the chapters for people, also served at `/docs/` |
//! | 1 | [`document`] | what a document is: pure |
//! | 1 | [`net`] | one HTTP/1 client over any stream, the SSE parser |
//! | 2 | [`store`], [`live`] | SQLite; the published present |
//! | 2 | [`tailnet`] | who is at an address, as tailscaled tells; the only place that knows it |
//! | 3 | [`engine`] | the thread that owns the truth, and reading beside it |
//! | 4 | [`http`] | from the socket to the handlers, and what responses are made of |
//! | 4 | [`jobs`] | what the server does by itself at set times: the runner and its record |
//! | 4 | [`consumers`] | what reads the log behind the changes, from places that it keeps |
//! | 5 | [`feature`] | what a feature hands the server: one value |
//! | 6 | [`features`] | what can be asked, one folder each |
//! | 7 | [`config`], [`app`] | options; the wiring |
//! | 8 | [`cli`] | the program |
//!
//! Fences: `rusqlite` only in `store`, `features/*/sql`, `consumers/sql.rs` and `jobs/sql.rs`; `clokwerk` only in
//! `jobs`; `axum` and `hyper` only in `http`, `net` and `features/*/routes`; no I/O, clock, lock, `tokio` or log in
//! `base` and `document`; the environment is read only in `config`; a status is set only in `http`.
//!
//! # Promises
//!
//! Each with the tests that would fail if it were broken; modules are those of `tests/it`.
//!
//! 1. *Acknowledged means on disk*:
//!    `crash::nothing_acknowledged_is_lost_and_nobody_misses_a_change_however_often_the_server_is_killed`.
//! 2. *Nobody sees what can vanish*: the same, since every subscriber's changes are compared with the log after each
//!    kill; `faults::a_kill_while_syncs_fail_loses_only_what_was_never_called_durable`.
//! 3. *A reconnect misses nothing, repeats nothing, or says so*:
//!    `streams::resume::a_stream_resumes_at_every_offset_from_memory_and_from_disk`,
//!    `…::what_is_trimmed_is_replaced_by_the_whole_state`,
//!    `…::a_position_of_a_future_that_a_restored_file_lost_is_told_as_diverged`,
//!    `streams::load::reading_and_following_from_there_loses_and_repeats_nothing_under_load`; in a real browser:
//!    `tests/browser/resume.test.js`.
//! 4. *Versions are dense and history is a chain*: `crash` (above), `model`, and the properties in
//!    `src/document/tests/chain.rs`.
//! 5. *A retry is safe*: `idempotency::a_repeated_key_gives_the_first_answer_also_after_kill_9`,
//!    `…::a_key_that_was_killed_in_the_middle_makes_one_change_in_the_end`; of calls about seats, the end of a game and
//!    storing it: `games::once`.
//! 6. *A broken disk does not stop the game*: `faults::a_full_disk_makes_changes_wait_until_there_is_room`,
//!    `…::a_disk_that_does_not_sync_makes_changes_wait_until_it_does`,
//!    `…::past_the_bound_changes_are_refused_and_everything_else_goes_on`; nor do files that are removed or replaced:
//!    `lost_file::what_is_removed_or_moved_is_not_called_durable_and_written_anew`,
//!    `…::a_file_that_was_put_in_its_place_is_never_touched_and_all_is_rescued_elsewhere`.
//! 7. *A slow client is never silently short*:
//!    `streams::load::a_subscriber_that_stops_reading_costs_little_and_gets_every_change_when_it_reads_again`,
//!    `…::a_subscriber_that_sleeps_while_history_is_trimmed_is_told_so_and_gets_the_present`.
//! 8. *What a viewer may not see never leaves the process*:
//!    `visibility::no_output_for_a_player_holds_a_secret_of_another_in_a_whole_game`,
//!    `access::reading::whoever_may_not_read_is_told_the_same_as_if_it_had_never_been_there`,
//!    `access::streams::open_streams_end_when_access_is_taken_away_and_do_not_come_back`,
//!    `access::sizes::two_games_that_differ_in_what_is_hidden_give_a_player_the_same_answers`,
//!    `…::a_write_that_reaches_a_secret_is_refused_alike_whatever_stands_there`, and the properties in
//!    `src/document/tests/visibility.rs` and `reach.rs`.
//! 9. *Every queue, cache, body and history has a bound*: [`base::limits`], and `limits` of the features; `limits`,
//!    `bad_input::bombs_of_depth_size_and_number`, `pages`, `streams::load`,
//!    `src/features/rate_limits/ledger_tests.rs`.
//! 10. *Only the tailnet gets in*, and who of it is let in, as whom they are known there:
//!     `tailnet::namespaces::who_sends_to_a_tailnet_address_from_another_network_gets_no_byte`,
//!     `…::addresses_are_waited_for_and_followed_and_nothing_is_listened_on_instead`, and the rest of `tailnet`. Where
//!     the host opens another network, people of it come in by an invitation:
//!     `…::who_comes_from_a_lan_sees_the_way_in_alone_and_gets_in_by_an_invitation`, and `invitations`.
//! 11. *A session that has ended lets nobody in*, and takes what is open under it along:
//!     `sessions::ends::ending_a_session_closes_what_is_open_and_voids_its_token_at_once_and_for_good`,
//!     `sessions::shown::what_is_no_good_session_is_refused_and_never_the_owner`, and the properties in
//!     `src/features/sessions/tests.rs`; also one that was ended while storage failed: `revocations`.
//! 12. *The server audits itself*:
//!     `reconciliation::own::whatever_is_changed_behind_our_back_is_told_within_one_interval_named_and_mended`,
//!     `…::a_bit_that_flips_in_the_file_is_found_by_the_scrub`,
//!     `reconciliation::rows::a_state_of_a_trimmed_document_that_is_changed_with_its_checksum_is_not_served_and_told`,
//!     `…::sessions_on_disk_are_as_memory_has_them_and_an_inserted_one_lets_nobody_in`, and the property in
//!     `src/features/reconciliation/self_check/tests/random.rs`: verified if and only if equal.
//! 13. *What concerns somebody is told to them*, neither lost nor doubled, with the change or after the replay:
//!     `notifications::a_kill_between_change_and_delivery_neither_loses_nor_doubles_one`,
//!     `…::a_replay_that_breaks_off_is_told_to_the_end_by_the_next`,
//!     `…::what_was_missed_comes_after_the_replay_until_a_later_position_acknowledges_it`.
//! 14. *Edits from away end in equal states and a complete audit*:
//!     `offline_table::two_players_and_the_dm_end_with_equal_states_whatever_fails_meanwhile`, and the properties in
//!     `src/document/tests/merge.rs`.
//! 15. *What follows from a change is made of it once*, however often the server is killed between:
//!     `features::a_consumer_counts_each_change_once_however_often_the_server_is_killed`.
//!
//! Documents that live in memory only (`flags.games-persistence`) are the exception to 1, 2 and 5 that says so:
//! `"persistent": false`, and never `"durable": true`. The others hold for them too, and for everybody beside them:
//! `rollout`, `games::memory`, and `src/engine/tests/volatile.rs`.
//!
//! # Deliberately absent
//!
//! * No lock around state and no second writer: the engine's thread owns both, so there is nothing to disagree with.
//! * No publishing before the commit, and no repeating of a failed sync on the same connection.
//! * No queue per subscriber but for [messages that nobody keeps](live::transient), and no event dropped to catch up.
//! * No cache of documents that can be stale: memory holds what is published, and only the engine puts it there.
//! * No CORS but for the origins that the configuration names, each by itself; no trusted proxy header, no password,
//!   no secret in a URL but after its `#`, which no browser sends.
//! * No global and no application state below `http`: what a thing needs it is given.

#![warn(unreachable_pub)]

mod app;
mod base;
mod cli;
mod config;
mod consumers;
mod document;
mod engine;
mod feature;
mod features;
pub mod guide;
mod http;
mod jobs;
mod live;
mod net;
#[cfg(test)]
mod property_tests;
mod store;
mod tailnet;

pub use app::{Builder, Server, StartError, Stopped};
pub use base::clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use base::entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use base::error::{Error, Kind, ProblemType, Result};
pub use base::ids::{Collection, DocumentId, DocumentName, UserId, Version};
pub use base::options::FeatureOptions;
pub use cli::run;
pub use config::{Config, ConfigError};
pub use consumers::{Consumer, LoggedChange};
pub use document::merge::strategies::{MergeRules, Strategy};
pub use document::notices::{Notice, NoticeKind, NoticeRecipient};
pub use document::rules::{Action, Actor, Applied, Documents, NoDocuments, Rejection, Rules, read_as};
pub use engine::data::DataAccess;
pub use engine::hooks::{Change, ChangeOrigin, ChangeRows, DocumentHook, RemovedDocument, StoredRows};
pub use feature::Feature;
pub use http::api::{Api, Routes};
pub use http::error::{HandlerResult, HttpError};
pub use http::request::body::Json;
pub use http::request::caller::Caller;
pub use jobs::{Job, JobContext, Schedule, Summary};
pub use store::sql_error;

// What features are written with, in the versions that this crate has.
pub use axum;
pub use rusqlite;
pub use utoipa;
pub use utoipa_axum;

/// What the benches and tests of this crate reach inside it. No part of the public interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::base::entropy::below;
    pub use crate::base::ids::{DocumentName, SessionId};

    pub mod limits {
        pub use crate::base::limits::*;
        pub use crate::features::documents::limits::BATCH_OPERATIONS_MAX;
    }

    pub mod document {
        pub use crate::document::access::Access;
        pub use crate::document::decide::{Expected, Request, WriteOperation};
        pub use crate::document::json::JsonBounds;
        pub use crate::document::merge::merged_state;
        pub use crate::document::visibility::Viewer;
    }

    pub mod engine {
        pub use crate::engine::actor::{Ending, EngineActor};
        pub use crate::engine::handle::{Engine, channel};
        pub use crate::engine::health::Health;
        pub use crate::engine::policy::SnapshotPolicy;
        pub use crate::engine::request::{Write, WriteReply};
        pub use crate::engine::{BacklogBounds, EngineOptions, HotBounds, Volatile};
    }

    pub mod http {
        pub use crate::http::request::caller::{Peer, Sessions};
        pub use crate::http::request::cookie::SessionCookie;
    }

    pub mod live {
        pub use crate::live::hub::Hub;
        pub use crate::live::ring::RingBounds;
    }

    pub mod rate_limits {
        pub use crate::features::rate_limits::identity::BucketOwner;
        pub use crate::features::rate_limits::ledger::LedgerBounds;
        pub use crate::features::rate_limits::limiter::Limiter;
        pub use crate::features::rate_limits::rules::matching::{Pattern, Rule, Verb};
        pub use crate::features::rate_limits::rules::{Limit, UserLimit};
    }

    pub mod sessions {
        pub use crate::features::sessions::rules::{Device, Session, SessionHolder, SessionTerms, Token};
        pub use crate::features::sessions::table::SessionTable;
    }

    pub mod store {
        pub use crate::store::integrity::write_as_server;
        pub use crate::store::{StoreOptions, Synchronous, open};
    }

    pub mod tailnet {
        pub use crate::tailnet::authenticator::{Authentication, Authenticator, IDENTITY_TTL, ListenerScope};
        pub use crate::tailnet::client::{ANSWER_BYTES_MAX, ApiError, LocalApi};
        pub use crate::tailnet::policy::Policy;
    }
}
