//! The progress of a project at one moment: what is counted of its documents, and what somebody says.

use serde::Serialize;
use serde_json::Value;

use super::phases::Phases;
use crate::base::clock::Timestamp;
use crate::features::projects::limits::WORDS_MAX;

/// What is counted of a project's documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Of all chapters' texts.
    pub words: u64,
    pub entities: Entities,
}

/// How many documents of each kind a project has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entities {
    pub chapters: u64,
    pub characters: u64,
    pub wiki_entries: u64,
    pub plot_loops: PlotLoops,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PlotLoops {
    pub open: u64,
    pub closed: u64,
}

/// What somebody said of a project's progress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stated {
    /// `None`: it never left its first phase.
    pub phase: Option<String>,
    /// From 0 to 100; `None`: it is reckoned.
    pub completion_percent: Option<f64>,
    /// Counts while there is no chapter.
    pub word_count: Option<u64>,
    pub notes: Option<String>,
}

/// What the document of a project says about its progress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub phases: Phases,
    /// How many words it is to have.
    pub goal_words: Option<u64>,
}

impl Settings {
    /// Those of a project with this state. What is malformed counts as left out: the document is anybody's to write.
    pub(crate) fn of_project(state: &Value) -> Self {
        let words = state.get("goal").and_then(|goal| goal.get("words")).and_then(Value::as_u64);
        Self { phases: Phases::of_project(state), goal_words: words.filter(|words| (1..=WORDS_MAX).contains(words)) }
    }
}

/// The progress of a project at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measures {
    pub phase: String,
    #[serde(serialize_with = "write_whole")]
    pub completion_percent: f64,
    pub word_count: u64,
    #[serde(flatten)]
    pub entities: Entities,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

impl Measures {
    pub(crate) fn new(settings: &Settings, stated: &Stated, counts: Counts) -> Self {
        let phase = stated.phase.clone().unwrap_or_else(|| settings.phases.first().to_owned());
        let counted = counts.entities.chapters > 0;
        let word_count = if counted { counts.words } else { stated.word_count.unwrap_or(0) };
        let reckoned = match settings.goal_words {
            Some(goal) => (word_count.saturating_mul(100) / goal).min(100),
            None => settings.phases.percent(&phase),
        };
        let completion_percent = stated.completion_percent.unwrap_or(reckoned as f64);
        Self { phase, completion_percent, word_count, entities: counts.entities, notes: stated.notes.clone() }
    }
}

/// The progress of a project as callers get it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ProjectProgress {
    #[serde(flatten)]
    pub measures: Measures,
    /// Counts the changes of the progress.
    pub version: u64,
    /// When it changed last.
    pub at: Timestamp,
}

/// A whole number where it is one.
pub(super) fn write_whole<S: serde::Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 { serializer.serialize_i64(*number as i64) } else { serializer.serialize_f64(*number) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]
mod tests {
    use serde_json::json;

    use super::*;

    fn counts(words: u64, chapters: u64) -> Counts {
        Counts { words, entities: Entities { chapters, ..Entities::default() } }
    }

    #[test]
    fn words_are_those_of_the_chapters_as_soon_as_there_is_one() {
        let stated = Stated { word_count: Some(900), ..Stated::default() };
        let of = |counts| Measures::new(&Settings::default(), &stated, counts).word_count;
        assert_eq!((of(counts(0, 0)), of(counts(0, 1)), of(counts(12, 2))), (900, 0, 12));
    }

    #[test]
    fn completion_is_what_was_said_else_that_of_the_goal_else_that_of_the_phase() {
        let goal = Settings::of_project(&json!({ "goal": { "words": 200 } }));
        let said = Stated { completion_percent: Some(12.5), ..Stated::default() };
        let writing = Stated { phase: Some("writing".into()), ..Stated::default() };
        let of = |settings: &Settings, stated: &Stated, words| {
            serde_json::to_value(Measures::new(settings, stated, counts(words, 1))).unwrap()["completionPercent"]
                .clone()
        };
        assert_eq!(of(&goal, &said, 100), json!(12.5));
        assert_eq!(of(&goal, &writing, 199), json!(99));
        assert_eq!(of(&goal, &writing, 500), json!(100));
        assert_eq!(of(&Settings::default(), &writing, 500), json!(66));
    }

    #[test]
    fn a_malformed_goal_is_none() {
        for goal in [json!(5), json!({ "words": 0 }), json!({ "words": -3 }), json!({ "words": "many" })] {
            assert_eq!(Settings::of_project(&json!({ "goal": goal })), Settings::default());
        }
    }
}
