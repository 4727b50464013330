//! A chapter's Markdown as HTML.

use pulldown_cmark::{Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd, html};

/// A chapter, rendered.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The HTML after the title.
    pub(super) body: String,
    /// Its sections: the anchor and the HTML of each second-level heading.
    pub(super) sections: Vec<(String, String)>,
}

/// Renders a chapter. The text is trusted: it may hold HTML. Links to other chapters' files lead to their pages.
pub(super) fn render(markdown: &str) -> Rendered {
    let mut events = Parser::new_ext(markdown, Options::ENABLE_TABLES).map(to_page);
    let (mut body, mut sections) = (Vec::new(), Vec::new());
    while let Some(event) = events.next() {
        let Event::Start(Tag::Heading { level, .. }) = event else {
            body.push(event);
            continue;
        };
        // Takes the end of the heading, too.
        let words: Vec<_> =
            events.by_ref().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_)))).collect();
        // The page shows the title by itself.
        if level == HeadingLevel::H1 {
            continue;
        }
        let id = anchor(&words);
        if level == HeadingLevel::H2 {
            sections.push((id.clone(), to_html(words.iter().cloned())));
        }
        body.push(Event::Start(Tag::Heading { level, id: Some(id.into()), classes: Vec::new(), attrs: Vec::new() }));
        body.extend(words);
        body.push(Event::End(TagEnd::Heading(level)));
    }
    Rendered { body: to_html(body.into_iter()), sections }
}

fn to_html<'a>(events: impl Iterator<Item = Event<'a>>) -> String {
    let mut out = String::new();
    html::push_html(&mut out, events);
    out
}

/// Turns a link to a chapter's file into one to its page.
fn to_page(event: Event<'_>) -> Event<'_> {
    let Event::Start(Tag::Link { link_type, dest_url, title, id }) = event else { return event };
    let (file, fragment) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
    let dest_url = match file.strip_suffix(".md") {
        Some(slug) if link_type != LinkType::Autolink && fragment.is_empty() => format!("/docs/{slug}").into(),
        Some(slug) if link_type != LinkType::Autolink => format!("/docs/{slug}#{fragment}").into(),
        _ => dest_url,
    };
    Event::Start(Tag::Link { link_type, dest_url, title, id })
}

/// A heading's anchor, as forges make it: lower case, words joined by hyphens, other signs left out.
fn anchor(words: &[Event<'_>]) -> String {
    let text: String = words
        .iter()
        .filter_map(|event| match event {
            Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect();
    let kept = text.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guide::CHAPTERS;

    #[test]
    fn tables_headings_links_and_code_become_html() {
        let rendered = render(
            "# Title\n\nSee [the games][games].\n\n## When `x` < 1, stop\n\n| a | b |\n|---|---|\n\
                               | `{id}` | <1 |\n\n```sh\ncurl 'a' <b\n```\n\n[games]: games.md#end\n",
        );
        assert_eq!(rendered.sections, [("when-x--1-stop".to_owned(), "When <code>x</code> &lt; 1, stop".to_owned())]);
        for part in [
            "<p>See <a href=\"/docs/games#end\">the games</a>.</p>",
            "<h2 id=\"when-x--1-stop\">When <code>x</code> &lt; 1, stop</h2>",
            "<td><code>{id}</code></td><td>&lt;1</td>",
            "<pre><code class=\"language-sh\">curl 'a' &lt;b\n</code></pre>",
        ] {
            assert!(rendered.body.contains(part), "{part} is not in {}", rendered.body);
        }
        assert!(!rendered.body.contains("<h1"));
    }

    #[test]
    fn every_link_of_every_chapter_leads_to_a_section_or_another_site() {
        let pages: Vec<_> = CHAPTERS.iter().map(|chapter| (chapter, render(chapter.markdown))).collect();
        let sections =
            |slug: &str| pages.iter().find(|(chapter, _)| chapter.slug == slug).map(|(_, page)| page.body.as_str());
        for (chapter, page) in &pages {
            for link in page.body.split("<a href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if link.starts_with("https://") {
                    continue;
                }
                let slug = link.strip_prefix("/docs/").unwrap_or_else(|| panic!("{}: {link}", chapter.slug));
                let (slug, fragment) = slug.split_once('#').unwrap_or((slug, ""));
                let body = sections(slug).unwrap_or_else(|| panic!("{}: {link}", chapter.slug));
                assert!(fragment.is_empty() || body.contains(&format!("id=\"{fragment}\"")), "{link}");
            }
        }
    }
}
