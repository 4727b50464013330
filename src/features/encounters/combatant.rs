//! A combatant: all of it, also while it is concealed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::base::ids::UserId;
use crate::document::rules::{Rejection, read_as};

/// Most conditions, and most counters, of a combatant.
pub(super) const CONDITIONS_MAX: usize = 50;
/// Largest number of hit points, of damage, and of a counter.
pub(super) const POINTS_MAX: u32 = 1_000_000;
/// Largest initiative, and smallest below 0.
pub(super) const INITIATIVE_MAX: i64 = 1_000;
/// Longest name of a combatant or an encounter, and of a condition or a counter, bytes.
pub(super) const NAME_LENGTH_MAX: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    Party,
    Foe,
    Neutral,
}

/// `current` is never above `maximum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct HitPoints {
    pub current: u32,
    pub maximum: u32,
    pub temporary: u32,
}

/// Sent as a number they are the maximum, and all of it is there.
impl<'de> Deserialize<'de> for HitPoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HitPointsVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HitPointsMembers {
    current: Option<u32>,
    maximum: u32,
    #[serde(default)]
    temporary: u32,
}

struct HitPointsVisitor;

impl<'de> Visitor<'de> for HitPointsVisitor {
    type Value = HitPoints;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or an object with maximum, current and temporary")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<HitPoints, E> {
        let maximum = u32::try_from(number).unwrap_or(u32::MAX);
        Ok(HitPoints { current: maximum, maximum, temporary: 0 })
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<HitPoints, A::Error> {
        let HitPointsMembers { current, maximum, temporary } =
            HitPointsMembers::deserialize(MapAccessDeserializer::new(members))?;
        Ok(HitPoints { current: current.unwrap_or(maximum), maximum, temporary })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    pub name: String,
    /// Rounds that it lasts; left out: until it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counter {
    pub value: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Combatant {
    pub name: String,
    pub side: Side,
    #[serde(default)]
    pub initiative: Option<i64>,
    /// The score, of which 10 and 11 add nothing to a roll.
    #[serde(default)]
    pub dexterity: Option<i64>,
    #[serde(default)]
    pub armor_class: Option<u32>,
    pub hit_points: HitPoints,
    #[serde(default)]
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub down: bool,
    #[serde(default)]
    pub concealed: bool,
    /// What players see instead of the name as long as it is concealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    #[serde(default)]
    pub player_id: Option<UserId>,
    /// Those of one group roll initiative together.
    #[serde(default)]
    pub group: Option<String>,
    #[serde(default)]
    pub counters: BTreeMap<String, Counter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creature_id: Option<String>,
    /// What the host keeps with it besides.
    #[serde(skip)]
    pub extra: Map<String, Value>,
}

/// The members of [`Combatant`].
const COMBATANT_MEMBERS: [&str; 14] = [
    "name",
    "side",
    "initiative",
    "dexterity",
    "armorClass",
    "hitPoints",
    "conditions",
    "down",
    "concealed",
    "alias",
    "playerId",
    "group",
    "counters",
    "creatureId",
];

impl Combatant {
    /// What orders it among others: initiative, then dexterity.
    pub(super) fn precedence(&self) -> (Option<i64>, i64) {
        (self.initiative, self.dexterity.unwrap_or(10))
    }

    pub(super) fn is_of(&self, player: &UserId) -> bool {
        self.player_id.as_ref() == Some(player)
    }

    pub(super) fn read(id: &str, value: &Value) -> Result<Self, Rejection> {
        let Value::Object(members) = value else { return Err(invalid(id, "must be an object")) };
        let extra = members_but(members, &COMBATANT_MEMBERS);
        let combatant = Self { extra, ..read_as(value, &format!("combatants.{id}"))? };
        combatant.check(id)?;
        Ok(combatant)
    }

    pub(super) fn check(&self, id: &str) -> Result<(), Rejection> {
        let HitPoints { current, maximum, temporary } = self.hit_points;
        check_text(&self.name, "a combatant's name")?;
        if let Some(alias) = &self.alias {
            check_text(alias, "an alias")?;
        }
        if maximum == 0 || current > maximum || maximum > POINTS_MAX || temporary > POINTS_MAX {
            let message = format!("hitPoints: current is 0 to maximum, and maximum is 1 to {POINTS_MAX}");
            return Err(invalid(id, &message));
        }
        let numbers = [self.initiative, self.dexterity].into_iter().flatten();
        if numbers.into_iter().any(|number| number.abs() > INITIATIVE_MAX) {
            return Err(invalid(id, &format!("initiative and dexterity are at most {INITIATIVE_MAX}")));
        }
        if self.conditions.len() > CONDITIONS_MAX || self.counters.len() > CONDITIONS_MAX {
            return Err(invalid(id, &format!("has at most {CONDITIONS_MAX} conditions and {CONDITIONS_MAX} counters")));
        }
        let names: BTreeSet<&str> = self.conditions.iter().map(|condition| condition.name.as_str()).collect();
        if names.len() < self.conditions.len() {
            return Err(invalid(id, "has each condition once"));
        }
        let below_maximum = |counter: &Counter| counter.value <= counter.maximum.unwrap_or(POINTS_MAX).min(POINTS_MAX);
        if !self.counters.values().all(below_maximum) {
            return Err(invalid(id, "a counter's value is 0 to its maximum"));
        }
        Ok(())
    }

    /// All of it, as it stands in the document unless it is concealed.
    pub(super) fn into_members(self) -> Result<Map<String, Value>, Rejection> {
        let Value::Object(mut members) = to_value(&self)? else { return Err(damaged()) };
        for (name, value) in self.extra {
            members.entry(name).or_insert(value);
        }
        Ok(members)
    }
}

/// The members that have none of these names.
pub(super) fn members_but(members: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let others = members.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    others.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(super) fn to_value(value: &impl Serialize) -> Result<Value, Rejection> {
    serde_json::to_value(value).map_err(|_| damaged())
}

pub(super) fn damaged() -> Rejection {
    Rejection::new("the encounter's state is damaged; the host may roll it back")
}

pub(super) fn invalid(id: &str, message: &str) -> Rejection {
    Rejection::new(format!("combatants.{id}: {message}"))
}

/// Refuses an empty or long text, called `what`.
pub(super) fn check_text(text: &str, what: &str) -> Result<(), Rejection> {
    if text.is_empty() || text.len() > NAME_LENGTH_MAX {
        return Err(Rejection::new(format!("{what} is 1 to {NAME_LENGTH_MAX} bytes")));
    }
    Ok(())
}
