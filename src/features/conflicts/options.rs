//! The options of merging.

use std::collections::HashMap;

use crate::base::ids::Collection;
use crate::base::options::{Shape, ValueType, option_set};
use crate::document::merge::strategies::{MergeRules, Strategy};

option_set! {
    /// How places that two sides changed are merged, before what the rules of their collection say.
    pub(crate) struct ConflictOptions {
        /// Merge the places that a path of a collection matches in one way: counter, local, server, timestamp, status,
        /// union or manual
        "conflicts" "COLLECTION:PATH=STRATEGY" strategies: Vec<String> = Vec::new(), strategies();
    }
}

fn strategies() -> ValueType<Vec<String>> {
    let parse = |values: &[String]| {
        values.iter().try_for_each(|value| parse(value).map(drop))?;
        Ok(values.to_vec())
    };
    ValueType::new(Shape::List, parse, Clone::clone)
}

/// Collection, pattern and strategy of `encounters:/combatants/*/hitPoints/current=counter`.
fn parse(text: &str) -> Result<(&str, &str, Strategy), String> {
    let form = || format!("'{text}' is not collection:/path=strategy");
    let (place, strategy) = text.rsplit_once('=').ok_or_else(form)?;
    let (collection, pattern) = place.trim().split_once(':').ok_or_else(form)?;
    let strategy = strategy.trim();
    Collection::new(collection).map_err(|error| error.message().to_owned())?;
    if !pattern.starts_with('/') {
        return Err(form());
    }
    let known = "counter, local, server, timestamp, status, union or manual";
    let strategy = Strategy::named(strategy).ok_or_else(|| format!("'{strategy}' is none of {known}"))?;
    Ok((collection, pattern, strategy))
}

impl ConflictOptions {
    /// The strategies by collection.
    pub(crate) fn by_collection(&self) -> HashMap<String, MergeRules> {
        let mut rules: HashMap<String, MergeRules> = HashMap::new();
        for (collection, pattern, strategy) in self.strategies.iter().filter_map(|text| parse(text).ok()) {
            let own = rules.remove(collection).unwrap_or_default().with_strategy(pattern, strategy);
            rules.insert(collection.to_owned(), own);
        }
        rules
    }
}
