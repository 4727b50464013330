//! The options of usage.

use std::str::FromStr;

use super::rules::LIMIT_MAX;
use crate::base::options::{named, option_set, whole};

option_set! {
    /// What users without a subscription may create, and whether periods end by themselves.
    pub(crate) struct UsageOptions {
        /// What the server is for: development, or production, where usage counters are set back by themselves
        "env" "ENVIRONMENT" environment: Environment =
            Environment::Development, named(Environment::as_str);
        /// Let users without a subscription create this many parties in a calendar month
        "usage-default-parties-created" "COUNT" parties: Option<u64> = None, whole(0, LIMIT_MAX).optional();
        /// The same for encounters
        "usage-default-encounters-created" "COUNT" encounters: Option<u64> = None, whole(0, LIMIT_MAX).optional();
        /// The same for creatures
        "usage-default-creatures-created" "COUNT" creatures: Option<u64> = None, whole(0, LIMIT_MAX).optional();
    }
}

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Environment {
    /// Counters are reset only when somebody asks.
    Development,
    Production,
}

impl Environment {
    /// Its name in the configuration.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

impl FromStr for Environment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Development, Self::Production]
            .into_iter()
            .find(|environment| environment.as_str() == text)
            .ok_or_else(|| format!("'{text}' is neither development nor production"))
    }
}
