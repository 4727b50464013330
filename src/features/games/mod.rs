//! Games: documents of the collection `games` with seats, reconnect tokens and an end.
//!
//! [`limits`] (the bounds), [`seats`] (who may sit where), [`tokens`] (what a token is, whether one is good, sealed
//! answers) and [`revocations`] (what is taken from players) are pure; `sql` has the tables, and what of them goes with
//! a game that is removed; [`tables`] says where they are; [`service`] joins them with documents; [`reconnect`] brings
//! a player back; [`routes`] is HTTP; [`cleanup`] is the job that removes games that are over.
//!
//! Moving a game to another server: [`protocol`] (what the servers tell each other), [`attached_rows`] (what goes with
//! it; pure), [`migrate_out`] (the server that it leaves), [`departures`] and [`migrate_cancel`] (it stays after all),
//! [`migrate_in`] (the server that it goes to).

pub(crate) mod attached_rows;
pub(crate) mod cleanup;
#[cfg(test)]
mod cleanup_tests;
pub(crate) mod departures;
pub(crate) mod limits;
pub(crate) mod migrate_cancel;
pub(crate) mod migrate_in;
pub(crate) mod migrate_out;
pub(crate) mod options;
pub(crate) mod places;
pub(crate) mod problems;
pub(crate) mod protocol;
pub(crate) mod reconnect;
pub(crate) mod revocations;
pub(crate) mod routes;
pub(crate) mod seats;
pub(crate) mod service;
pub(crate) mod sql;
pub(crate) mod tables;
pub(crate) mod tokens;

use std::sync::Arc;

use self::departures::Departures;
use self::options::GameOptions;
use self::places::SeatProvider;
use self::sql::persist::{COLLECTION, GamesHook, SeatedPlayers, StoredMoves};
use crate::base::error::Result;
use crate::base::ids::Collection;
use crate::base::options::FeatureOptions;
use crate::feature::{CommandParts, Feature, FeatureContext, FeatureDefinition, ServerParts};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition {
    volatile_collections,
    ..FeatureDefinition::new("games", open)
        .with_options::<GameOptions>()
        .with_commands(CommandParts { end_as_in: Some(sql::tokens::end_as_in), ..CommandParts::NONE })
};

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let options: GameOptions = context.options.get();
    let (memory, presence) = (&context.api.memory, &context.api.presence);
    let participants = SeatedPlayers {
        reader: context.reader.clone(),
        memory: Arc::clone(memory),
        engine: context.api.engine.clone(),
    };
    let departures = Departures::default();
    Ok(feature
        .tag("games", "Seats, coming back, ending, storing and moving games.")
        .routes(routes::router(options.token_lifetime(), departures.clone()))
        .problems(problems::PROBLEMS)
        .hook(GamesHook { memory: Arc::clone(memory), presence: Arc::clone(presence) })
        .job(cleanup::cleanup_job(cleanup::Cleanup::new(&options, context.api)))
        .task(move |api| migrate_out::resume_migrations(api, departures))
        .provides(ServerParts {
            participants: Some(Arc::new(participants)),
            places: Some(Arc::new(SeatProvider::new(context.api))),
            relocations: Some(Arc::new(StoredMoves)),
            relocation_paths: Some(routes::RELOCATION_PATHS),
            ..ServerParts::default()
        }))
}

/// Games, while a flag turns their persistence off.
fn volatile_collections(options: &FeatureOptions) -> Vec<Collection> {
    match options.get::<GameOptions>().persistence {
        true => Vec::new(),
        false => Collection::new(COLLECTION).into_iter().collect(),
    }
}
