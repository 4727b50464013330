//! What an encounter is. In memory a combatant is whole; in the document the numbers of a concealed one stand under
//! `hidden`, where only the host sees them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::combatant::{Combatant, Condition, NAME_LENGTH_MAX, members_but, to_value};
use crate::base::clock::Timestamp;
use crate::base::ids::DocumentId;
use crate::document::rules::{Rejection, read_as};

/// Most combatants of an encounter.
pub(super) const COMBATANTS_MAX: usize = 500;
/// Most notes that are kept; the oldest go first.
pub(super) const NOTES_MAX: usize = 200;
/// Longest text of a note, bytes.
const NOTE_LENGTH_MAX: usize = 2_000;
/// Most turns that can be taken back; the oldest go first.
const TURNS_MAX: usize = 200;

/// The members of a concealed combatant that players see.
const SHOWN_OF_CONCEALED: [&str; 5] = ["name", "side", "concealed", "down", "conditions"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EncounterStatus {
    #[default]
    Planning,
    Active,
    Paused,
    Completed,
}

impl EncounterStatus {
    /// Whether it is somebody's turn.
    pub(super) fn has_turn(self) -> bool {
        matches!(self, Self::Active | Self::Paused)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Completed => "completed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub at: Timestamp,
    pub by: String,
    pub text: String,
}

/// How to take a turn back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnRecord {
    /// Whose turn it was.
    pub turn: String,
    pub round: u32,
    /// Before whom the one whose turn it was stood, when it was delayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed_from: Option<String>,
    /// What was rolled anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reroll: Option<RerollRecord>,
    /// In the order in which they changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionChange>,
}

/// Order and initiatives before a roll at the top of a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RerollRecord {
    pub order: Vec<String>,
    pub initiatives: BTreeMap<String, Option<i64>>,
}

/// A condition that lost a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConditionChange {
    pub combatant_id: String,
    /// As it was.
    pub before: Condition,
    /// Where it stood when it went; left out: it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_from: Option<usize>,
}

/// The host's part of the state that is not of a combatant.
#[derive(Clone, Debug, Default, PartialEq)]
struct Secrets {
    /// Ids in the order of adding.
    added: Vec<String>,
    /// Turns that can be taken back, the last one last.
    turns: Vec<TurnRecord>,
    /// What the host keeps hidden besides, by combatant.
    of_shown: Map<String, Value>,
    extra: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Encounter {
    pub name: String,
    pub status: EncounterStatus,
    pub round: u32,
    pub turn: Option<String>,
    pub order: Vec<String>,
    pub combatants: BTreeMap<String, Combatant>,
    pub reroll_each_round: bool,
    pub notes: Vec<Note>,
    secrets: Secrets,
    extra: Map<String, Value>,
}

/// The members of a state but `combatants` and `hidden`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StateForm {
    name: String,
    status: EncounterStatus,
    round: u32,
    turn: Option<String>,
    order: Option<Vec<String>>,
    reroll_each_round: bool,
    notes: Vec<Note>,
}

