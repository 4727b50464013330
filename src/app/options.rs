//! What each component is told, from the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use super::StartError;
use super::feature_set::volatile_collections;
use crate::base::clock::Clock;
use crate::base::entropy::Entropy;
use crate::base::ids::Collection;
use crate::base::limits;
use crate::base::options::days;
use crate::config::Config;
use crate::document::json::JsonBounds;
use crate::document::rules::Rules;
use crate::engine::policy::SnapshotPolicy;
use crate::engine::{self, BacklogBounds, HotBounds, Volatile};
use crate::http::server::listener_manager::ListenOptions;
use crate::live::ring::RingBounds;
use crate::store::{self, HistoryRetention, Synchronous};
use crate::tailnet::policy::Policy;

/// Who is let in.
pub(super) fn policy(config: &Config) -> Policy {
    Policy {
        administrators: config.administrators.clone(),
        tags: config.allowed_tags.clone(),
        shared_nodes: config.allow_shared_nodes,
        capability: config.administrator_capability.clone(),
    }
}

pub(super) fn listen_options(config: &Config) -> ListenOptions {
    ListenOptions { on: config.listen.clone(), names: config.allowed_hosts.clone().into(), poll: config.tailnet_poll }
}

/// What the engine is told.
pub(super) fn engine_options(
    config: &Config,
    rules: HashMap<String, Arc<dyn Rules>>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<engine::EngineOptions, StartError> {
    let rules = rules.into_iter().map(|(name, rules)| match Collection::new(&name) {
        Ok(collection) => Ok((collection, rules)),
        Err(error) => Err(StartError::Rules(name, error.message().to_owned())),
    });
    Ok(engine::EngineOptions {
        rules: Arc::new(rules.collect::<Result<_, _>>()?),
        state: bounds(config),
        ring: RingBounds { events_max: config.ring_events_max, bytes_max: limits::RING_BYTES_MAX },
        hot: HotBounds {
            documents_max: config.hot_documents_max,
            bytes_max: config.hot_bytes_max,
            idle: config.hot_idle,
        },
        backlog: BacklogBounds { events_max: config.backlog_events_max, bytes_max: config.backlog_bytes_max },
        snapshot_events_max: config.history_events,
        volatile: Volatile {
            collections: volatile_collections(&config.features),
            documents_max: config.volatile_documents_max,
            ..Volatile::default()
        },
        snapshots: SnapshotPolicy {
            ratio_thousandths: config.snapshot_ratio_thousandths,
            age: Some(config.snapshot_age).filter(|age| !age.is_zero()),
        },
        ..engine::EngineOptions::new(Arc::clone(clock), Arc::clone(entropy))
    })
}

/// How much of the past is kept.
pub(super) fn history(config: &Config) -> HistoryRetention {
    HistoryRetention { events_max: config.history_events, kept: days(config.history_days) }
}

/// What storage is told.
pub(super) fn store_options(config: &Config, synchronous: Synchronous) -> store::StoreOptions {
    store::StoreOptions {
        history: history(config),
        pages_max: config.database_pages_max,
        wal_bytes_max: config.wal_bytes_max,
        strict: config.strict,
        synchronous,
        ..store::StoreOptions::new(&config.data_dir)
    }
}

/// What a state may measure.
pub(super) fn bounds(config: &Config) -> JsonBounds {
    JsonBounds { depth_max: config.depth_max, state_bytes_max: config.state_bytes_max }
}
