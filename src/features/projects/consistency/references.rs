//! What a document refers to: documents by their ids, and titles in `[[ ]]`.

use serde_json::Value;

use crate::base::ids::{Collection, DocumentName};
use crate::features::projects::members::{MemberKind, PROJECTS};

/// Most references and links of a document that are looked at.
const REFERENCES_MAX: usize = 2_000;
/// How deep objects are looked into.
const DEPTH_MAX: usize = 8;

/// A place that names a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// A JSON Pointer.
    pub path: String,
    /// What is written there.
    pub id: String,
    /// The documents that it may mean: a name has a plural or two. Empty: it is no id.
    pub targets: Vec<DocumentName>,
    /// Whether the collection is known by what the field is; else it is guessed from the field's name.
    pub certain: bool,
}

/// A link to a title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WikiLink {
    /// A JSON Pointer to the text that it stands in.
    pub path: String,
    pub title: String,
}

/// The references of a document with this state.
pub(crate) fn references(state: &Value) -> Vec<Reference> {
    let mut found = Vec::new();
    walk(state, "", 0, &mut found);
    found
}

fn walk(value: &Value, path: &str, depth: usize, found: &mut Vec<Reference>) {
    match value {
        Value::Object(members) if depth < DEPTH_MAX => {
            for (name, value) in members {
                let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                match field(name, depth) {
                    Some(field) => add(value, &path, &field, found),
                    None => walk(value, &path, depth + 1, found),
                }
            }
        }
        Value::Array(elements) if depth < DEPTH_MAX => {
            for (index, value) in elements.iter().enumerate() {
                walk(value, &format!("{path}/{index}"), depth + 1, found);
            }
        }
        _ => {}
    }
}

/// What a member of this name refers to.
struct Field {
    collections: Vec<String>,
    certain: bool,
    /// The value is `collection/id`.
    full_name: bool,
}

fn field(name: &str, depth: usize) -> Option<Field> {
    let of = |collection: &str| Field { collections: vec![collection.to_owned()], certain: true, full_name: false };
    match name {
        "characterId" | "characterIds" => return Some(of(MemberKind::Character.collection())),
        "chapterId" | "chapterIds" => return Some(of(MemberKind::Chapter.collection())),
        "projectId" => return Some(of(PROJECTS)),
        "parents" if depth == 0 => return Some(of(MemberKind::Character.collection())),
        "openedIn" | "closedIn" if depth == 0 => return Some(of(MemberKind::Chapter.collection())),
        "about" if depth == 0 => return Some(Field { collections: Vec::new(), certain: true, full_name: true }),
        _ => {}
    }
    let prefix = name.strip_suffix("Ids").or_else(|| name.strip_suffix("Id"))?;
    let collections = plurals(prefix)?;
    Some(Field { collections, certain: false, full_name: false })
}

/// The collections that `foo` of `fooId` may stand for: `foos`, and as English has it.
fn plurals(prefix: &str) -> Option<Vec<String>> {
    if !prefix.starts_with(|c: char| c.is_ascii_lowercase()) || !prefix.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let mut word = String::new();
    for c in prefix.chars() {
        if c.is_ascii_uppercase() {
            word.push('-');
        }
        word.push(c.to_ascii_lowercase());
    }
    let mut plurals = vec![format!("{word}s")];
    if let Some(stem) = word.strip_suffix('y') {
        plurals.push(format!("{stem}ies"));
    }
    if ["s", "x", "ch", "sh"].iter().any(|end| word.ends_with(end)) {
        plurals.push(format!("{word}es"));
    }
    plurals.retain(|plural| Collection::new(plural).is_ok());
    Some(plurals)
}

fn add(value: &Value, path: &str, field: &Field, found: &mut Vec<Reference>) {
    match value {
        Value::String(id) if !id.is_empty() && found.len() < REFERENCES_MAX => {
            let targets = if field.full_name {
                DocumentName::parse(id).into_iter().collect()
            } else {
                field.collections.iter().filter_map(|collection| DocumentName::new(collection, id).ok()).collect()
            };
            found.push(Reference { path: path.to_owned(), id: id.clone(), targets, certain: field.certain });
        }
        Value::Array(ids) => {
            for (index, id) in ids.iter().enumerate().filter(|(_, id)| id.is_string()) {
                add(id, &format!("{path}/{index}"), field, found);
            }
        }
        _ => {}
    }
}

/// The links in the text of a document with this state, each title once.
pub(crate) fn links(state: &Value) -> Vec<WikiLink> {
    let text = state.get("text").and_then(Value::as_str).unwrap_or_default();
    let mut found: Vec<WikiLink> = Vec::new();
    for part in text.split("[[").skip(1).take(REFERENCES_MAX) {
        let Some((inside, _)) = part.split_once("]]") else { continue };
        let title = inside.split('|').next().unwrap_or_default().trim();
        if !title.is_empty() && !title.contains('\n') && found.iter().all(|link| link.title != title) {
            found.push(WikiLink { path: "/text".to_owned(), title: title.to_owned() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn targets(state: &Value) -> Vec<(String, Vec<String>)> {
        let names = |reference: Reference| reference.targets.iter().map(ToString::to_string).collect();
        references(state).into_iter().map(|reference| (reference.path.clone(), names(reference))).collect()
    }

    #[test]
    fn fields_that_end_with_id_name_documents_of_the_collection_of_their_plural() {
        let state = json!({
            "projectId": "p", "characterIds": ["a", "b"], "parents": ["c"], "about": "characters/d", "text": "x",
            "facts": { "motherId": "m", "wikiEntryId": "w", "parents": ["x"], "Id": "z", "boxId": "b" },
            "openedIn": "1",
            "mapIds": [1, "m1"], "chapterId": null,
        });
        let found = targets(&state);
        let of = |path: &str| found.iter().find(|(at, _)| at == path).map(|(_, names)| names.join(" "));
        assert_eq!(of("/projectId").as_deref(), Some("projects/p"));
        assert_eq!(of("/characterIds/1").as_deref(), Some("characters/b"));
        assert_eq!(of("/parents/0").as_deref(), Some("characters/c"));
        assert_eq!(of("/about").as_deref(), Some("characters/d"));
        assert_eq!(of("/facts/motherId").as_deref(), Some("mothers/m"));
        assert_eq!(of("/facts/wikiEntryId").as_deref(), Some("wiki-entrys/w wiki-entries/w"));
        assert_eq!(of("/facts/boxId").as_deref(), Some("boxs/b boxes/b"));
        assert_eq!(of("/openedIn").as_deref(), Some("chapters/1"));
        assert_eq!(of("/mapIds/1").as_deref(), Some("maps/m1"));
        assert_eq!(found.len(), 10, "{found:?}");
    }

    #[test]
    fn links_are_titles_between_brackets_with_what_is_shown_left_out() {
        let titles =
            |text: &str| links(&json!({ "text": text })).into_iter().map(|link| link.title).collect::<Vec<_>>();
        assert_eq!(titles("[[The Hatter]] and [[Dormouse|the mouse]], [[The Hatter|him]]"), ["The Hatter", "Dormouse"]);
        for text in ["[[", "[[]]", "[[ ]]", "]] [[", "[[a", "[[a\nb]]", "[a]"] {
            assert!(titles(text).is_empty(), "{text}");
        }
    }
}
