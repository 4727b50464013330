//! The table of options in `src/guide/configuration.md` is made from the options. Compiled for one system only, since
//! the default of `tailscaled-socket` depends on it.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use super::Config;
use crate::base::options::OptionSpec;

const BEGIN: &str = "<!-- options -->\n\n";
const END: &str = "\n<!-- /options -->";

fn row(option: &OptionSpec) -> String {
    let default = match option.default.join(",") {
        none if none.is_empty() => "none".to_owned(),
        default => format!("`{default}`"),
    };
    let range = option.range.as_deref().unwrap_or_default();
    format!("| `{}` | {default} | {range} | {} |\n", option.name, option.help.replace('|', "\\|"))
}

#[test]
fn the_configuration_chapter_lists_every_option() {
    let rows: String = Config::default().specs().iter().map(row).collect();
    assert!(rows.lines().count() > 50, "{rows}");
    let table = format!("| option | default | range | meaning |\n|---|---|---|---|\n{rows}");
    let chapter = crate::guide::CHAPTERS.iter().find(|chapter| chapter.slug == "configuration").unwrap();
    let (_, rest) = chapter.markdown.split_once(BEGIN).unwrap();
    let (written, _) = rest.split_once(END).unwrap();
    assert!(written == table, "src/guide/configuration.md must have this table instead:\n\n{table}");
}