/// The members of [`StateForm`], and those that are read apart.
const STATE_MEMBERS: [&str; 9] =
    ["name", "status", "round", "turn", "order", "rerollEachRound", "notes", "combatants", "hidden"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct HiddenForm {
    added: Vec<String>,
    turns: Vec<TurnRecord>,
}

impl Encounter {
    /// Reads a state; what is left out gets its default. Error: names what does not hold.
    pub(super) fn read(state: &Value) -> Result<Self, Rejection> {
        let Value::Object(members) = state else { return Err(Rejection::new("the state must be an object")) };
        let extra = members_but(members, &STATE_MEMBERS);
        let form: StateForm = read_as(state, "state")?;
        let nothing = Map::new();
        let sent = object(members.get("combatants"), "combatants")?.unwrap_or(&nothing);
        let hidden = object(members.get("hidden"), "hidden")?.unwrap_or(&nothing);
        let mut of_shown = object(hidden.get("combatants"), "hidden.combatants")?.cloned().unwrap_or_default();
        let hidden_form = match members.get("hidden") {
            Some(hidden @ Value::Object(_)) => read_as(hidden, "hidden")?,
            _ => HiddenForm::default(),
        };
        let hidden_extra = members_but(hidden, &["added", "turns", "combatants"]);
        let mut combatants = BTreeMap::new();
        for (id, value) in sent {
            check_id(id)?;
            let numbers = match value.get("concealed") {
                Some(Value::Bool(true)) => of_shown.remove(id),
                _ => None,
            };
            let combatant = match (value, numbers) {
                (Value::Object(shown), Some(Value::Object(numbers))) => {
                    let whole = shown.clone().into_iter().chain(numbers).collect();
                    Combatant::read(id, &Value::Object(whole))?
                }
                _ => Combatant::read(id, value)?,
            };
            combatants.insert(id.clone(), combatant);
        }
        of_shown.retain(|id, _| combatants.contains_key(id));
        let given = form.order.is_some();
        let mut encounter = Self {
            name: form.name,
            status: form.status,
            round: form.round,
            turn: form.turn,
            order: form.order.unwrap_or_default(),
            combatants,
            reroll_each_round: form.reroll_each_round,
            notes: form.notes,
            secrets: Secrets { added: hidden_form.added, turns: hidden_form.turns, of_shown, extra: hidden_extra },
            extra,
        };
        encounter.complete_added();
        if !given {
            encounter.order_as_added();
        }
        encounter.check()?;
        Ok(encounter)
    }

    /// The state as it stands in the document.
    pub(super) fn into_value(self) -> Result<Value, Rejection> {
        let mut state = self.extra;
        let mut shown = Map::new();
        let mut numbers = self.secrets.of_shown;
        for (id, combatant) in self.combatants {
            let concealed = combatant.concealed;
            let mut members = combatant.into_members()?;
            if concealed {
                let is_shown = |name: &String| SHOWN_OF_CONCEALED.contains(&name.as_str());
                let (mut visible, mut hidden): (Map<_, _>, Map<_, _>) =
                    members.into_iter().partition(|(name, _)| is_shown(name));
                if let Some(alias) = hidden.get("alias").cloned() {
                    let name = visible.insert("name".to_owned(), alias).unwrap_or_default();
                    hidden.insert("name".to_owned(), name);
                }
                numbers.insert(id.clone(), Value::Object(hidden));
                members = visible;
            }
            shown.insert(id, Value::Object(members));
        }
        let mut hidden = self.secrets.extra;
        hidden.insert("combatants".to_owned(), Value::Object(numbers));
        if !self.secrets.added.is_empty() {
            hidden.insert("added".to_owned(), Value::from(self.secrets.added));
        }
        if !self.secrets.turns.is_empty() {
            hidden.insert("turns".to_owned(), to_value(&self.secrets.turns)?);
        }
        // Made by hand: the macro would copy the trees.
        let members = [
            ("name", Value::from(self.name)),
            ("status", Value::from(self.status.name())),
            ("round", Value::from(self.round)),
            ("turn", Value::from(self.turn)),
            ("order", Value::from(self.order)),
            ("combatants", Value::Object(shown)),
            ("hidden", Value::Object(hidden)),
        ];
        state.extend(members.map(|(name, value)| (name.to_owned(), value)));
        if self.reroll_each_round {
            state.insert("rerollEachRound".to_owned(), json!(true));
        }
        if !self.notes.is_empty() {
            state.insert("notes".to_owned(), to_value(&self.notes)?);
        }
        Ok(Value::Object(state))
    }

    /// The state without what only the host sees.
    pub(super) fn shown(&self) -> Result<Value, Rejection> {
        let mut state = self.clone().into_value()?;
        if let Value::Object(members) = &mut state {
            members.remove("hidden");
        }
        Ok(state)
    }

    /// Error: what does not hold.
    fn check(&self) -> Result<(), Rejection> {
        let named: BTreeSet<&String> = self.order.iter().collect();
        if named.len() != self.order.len() || !self.combatants.keys().eq(named) {
            return Err(Rejection::new("order must name each combatant once"));
        }
        if self.combatants.len() > COMBATANTS_MAX {
            return Err(too_many());
        }
        if self.name.len() > NAME_LENGTH_MAX {
            return Err(Rejection::new(format!("a name has at most {NAME_LENGTH_MAX} bytes")));
        }
        let holds = match &self.turn {
            Some(turn) => self.status.has_turn() && self.combatants.contains_key(turn) && self.round > 0,
            None => !self.status.has_turn(),
        };
        if holds {
            return Ok(());
        }
        Err(Rejection::new("turn must name a combatant, and round be 1 or more, while active or paused, and only then"))
    }

    /// Makes the order of adding name each combatant once.
    fn complete_added(&mut self) {
        let mut known = BTreeSet::new();
        let all = self.secrets.added.iter().chain(&self.order).chain(self.combatants.keys());
        let first = all.filter(|id| self.combatants.contains_key(*id) && known.insert((*id).clone()));
        self.secrets.added = first.cloned().collect();
    }

    /// Orders as while planning: as added, those without initiative last.
    pub(super) fn order_as_added(&mut self) {
        let has = |id: &&String| self.combatants.get(*id).is_some_and(|combatant| combatant.initiative.is_some());
        let (with, without): (Vec<_>, Vec<_>) = self.secrets.added.iter().partition(has);
        self.order = with.into_iter().chain(without).cloned().collect();
    }

    pub(super) fn combatant(&self, id: &str) -> Result<&Combatant, Rejection> {
        self.combatants.get(id).ok_or_else(|| no_combatant(id))
    }

    pub(super) fn combatant_mut(&mut self, id: &str) -> Result<&mut Combatant, Rejection> {
        self.combatants.get_mut(id).ok_or_else(|| no_combatant(id))
    }

    /// The ids of those who are concealed.
    pub(super) fn concealed(&self) -> BTreeSet<String> {
        let concealed = self.combatants.iter().filter(|(_, combatant)| combatant.concealed);
        concealed.map(|(id, _)| id.clone()).collect()
    }

    /// Puts a combatant in the list, not yet in the order.
    pub(super) fn insert(&mut self, id: String, combatant: Combatant) -> Result<(), Rejection> {
        if self.combatants.contains_key(&id) {
            return Err(Rejection::new(format!("there is a combatant {id} already")));
        }
        if self.combatants.len() >= COMBATANTS_MAX {
            return Err(too_many());
        }
        check_id(&id)?;
        combatant.check(&id)?;
        self.secrets.added.push(id.clone());
        self.combatants.insert(id, combatant);
        Ok(())
    }

    /// Takes a combatant off the list and the order.
    pub(super) fn take(&mut self, id: &str) -> Result<Combatant, Rejection> {
        let combatant = self.combatants.remove(id).ok_or_else(|| no_combatant(id))?;
        self.secrets.added.retain(|other| other != id);
        self.secrets.of_shown.remove(id);
        self.order.retain(|other| other != id);
        Ok(combatant)
    }

    pub(super) fn add_note(&mut self, note: Note) {
        self.notes.push(note);
        let surplus = self.notes.len().saturating_sub(NOTES_MAX);
        self.notes.drain(..surplus);
    }

    /// Remembers how to take a turn back.
    pub(super) fn push_turn(&mut self, record: TurnRecord) {
        self.secrets.turns.push(record);
        let surplus = self.secrets.turns.len().saturating_sub(TURNS_MAX);
        self.secrets.turns.drain(..surplus);
    }

    pub(super) fn pop_turn(&mut self) -> Option<TurnRecord> {
        self.secrets.turns.pop()
    }

    /// The turns that can be taken back, the last one last.
    pub(super) fn turns_mut(&mut self) -> &mut Vec<TurnRecord> {
        &mut self.secrets.turns
    }
}

/// Refuses a state in which more of a concealed combatant is shown than players may see.
pub(super) fn check_concealed(state: &Value) -> Result<(), Rejection> {
    let combatants = state["combatants"].as_object().into_iter().flatten();
    for (id, combatant) in combatants {
        let shown = combatant.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let leaks = shown.filter(|name| !SHOWN_OF_CONCEALED.contains(name)).collect::<Vec<_>>();
        if combatant["concealed"] == json!(true) && !leaks.is_empty() {
            let message = format!("{id} is concealed: put {} under hidden.combatants.{id}", leaks.join(", "));
            return Err(Rejection::new(message));
        }
    }
    Ok(())
}

/// `None`: it is not there, or null.
fn object<'a>(value: Option<&'a Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, Rejection> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(Rejection::new(format!("{name} must be an object"))),
    }
}

fn too_many() -> Rejection {
    Rejection::new(format!("an encounter has at most {COMBATANTS_MAX} combatants"))
}

pub(super) fn no_combatant(id: &str) -> Rejection {
    Rejection::new(format!("there is no combatant {id}"))
}

fn check_id(id: &str) -> Result<(), Rejection> {
    DocumentId::new(id).map(drop).map_err(|error| Rejection::new(format!("combatantId: {}", error.message())))
}

/// Refuses an empty or long text of a note.
pub(super) fn check_note(text: &str) -> Result<(), Rejection> {
    if text.is_empty() || text.len() > NOTE_LENGTH_MAX {
        return Err(Rejection::new(format!("text is 1 to {NOTE_LENGTH_MAX} bytes")));
    }
    Ok(())
}
