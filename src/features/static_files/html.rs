//! Whether an HTML file brings a policy of its own. Pure.

/// Bytes from the start of a file in which a policy is looked for. It must stand in the head, before what it governs.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Elements whose text is no markup.
const RAW_TEXT: [&str; 5] = ["script", "style", "title", "noscript", "template"];

/// Whether the head of a page has `<meta http-equiv="Content-Security-Policy">`.
pub(super) fn has_own_policy(html: &[u8]) -> bool {
    let mut rest = html;
    while let Some(at) = memchr::memchr(b'<', rest) {
        rest = rest.get(at + 1..).unwrap_or_default();
        if let Some(comment) = rest.strip_prefix(b"!--") {
            rest = after(comment, b"-->");
            continue;
        }
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let (name, attributes) = rest.split_at_checked(length).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"body") {
            return false;
        }
        let (is_policy, following) = read_attributes(attributes);
        if is_policy && name.eq_ignore_ascii_case(b"meta") {
            return true;
        }
        rest = match RAW_TEXT.iter().find(|raw| name.eq_ignore_ascii_case(raw.as_bytes())) {
            Some(raw) => after_end_tag(following, raw.as_bytes()),
            None => following,
        };
    }
    false
}

/// Reads to the end of a tag: whether one of its attributes is the policy's, and what follows.
fn read_attributes(mut rest: &[u8]) -> (bool, &[u8]) {
    let mut is_policy = false;
    loop {
        rest = rest.trim_ascii_start();
        match rest.split_first() {
            None => return (is_policy, rest),
            Some((b'>', following)) => return (is_policy, following),
            Some((b'/' | b'=', following)) => {
                rest = following;
                continue;
            }
            Some(_) => {}
        }
        let name = take_until(&mut rest, |byte| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/'));
        let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") else { continue };
        rest = value.trim_ascii_start();
        let value = match rest.split_first() {
            Some((quote @ (b'"' | b'\''), quoted)) => {
                rest = quoted;
                let value = take_until(&mut rest, |byte| byte == *quote);
                rest = rest.get(1..).unwrap_or_default();
                value
            }
            _ => take_until(&mut rest, |byte| byte.is_ascii_whitespace() || byte == b'>'),
        };
        is_policy |= name.eq_ignore_ascii_case(b"http-equiv")
            && value.trim_ascii().eq_ignore_ascii_case(b"content-security-policy");
    }
}

/// Takes the bytes before the first one that `ends`.
fn take_until<'a>(rest: &mut &'a [u8], ends: impl Fn(u8) -> bool) -> &'a [u8] {
    let length = rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len());
    let (taken, left) = rest.split_at_checked(length).unwrap_or_default();
    *rest = left;
    taken
}

fn after<'a>(text: &'a [u8], end: &[u8]) -> &'a [u8] {
    memchr::memmem::find(text, end).and_then(|at| text.get(at + end.len()..)).unwrap_or_default()
}

fn after_end_tag<'a>(mut text: &'a [u8], name: &[u8]) -> &'a [u8] {
    loop {
        text = after(text, b"</");
        if text.is_empty() || text.get(..name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name)) {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::property_tests::cases;

    #[test]
    fn a_policy_in_the_head_is_found_however_it_is_written() {
        for html in [
            r#"<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none'">"#,
            "<html><head><META content='x>y' HTTP-EQUIV = 'content-security-policy' /></head>",
            "<meta charset=utf-8><meta http-equiv=CONTENT-SECURITY-POLICY content=x>",
            "<title>a < b <meta></title><script>'<body>'</script><meta\nhttp-equiv=\" Content-Security-Policy \">",
            "<!-- <body> --><meta http-equiv=content-security-policy>",
        ] {
            assert!(has_own_policy(html.as_bytes()), "{html}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for html in [
            "",
            "<",
            "<meta",
            "<meta http-equiv",
            "<meta http-equiv=",
            "<!doctype html><title>x</title><p>Content-Security-Policy",
            "<!-- <meta http-equiv=content-security-policy> -->",
            "<!-- <meta http-equiv=content-security-policy>",
            "<script>const meta = '<meta http-equiv=content-security-policy>'</script>",
            "<head></head><body><meta http-equiv=content-security-policy>",
            "<meta http-equiv=content-security-policy-report-only>",
            "<meta name=content-security-policy content=x>",
            "<metadata http-equiv=content-security-policy>",
            "<meta title='http-equiv=content-security-policy'>",
        ] {
            assert!(!has_own_policy(html.as_bytes()), "{html}");
        }
    }

    proptest! {
        #![proptest_config(cases(256))]
        #[test]
        fn any_text_is_read_to_its_end(text in "(<|>|\"|'|=|/|!--|-->|meta|script|</script| |http-equiv|x){0,40}") {
            has_own_policy(text.as_bytes());
        }
    }
}
