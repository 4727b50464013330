//! The server as its users meet it: the real binary, over real sockets, on a real file. One test binary, since each
//! links everything again.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic fails the test")]
#![expect(clippy::print_stderr, reason = "what a test prints is shown when it fails: its seed")]

mod support;

mod access;
mod backup;
mod bad_input;
mod batch;
mod client_errors;
mod clock;
mod collection_deletions;
mod compaction;
mod concealed;
mod conditions;
mod conflicts;
mod consistency;
mod cors;
mod crash;
mod damage;
mod damaged_games;
mod documents;
mod embedding;
mod encounters;
mod faults;
mod features;
mod first_steps;
mod formats;
mod front_page;
mod game_night;
mod games;
mod guide;
mod idempotency;
mod invitations;
mod jobs;
mod limits;
mod lists;
mod lost_file;
mod messages;
mod migrate;
mod model;
mod notifications;
mod offline_table;
mod openapi;
mod operator;
mod options;
mod overwritten_file;
mod owner;
mod pages;
mod persist;
mod presence;
mod process_limits;
mod program;
mod projects;
mod public;
mod rate_limits;
mod reconciliation;
mod requests;
mod revocations;
mod rollout;
mod service_tokens;
mod sessions;
mod storage;
mod streams;
mod tailnet;
mod usage;
mod values;
mod verify;
mod visibility;
mod watch;
mod web_client;
