//! One script of many ES modules, so that a page needs few requests, without a build: the modules stay as they are
//! written, each in a function of its own. Comments and indentation are left out.
//!
//! It reads the modules line by line and knows the forms that `src/web` has: `import {…} from`, `import '…'`,
//! `export {…} from`, `export * from`, `export {…}`, and `export` before a declaration.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A module: its file name and its text.
pub(super) type Module = (&'static str, &'static str);

/// What a module gives: its own names, and those of others, by name.
type Exports = BTreeMap<String, String>;

/// One module that gives what the last of `modules` does. Each imports only those before it.
pub(super) fn bundle(modules: &[Module]) -> String {
    let mut all = BTreeMap::<String, Exports>::new();
    let mut script = String::new();
    let mut last = String::new();
    for (name, text) in modules {
        let variable = variable_of(name);
        let (body, exports) = convert(&without_comments(text), &all);
        let given: Vec<String> = exports.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let _ = write!(script, "const {variable} = (() => {{\n{body}return {{ {} }};\n}})();\n", given.join(", "));
        all.insert(variable.clone(), exports);
        last = variable;
    }
    let names: Vec<&str> = all.get(&last).into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(script, "export const {{ {} }} = {last};", names.join(", "));
    script
}

/// A script without the lines that are nothing but comments, empty lines, indentation, and ends of lines that mean
/// nothing. No text may span lines.
pub(super) fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in code_lines(text) {
        let last = kept.lines().next_back().unwrap_or_default();
        let goes_on = last.ends_with([',', '(', '[', '{']) || line.starts_with([')', ']', '.', '?', ':']);
        // Where a statement cannot end, the end of a line means nothing, but that it ends a comment.
        if goes_on && !last.contains("//") {
            kept.pop();
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// The lines that are more than comments, trimmed.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    // How many bytes at the end of a line are code.
    let mut code_length = move |line: &str| -> usize {
        let mut rest = line;
        while is_inside || rest.starts_with("/*") {
            let from = if is_inside { rest } else { rest.strip_prefix("/*").unwrap_or_default() };
            let end = from.split_once("*/");
            is_inside = end.is_none();
            rest = end.map_or("", |(_, rest)| rest.trim_start());
            if is_inside {
                break;
            }
        }
        if rest.starts_with("//") { 0 } else { rest.len() }
    };
    text.lines()
        .map(str::trim)
        .filter_map(move |line| line.get(line.len() - code_length(line)..).filter(|rest| !rest.is_empty()))
}

/// Styles without comments, and without the spaces that mean nothing.
pub(super) fn compact_styles(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in code_lines(text) {
        // What stands in quotes is kept as it is.
        for (at, part) in line.split('"').enumerate() {
            if at > 0 {
                kept.push('"');
            }
            match at % 2 {
                0 => kept.push_str(
                    &[": ", "; ", ", ", " {", "{ "]
                        .iter()
                        .fold(part.to_owned(), |part, spaced| part.replace(spaced, spaced.trim())),
                ),
                _ => kept.push_str(part),
            }
        }
        if !kept.ends_with(['{', '}', ';', ',']) {
            kept.push(' ');
        }
    }
    kept
}

/// The name of a module in the bundle, by its address: `./ui.js` is `m_ui`.
fn variable_of(address: &str) -> String {
    let file = address.rsplit('/').next().unwrap_or_default().trim_end_matches(".js");
    format!("m_{}", file.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}

/// A module as the body of a function, and what it gives. `known` are those before it.
fn convert(text: &str, known: &BTreeMap<String, Exports>) -> (String, Exports) {
    let mut body = String::with_capacity(text.len());
    let mut exports = Exports::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let is_statement = ["import ", "export {", "export *"].iter().any(|start| line.starts_with(start));
        if !is_statement {
            body.push_str(declaration(line, &mut exports));
            body.push('\n');
            continue;
        }
        let mut statement = line.to_owned();
        while !statement.ends_with(';') {
            let Some(next) = lines.next() else { break };
            statement.push(' ');
            statement.push_str(next.trim());
        }
        let from = statement.split('\'').nth(1).map(variable_of);
        let names = statement.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(names, _)| pairs(names));
        match (statement.starts_with("import "), names, from) {
            (true, Some(names), Some(from)) => {
                let names: Vec<String> = names.iter().map(|(one, other)| format!("{one}: {other}")).collect();
                let _ = writeln!(body, "const {{ {} }} = {from};", names.join(", "));
            }
            (true, None, _) => {}
            (_, Some(names), Some(from)) => {
                exports.extend(names.into_iter().map(|(one, other)| (other, format!("{from}.{one}"))));
            }
            (_, Some(names), None) => exports.extend(names.into_iter().map(|(one, other)| (other, one))),
            (_, None, from) => {
                let from = from.unwrap_or_default();
                let names = known.get(&from).into_iter().flatten();
                exports.extend(names.map(|(name, _)| (name.clone(), format!("{from}.{name}"))));
            }
        }
    }
    (body, exports)
}

