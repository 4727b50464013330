//! Which paths may mean a file. Pure.

use percent_encoding::percent_decode_str;

/// The only name with a dot before it that is served, at the root of the folder (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// The decoded path of a file or, with `/` at its end, of a folder, relative to the folder that is served. `None`: the
/// path means neither. Hidden files, `..`, empty segments, encoded slashes, backslashes and control characters do not.
pub(super) fn relative(path: &str) -> Option<String> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let has_encoded_slash = decoded.matches('/').count() != path.matches('/').count();
    if has_encoded_slash || decoded.contains(|c: char| c == '\\' || c.is_control()) {
        return None;
    }
    let rest = decoded.strip_prefix('/')?;
    let (folders, file) = rest.rsplit_once('/').map_or((None, rest), |(folders, file)| (Some(folders), file));
    let mut names = folders.into_iter().flat_map(|folders| folders.split('/')).enumerate();
    let is_folder =
        |(at, name): (usize, &str)| !name.is_empty() && (!is_hidden(name) || (at == 0 && name == WELL_KNOWN));
    let is_file = !is_hidden(file) || (folders.is_none() && file == WELL_KNOWN);
    (names.all(is_folder) && is_file).then(|| rest.to_owned())
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::property_tests::cases;

    #[test]
    fn paths_of_files_are_decoded_once() {
        for (path, expect) in [
            ("/", ""),
            ("/index.html", "index.html"),
            ("/a%20b/%C3%A4.js", "a b/ä.js"),
            ("/a/b/", "a/b/"),
            ("/100%", "100%"),
            ("/%252e%252e/x", "%2e%2e/x"),
            ("/a..b/c.", "a..b/c."),
            ("/.well-known", ".well-known"),
            ("/.well-known/assetlinks.json", ".well-known/assetlinks.json"),
        ] {
            assert_eq!(relative(path).as_deref(), Some(expect), "{path}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_means_no_file() {
        for path in [
            "",
            "*",
            "x",
            "//",
            "//x",
            "/a//b",
            "/..",
            "/../x",
            "/a/..",
            "/a/../b",
            "/%2e%2e/x",
            "/.%2e/x",
            "/%2E./x",
            "/.",
            "/a/./b",
            "/.env",
            "/a/.git/config",
            "/.well-known/.secret",
            "/a/.well-known/x",
            "/.well-known/..",
            "/a%2fb",
            "/a%2Fb",
            "/..%2fx",
            "/%2f",
            "/a%5cb",
            "/a\\b",
            "/..\\x",
            "/%00",
            "/a%00.html",
            "/a%0d%0ab",
            "/%7f",
            "/%ff",
            "/%c0%ae%c0%ae/x",
            "/%c0%af",
        ] {
            assert_eq!(relative(path), None, "{path}");
        }
    }

    proptest! {
        #![proptest_config(cases(256))]
        #[test]
        fn no_path_leads_out_of_the_folder_or_to_what_is_hidden(
            path in "(/|%2[fFeE]|%5c|%00|\\.|\\\\|a|well-known){0,12}",
        ) {
            if let Some(relative) = relative(&format!("/{path}")) {
                let names: Vec<&str> = relative.split('/').collect();
                let last = names.len() - 1;
                for (at, name) in names.into_iter().enumerate() {
                    prop_assert!(!name.starts_with('.') || (at == 0 && name == ".well-known"), "{relative}");
                    prop_assert!(at == last || !name.is_empty(), "{relative}");
                    prop_assert!(!name.contains(['\\', '\0']), "{relative}");
                }
            }
        }
    }
}
