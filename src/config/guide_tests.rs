//! The table of options in `src/guide/configuration.md` is made from the options. Compiled for one system only, since
//! the default of `tailscaled-socket` depends on it.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use clap::Arg;

/// A flag that is no option: it has no value.
const CHECK: &str = "check-config";
const BEGIN: &str = "<!-- options -->\n\n";
const END: &str = "\n<!-- /options -->";

/// The row of an option. Its help ends with its default.
fn row(option: &Arg) -> String {
    let help = option.get_help().unwrap_or_else(|| panic!("{} has no help", option.get_id())).to_string();
    let (meaning, default) = help
        .strip_suffix(']')
        .and_then(|help| help.split_once(" [default: "))
        .unwrap_or_else(|| panic!("the help of {} does not end with its default", option.get_id()));
    let default = if default == "none" { default.to_owned() } else { format!("`{default}`") };
    format!("| `{}` | {default} | {} |\n", option.get_id(), meaning.replace('|', "\\|"))
}

#[test]
fn the_configuration_chapter_lists_every_option() {
    let program = super::program();
    let options = program.get_arguments().filter(|option| *option.get_id() != CHECK);
    let rows: String = options.map(row).collect();
    assert!(rows.lines().count() > 50, "{rows}");
    let table = format!("| option | default | meaning |\n|---|---|---|\n{rows}");
    let chapter = crate::guide::CHAPTERS.iter().find(|chapter| chapter.slug == "configuration").unwrap();
    let (_, rest) = chapter.markdown.split_once(BEGIN).unwrap();
    let (written, _) = rest.split_once(END).unwrap();
    assert!(written == table, "src/guide/configuration.md must have this table instead:\n\n{table}");
}
