//! Rust source without what only looks like code, and the paths that are named in it.

/// A file of the product, its tests and comments blanked out.
pub struct Source {
    /// Relative to the repository.
    pub path: String,
    /// Where it is in the crate: `["base", "clock"]`; empty for the crate's roots.
    pub module: Vec<String>,
    /// The code; lines are where they were.
    pub code: String,
    /// Lines that are no tests.
    pub lines: usize,
    /// Every path named in it, as far as it can be told without a compiler.
    pub names: Vec<Name>,
}

/// A path that the code names.
#[derive(Debug, PartialEq, Eq)]
pub struct Name {
    /// For our own: from the crate's root on. For others: beginning with the library.
    pub segments: Vec<String>,
    /// Whether it is in this crate.
    pub ours: bool,
    /// Whether it stands in a `use`.
    pub imported: bool,
}

/// Whether a file below `src/` holds tests only.
pub fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let (code, lines) = without_tests(&code_only(text));
        let code = code.replace(TEST, " ");
        let names = names(&code, &module);
        Self { path: path.to_owned(), module, code, lines, names }
    }
}

/// The text with comments and literals replaced by blanks.
pub fn code_only(text: &str) -> String {
    blanked(text, |_| true)
}

/// The text with comments and tests replaced by blanks.
pub fn code_and_literals(text: &str) -> String {
    let uncommented = blanked(text, |begins| begins == '/');
    // Where tests are is told from code alone.
    let (code, _) = without_tests(&code_only(text));
    uncommented.chars().zip(code.chars()).map(|(c, kept)| if kept == TEST { ' ' } else { c }).collect()
}

/// The text with those comments and literals replaced by blanks of which `which` takes the first character.
fn blanked(text: &str, which: impl Fn(char) -> bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        match literal_end(&chars, at) {
            Some(end) => {
                let blank = which(chars[at]);
                out.extend(chars[at..end].iter().map(|c| if blank && *c != '\n' { ' ' } else { *c }));
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `None` if none begins there.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let is = |offset: usize, c: char| chars.get(at + offset) == Some(&c);
    let in_word = at > 0 && is_word(chars[at - 1]) && !matches!(chars[at - 1], 'b' | 'c');
    match chars[at] {
        '/' if is(1, '/') => Some(find(chars, at, |i| chars[i] == '\n')),
        '/' if is(1, '*') => {
            let (mut depth, mut i) = (1, at + 2);
            while i < chars.len() && depth > 0 {
                match (chars[i], chars.get(i + 1)) {
                    ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
                    ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
            }
            Some(i)
        }
        '"' => Some(quoted_end(chars, at + 1, '"')),
        'r' if !in_word => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            let closes = |i: usize| {
                i > at + hashes + 1 && chars[i] == '"' && (1..=hashes).all(|h| chars.get(i + h) == Some(&'#'))
            };
            is(1 + hashes, '"').then(|| (find(chars, at, closes) + hashes + 1).min(chars.len()))
        }
        '\'' if is(1, '\\') => Some(quoted_end(chars, at + 1, '\'')),
        '\'' if is(2, '\'') => Some(at + 3),
        _ => None,
    }
}

fn find(chars: &[char], from: usize, stop: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|i| stop(*i)).unwrap_or(chars.len())
}

fn quoted_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the item that begins before `from` ends: behind its block, or its semicolon when it has none.
pub fn item_end(code: &str, from: usize) -> usize {
    let (mut nested, mut blocks) = (0_usize, 0_usize);
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b'{' => blocks += 1,
            b'}' if blocks <= 1 => return offset + 1,
            b'}' => blocks -= 1,
            b';' if nested == 0 && blocks == 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Stands for a character of a test.
const TEST: char = '\0';

/// The code with [`TEST`] for each character of an item under `#[cfg(test)]`, and how many lines are left.
fn without_tests(code: &str) -> (String, usize) {
    const MARK: &str = "#[cfg(test)]";
    let (mut out, mut lines, mut rest) = (String::new(), code.lines().count(), code);
    while let Some(start) = rest.find(MARK) {
        let end = item_end(rest, start + MARK.len());
        out.push_str(&rest[..start]);
        let item = &rest[start..end];
        lines -= item.lines().count();
        out.extend(item.chars().map(|c| if c == '\n' { '\n' } else { TEST }));
        rest = &rest[end..];
    }
    out.push_str(rest);
    (out, lines)
}

/// Words, `::`, and single characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("::") => 2,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        out.push(token);
        rest = after.trim_start();
    }
    out
}

