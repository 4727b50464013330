//! `rejoin invite` and `rejoin token`: letting people in, and scripts, by the running server.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::{Map, Value, json};

use super::CommandFailure;
use super::lists::{Column, escape_control_characters, print_items, text};
use super::server::{EXIT_REFUSED, OperatorClient};
use crate::cli::print;
use crate::config::{InviteOptions, TokenCommand};

const INVITATIONS: &str = "/api/v1/invitations";
const SERVICE_TOKENS: &str = "/api/v1/service-tokens";

/// Makes an invitation, and prints its link with a QR code for phones that look at the terminal.
pub(super) fn invite(server: &OperatorClient, options: InviteOptions, json: bool) -> Result<u8, CommandFailure> {
    let InviteOptions { documents, user, seat, uses, expires_in_seconds, to } = options;
    let seat = seat.map(|seat| seat.parse::<u32>().map_or(Value::from(seat), Value::from));
    let documents = (!documents.is_empty()).then_some(documents);
    let members = [
        ("documents", documents.map(Value::from)),
        ("user", user.map(Value::from)),
        ("seat", seat),
        ("uses", uses.map(Value::from)),
        ("expiresInSeconds", expires_in_seconds.map(Value::from)),
        ("to", to.map(Value::from)),
    ];
    let made = server.post_json(INVITATIONS, &object(members))?;
    if json {
        print(&format!("{made}\n"));
        return Ok(0);
    }
    let url = text(&made, "/url");
    print(&qr_code(&url)?);
    let lines = [
        ("link", url.clone()),
        ("uses", text(&made, "/uses")),
        ("good until", text(&made, "/expiresAt")),
        ("end it", format!("DELETE {INVITATIONS}/{}", text(&made, "/id"))),
    ];
    for (name, value) in lines {
        print(&format!("{name}: {}\n", escape_control_characters(&value)));
    }
    Ok(0)
}

fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<String, Value>>())
}

/// A text as a QR code of block characters, for terminals with light text on a dark ground; readers take the inverse
/// that others show, too.
fn qr_code(text: &str) -> Result<String, CommandFailure> {
    let failed = |error: qrcode::types::QrError| CommandFailure { why: error.to_string(), code: EXIT_REFUSED };
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(failed)?;
    let code = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Ok(format!("{code}\n"))
}

/// Makes, lists or ends service tokens.
pub(super) fn token(server: &OperatorClient, command: TokenCommand, json: bool) -> Result<u8, CommandFailure> {
    match command {
        TokenCommand::Create { name, access, documents, collections } => {
            let some = |names: Vec<String>| (!names.is_empty()).then(|| Value::from(names));
            let members = [
                ("name", Some(name.into())),
                ("access", Some(access.into())),
                ("documents", some(documents)),
                ("collections", some(collections)),
            ];
            let made = server.post_json(SERVICE_TOKENS, &object(members))?;
            // To be put into a variable as it is: what else there is to say goes nowhere in between.
            print(&if json { format!("{made}\n") } else { format!("{}\n", text(&made, "/token")) });
            Ok(0)
        }
        TokenCommand::List => {
            let mut list = server.get(SERVICE_TOKENS)?;
            let items = list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
            let columns: [Column; 5] = [
                ("TOKEN", |item| text(item, "/id")),
                ("NAME", |item| text(item, "/name")),
                ("ACCESS", |item| text(item, "/access")),
                ("REACHES", reach),
                ("LAST USED", |item| text(item, "/lastUsedAt")),
            ];
            Ok(print_items(items.unwrap_or_default(), json, &columns))
        }
        TokenCommand::End { id } => {
            server.delete(&format!("{SERVICE_TOKENS}/{id}"))?;
            if json {
                print(&format!("{}\n", json!({ "ended": id.as_str() })));
            }
            Ok(0)
        }
    }
}

/// The documents and collections that a token reaches.
fn reach(item: &Value) -> String {
    let names = |member: &str| item.get(member).and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = names("collections").chain(names("documents")).filter_map(Value::as_str).collect();
    if names.is_empty() { "everything".to_owned() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn a_qr_code_is_of_block_characters_and_has_a_light_border() {
        let code = qr_code("http://192.168.1.20:7766/join#rejoin_invitation_x").unwrap();
        let lines: Vec<&str> = code.lines().collect();
        assert!(lines.len() > 15 && lines.iter().all(|line| line.chars().all(|c| " ▀▄█".contains(c))), "{code}");
        assert!(lines.first().unwrap().chars().all(|c| c == '█'), "{code}");
    }

    #[test]
    fn what_is_not_given_is_left_out() {
        let body = object([("a", Some(json!(1))), ("b", None)]);
        assert_eq!(body, json!({ "a": 1 }));
        assert_eq!(reach(&json!({ "documents": null, "collections": null })), "everything");
        assert_eq!(reach(&json!({ "documents": ["games/g1"], "collections": ["notes"] })), "notes games/g1");
    }
}
