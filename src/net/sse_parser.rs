//! Reads `text/event-stream` as the HTML standard has it, from pieces cut anywhere.

use std::time::Duration;

/// An event that reached its empty line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SseMessage {
    /// Its type; `message` when the stream named none.
    pub(crate) event: String,
    /// Its data; several `data` lines are joined by line feeds.
    pub(crate) data: String,
    /// The last event id when it was dispatched: its own, or that of an earlier event.
    pub(crate) last_event_id: String,
}

/// A line, or the data of one event, that is larger than the reader accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub(crate) struct TooLarge(usize);

/// An incremental reader. Keeps at most the unfinished line and the unfinished event, each within its bound.
#[derive(Debug)]
pub(crate) struct SseParser {
    bytes_max: usize,
    line: Vec<u8>,
    /// Whether the last byte was a CR: an LF right after it belongs to it.
    after_cr: bool,
    /// Whether no line has ended yet: only then a byte order mark is one.
    at_start: bool,
    event: String,
    data: String,
    /// The latest `id` line. It counts once an empty line ends its event.
    id: String,
    last_event_id: String,
    retry: Option<Duration>,
}

impl SseParser {
    /// A reader of one connection. `last_event_id` is what the connection was resumed with (empty: nothing): an event
    /// that brings no id leaves it as it is. `bytes_max` bounds a line and the data of an event.
    pub(crate) fn new(last_event_id: &str, bytes_max: usize) -> Self {
        Self {
            bytes_max,
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            event: String::new(),
            data: String::new(),
            id: last_event_id.to_owned(),
            last_event_id: last_event_id.to_owned(),
            retry: None,
        }
    }