fn names(code: &str, module: &[String]) -> Vec<Name> {
    let tokens = tokens(code);
    let is_name = |token: &str| token.chars().next().is_some_and(is_word);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        // `use<'a>` in a type lists what it captures.
        if tokens[at] == "use" && tokens.get(at + 1) != Some(&"<") {
            let mut paths = Vec::new();
            at = use_tree(&tokens, at + 1, &[], &mut paths);
            found.extend(paths.into_iter().map(|path| resolve(path, module, true)));
        } else if is_name(tokens[at]) {
            let mut path = vec![tokens[at]];
            while tokens.get(at + 1) == Some(&"::") && tokens.get(at + 2).is_some_and(|token| is_name(token)) {
                path.push(tokens[at + 2]);
                at += 2;
            }
            if path.len() > 1 {
                found.push(resolve(path, module, false));
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one branch of a `use`; returns the place of the token that ends it: `,`, `}` or `;`.
fn use_tree<'a>(tokens: &[&'a str], mut at: usize, prefix: &[&'a str], out: &mut Vec<Vec<&'a str>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        match *token {
            "::" => {}
            "," | "}" | ";" => break,
            "as" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| !matches!(*token, "}" | ";")) {
                    at = use_tree(tokens, at, &path, out);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            name => path.push(name),
        }
        at += 1;
    }
    if path.len() > prefix.len() {
        out.push(path);
    }
    at
}

/// Makes a path absolute.
fn resolve(path: Vec<&str>, module: &[String], imported: bool) -> Name {
    let mut base = module.to_vec();
    let mut rest = path.as_slice();
    let mut ours = false;
    while let Some((first, after)) = rest.split_first() {
        match *first {
            "crate" | "rejoin" if !ours => base.clear(),
            "self" if !ours => {}
            "super" => {
                base.pop();
            }
            _ => break,
        }
        ours = true;
        rest = after;
    }
    if !ours {
        base.clear();
    }
    base.extend(rest.iter().map(|segment| (*segment).to_owned()));
    Name { segments: base, ours, imported }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expect: &[&str]) {
        let told = |name: &Name| format!("{}{}", if name.ours { "crate::" } else { "" }, name.segments.join("::"));
        let got: Vec<String> = Source::new(path, text).names.iter().map(told).collect();
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        for text in [
            "// a::b\n",
            "/* a::b /* c::d */ e::f */",
            r#"" a::b \" c::d ""#,
            r###"r#" a::b " c::d "#"###,
            r#"b"a::b""#,
            "'\\''",
        ] {
            assert_eq!(code_only(text).trim(), "b".repeat(usize::from(text.starts_with('b'))), "{text}");
        }
        assert_eq!(code_only("let x: &'a str = f('\"', y);").replace(' ', ""), "letx:&'astr=f(,y);");
        assert_eq!(code_only("\"a\nb\"\nc").lines().count(), 3);
    }

    #[test]
    fn paths_are_found_and_made_absolute() {
        check(
            "src/a.rs",
            "use crate::{b::{c, d as e}, f::*, g::{self}};",
            &["crate::b::c", "crate::b::d", "crate::f::*", "crate::g::self"],
        );
        check(
            "src/a/b.rs",
            "use super::c; pub use super::super::d; fn f() { self::g::h(); }",
            &["crate::a::c", "crate::d", "crate::a::b::g::h"],
        );
        check("src/a.rs", "fn f() -> impl G + use<> { h(); i::j() }", &["i::j"]);
        check("src/a/mod.rs", "fn f(x: std::io::Error) -> rejoin::b::C { d }", &["std::io::Error", "crate::b::C"]);
        check("src/lib.rs", "use a; use b::{c::{d}, e}; fn f() { g.h::<i::J>() }", &["a", "b::c::d", "b::e", "i::J"]);
    }

    #[test]
    fn tests_do_not_count() {
        let tests = "#[cfg(test)]\nmod tests {\n    use b::c;\n    fn d() {}\n}\n#[cfg(test)]\nmod more;\n";
        let text = &format!("fn a() {{}}\n{tests}fn e() {{}}\n");
        let source = Source::new("src/a.rs", text);
        assert_eq!((source.lines, source.names.len()), (2, 0));
        assert!(source.code.contains("fn e") && !source.code.contains("fn d"));
        assert!(
            is_test_file("src/a/tests.rs") && is_test_file("src/a/tests/b.rs") && !is_test_file("src/a/latests.rs")
        );
    }
}