/// A line without `export`, whose name is noted.
fn declaration<'a>(line: &'a str, exports: &mut Exports) -> &'a str {
    let Some(rest) = line.strip_prefix("export ") else { return line };
    let words = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$');
    let name = words
        .filter(|word| !word.is_empty())
        .find(|word| !["async", "class", "const", "function", "let"].contains(word));
    if let Some(name) = name {
        exports.insert(name.to_owned(), name.to_owned());
    }
    rest
}

/// `a, b as c` as pairs: `(a, a)`, `(b, c)`.
fn pairs(names: &str) -> Vec<(String, String)> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let pair = |name: &str| {
        let (one, other) = name.split_once(" as ").unwrap_or((name, name));
        (one.trim().to_owned(), other.trim().to_owned())
    };
    names.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_become_one_that_gives_what_the_last_does() {
        let a = "// Words.\n\nexport const one = 1;\n/** Two. */\nexport async function two() {\n  return one;\n}\n";
        let b =
            "import { one, two as zwei } from './a.js';\nexport { one };\nexport class Three {\n  four = zwei;\n}\n";
        let c = "import {\n  Three,\n} from './b-b.js';\nimport './a.js';\nexport * from './a.js';\n\
                 export { one as uno } from '/x/b-b.js';\nexport const five = Three;\n";
        let expected = "const m_a = (() => {\nconst one = 1;\nasync function two() {return one;\n}\nreturn { one: \
                        one, two: two };\n})();\nconst m_b_b = (() => {\nconst { one: one, two: zwei } = m_a;\nclass \
                        Three {four = zwei;\n}\nreturn { Three: Three, one: one };\n})();\nconst m_c = (() => {\n\
                        const { Three: Three } = m_b_b;\nconst five = Three;\nreturn { five: five, one: m_a.one, two: \
                        m_a.two, uno: m_b_b.one };\n})();\nexport const { five, one, two, uno } = m_c;\n";
        assert_eq!(bundle(&[("a.js", a), ("b-b.js", b), ("c.js", c)]), expected);
    }

    #[test]
    fn styles_lose_spaces_that_mean_nothing() {
        let text = "/* A */\n.a, .b > c:hover {\n  color: red; margin: 0 1px;\n}\n.d::after { content: \": {, \"; }\n\
                    .e\n  .f { }";
        assert_eq!(
            compact_styles(text),
            ".a,.b > c:hover{color:red;margin:0 1px;}.d::after{content:\": {, \";}.e .f{}"
        );
    }

    #[test]
    fn lines_that_are_comments_are_left_out_and_others_stay() {
        let text =
            "/**\n * A\n */\na();\n  // b\n/** @type {B} */ (b).c();\nconst d = 'http://e'; // f\n/* g */ /* h */\n";
        assert_eq!(without_comments(text), "a();\n(b).c();\nconst d = 'http://e'; // f\n");
    }
}