    /// How long the stream asked to wait before a reconnect, if it did.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next piece and appends the events that it completes to `out`. After an error the reader is of no
    /// further use. What is unfinished when the stream ends is to be forgotten, says the standard.
    pub(crate) fn push(&mut self, mut piece: &[u8], out: &mut Vec<SseMessage>) -> Result<(), TooLarge> {
        while !piece.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = piece.strip_prefix(b"\n")
            {
                piece = rest;
                continue;
            }
            let end = memchr::memchr2(b'\r', b'\n', piece);
            let (head, rest) = piece.split_at(end.unwrap_or(piece.len()));
            if self.line.len() + head.len() > self.bytes_max {
                return Err(TooLarge(self.bytes_max));
            }
            self.line.extend_from_slice(head);
            let Some((terminator, rest)) = rest.split_first() else { return Ok(()) };
            self.after_cr = *terminator == b'\r';
            piece = rest;
            self.end_line(out)?;
        }
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<SseMessage>) -> Result<(), TooLarge> {
        let bytes = std::mem::take(&mut self.line);
        let mut bytes = bytes.as_slice();
        if std::mem::take(&mut self.at_start) {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        // Line ends are ASCII, so decoding line by line is the same as decoding the whole stream.
        let line = String::from_utf8_lossy(bytes);
        if line.is_empty() {
            self.dispatch(out);
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        self.field(field, value.strip_prefix(' ').unwrap_or(value))
    }

    /// A line that begins with a colon is a comment: its field is empty, and unknown like many others.
    fn field(&mut self, field: &str, value: &str) -> Result<(), TooLarge> {
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.data.len() + value.len() > self.bytes_max {
                    return Err(TooLarge(self.bytes_max));
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, out: &mut Vec<SseMessage>) {
        let (mut event, mut data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        self.id.clone_into(&mut self.last_event_id);
        if data.pop().is_none() {
            return;
        }
        if event.is_empty() {
            "message".clone_into(&mut event);
        }
        out.push(SseMessage { event, data, last_event_id: self.last_event_id.clone() });
    }

    /// The id to resume with: the latest whose event was complete, whether or not it had data.
    pub(crate) fn last_event_id(&self) -> &str {
        &self.last_event_id
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use crate::property_tests::cases;
    use proptest::prelude::*;

    use super::*;

    fn read_in(pieces: &[&[u8]]) -> Vec<SseMessage> {
        let mut parser = SseParser::new("", 1 << 16);
        let mut out = Vec::new();
        for piece in pieces {
            parser.push(piece, &mut out).unwrap();
        }
        out
    }

    /// Each event as `type|data|id`.
    fn check(stream: &[u8], expect: &[&str]) {
        let told = |m: &SseMessage| format!("{}|{}|{}", m.event, m.data, m.last_event_id);
        let got: Vec<String> = read_in(&[stream]).iter().map(told).collect();
        assert_eq!(got, expect, "{}", stream.escape_ascii());
    }

    #[test]
    fn lines_end_in_cr_lf_or_both() {
        check(b"data: a\n\ndata: b\r\rdata: c\r\n\r\n", &["message|a|", "message|b|", "message|c|"]);
        check(b"data: a\r\n\ndata: b\n\r\n", &["message|a|", "message|b|"]);
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        check(b"data: a\ndata:b\ndata\ndata:  c\n\n", &["message|a\nb\n\n c|"]);
        check(b": comment\nevent: change\nid: 7-ab\ndata: {}\nother: x\n\n", &["change|{}|7-ab"]);
        check(b"data\n\n", &["message||"]);
        check(b"event: gone\n\ndata: x\n\n", &["message|x|"]);
        check(b"data: unfinished\n", &[]);
        check(b"data: \xff!\n\n", &["message|\u{fffd}!|"]);
    }

    #[test]
    fn an_id_stays_until_the_next_and_one_with_nul_is_ignored() {
        check(b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", &["message|a|1", "message|b|1", "message|c|"]);
        check(b"id: 1\n\nid: 2\x003\ndata: a\n\n", &["message|a|1"]);
        let mut parser = SseParser::new("9-ff", 100);
        let mut out = Vec::new();
        parser.push(b"data: a\n\n", &mut out).unwrap();
        assert_eq!((out.len(), parser.last_event_id()), (1, "9-ff"));
        parser.push(b"id: 10\ndata: unfinished", &mut out).unwrap();
        assert_eq!(parser.last_event_id(), "9-ff", "what was not received whole must be sent again");
    }

    #[test]
    fn only_digits_make_a_retry() {
        let mut parser = SseParser::new("", 100);
        for (line, expect) in [("1500", 1500), ("-1", 1500), ("1.5", 1500), ("", 1500), ("2s", 1500), ("0", 0)] {
            parser.push(format!("retry: {line}\n").as_bytes(), &mut Vec::new()).unwrap();
            assert_eq!(parser.retry(), Some(Duration::from_millis(expect)), "{line}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_dropped_once() {
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n".as_bytes(), &["message|a|"]);
        assert_eq!(read_in(&[b"\xef", b"\xbb", b"\xbfdata: a\n\n"]).len(), 1);
    }

    #[test]
    fn what_does_not_end_is_refused_at_the_bound() {
        let mut parser = SseParser::new("", 10);
        assert_eq!(parser.push(b"data: 12345678901", &mut Vec::new()), Err(TooLarge(10)));
        let mut parser = SseParser::new("", 10);
        assert_eq!(parser.push(b"data:12345\ndata:123456\n", &mut Vec::new()), Err(TooLarge(10)));
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn cuts_change_nothing(
            lines in proptest::collection::vec(
                prop_oneof![
                    "data: ?[a-zä]{0,4}", "id: [0-9\0]{0,2}", "event: [a-z]{0,3}", "retry: [0-9x]{0,2}", ":.?", "",
                ],
                0..30,
            ),
            ends in proptest::collection::vec(prop_oneof!["\r", "\n", "\r\n"], 30),
            cuts in proptest::collection::vec(0_usize..400, 0..12),
        ) {
            let text: String = lines.into_iter().zip(ends).flat_map(|(line, end)| [line, end]).collect();
            let bytes = text.as_bytes();
            let within = cuts.into_iter().map(|cut| cut.min(bytes.len()));
            let mut cuts: Vec<usize> = within.chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let ranges = cuts.iter().zip(cuts.iter().skip(1));
            let pieces: Vec<&[u8]> = ranges.map(|(a, b)| bytes.get(*a..*b).unwrap()).collect();
            prop_assert_eq!(read_in(&pieces), read_in(&[bytes]));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(read_in(&single), read_in(&[bytes]));
        }
    }
}
