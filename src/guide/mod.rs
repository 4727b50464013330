//! The chapters for people: part of this documentation, and served by the program at `/docs/`.
//!
//! A chapter is a Markdown file in this folder. Its Rust blocks are doc tests; its `sh` blocks are run by
//! `tests/it/guide.rs`, so a command that must not be run is marked `console`.

/// A chapter of the guide.
#[derive(Debug)]
pub(crate) struct Chapter {
    /// Its address below `/docs/`, and its file's name without `.md`.
    pub(crate) slug: &'static str,
    /// The text of its first line.
    pub(crate) title: &'static str,
    pub(crate) markdown: &'static str,
}

/// Link definitions for rustdoc. They come before those at the end of each file, which are for readers of the files,
/// and the first definition of a name counts.
macro_rules! links {
    () => {
        "[api]: crate::guide::api\n\
         [authentication]: crate::guide::authentication\n\
         [client]: crate::guide::client\n\
         [configuration]: crate::guide::configuration\n\
         [dashboard]: crate::guide::dashboard\n\
         [consistency]: crate::guide::consistency\n\
         [documents]: crate::guide::documents\n\
         [conflicts]: crate::guide::conflicts\n\
         [embedding]: crate::guide::embedding\n\
         [encounters]: crate::guide::encounters\n\
         [games]: crate::guide::games\n\
         [invitations]: crate::guide::invitations\n\
         [notifications]: crate::guide::notifications\n\
         [operations]: crate::guide::operations\n\
         [pages]: crate::guide::pages\n\
         [projects]: crate::guide::projects\n\
         [rate-limits]: crate::guide::rate_limits\n\
         [reconciliation]: crate::guide::reconciliation\n\
         [reverse-proxy]: crate::guide::reverse_proxy\n\
         [sessions]: crate::guide::sessions\n\
         [tailnet]: crate::guide::tailnet\n\
         [usage]: crate::guide::usage\n\
         [visibility]: crate::guide::visibility\n\n"
    };
}

macro_rules! chapters {
    ($($module:ident, $slug:literal, $title:literal;)*) => {
        $(
            #[doc = links!()]
            #[doc = include_str!(concat!($slug, ".md"))]
            pub mod $module {}
        )*

        /// All chapters, in reading order.
        pub(crate) const CHAPTERS: &[Chapter] = &[$(
            Chapter { slug: $slug, title: $title, markdown: include_str!(concat!($slug, ".md")) },
        )*];
    };
}

chapters! {
    api, "api", "HTTP API";
    dashboard, "dashboard", "Dashboard";
    documents, "documents", "Documents and streams";
    client, "client", "JavaScript client";
    pages, "pages", "Pages of your own";
    visibility, "visibility", "Visibility and access";
    authentication, "authentication", "Authentication";
    sessions, "sessions", "Sessions";
    invitations, "invitations", "Invitations";
    reverse_proxy, "reverse-proxy", "Behind a reverse proxy";
    tailnet, "tailnet", "Tailnet";
    games, "games", "Games";
    encounters, "encounters", "Encounters and interactions";
    notifications, "notifications", "Notifications";
    projects, "projects", "Projects";
    conflicts, "conflicts", "Offline edits and conflicts";
    consistency, "consistency", "Consistency";
    reconciliation, "reconciliation", "Reconciliation";
    rate_limits, "rate-limits", "Rate limits";
    usage, "usage", "Usage";
    embedding, "embedding", "Rules and embedding";
    operations, "operations", "Operations";
    configuration, "configuration", "Configuration";
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic fails the test")]

    use super::*;

    #[test]
    fn each_file_is_a_chapter_with_its_title_and_its_links_lead_to_chapters() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str().unwrap().strip_suffix(".md").map(str::to_owned))
            .collect();
        files.sort();
        let mut slugs: Vec<&str> = CHAPTERS.iter().map(|chapter| chapter.slug).collect();
        slugs.sort_unstable();
        assert_eq!(files, slugs);
        for chapter in CHAPTERS {
            assert!(chapter.markdown.starts_with(&format!("# {}\n", chapter.title)), "{}", chapter.slug);
            let definitions = chapter.markdown.lines().filter(|line| line.starts_with('[') && line.contains("]: "));
            for (name, target) in definitions.filter_map(|line| line.strip_prefix('[')?.split_once("]: ")) {
                assert_eq!(target, format!("{name}.md"), "{}", chapter.slug);
                assert!(slugs.contains(&name), "{}: {name}", chapter.slug);
                assert!(links!().contains(&format!("[{name}]: ")), "{name}");
            }
        }
    }
}
