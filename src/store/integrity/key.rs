//! The key of MACs, and the SQL functions that compute them.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use sha2::Sha256;

use crate::base::entropy::{Entropy, SystemEntropy};

const KEY_BYTES: usize = 32;
/// Of SHA-256.
const BLOCK_BYTES: usize = 64;
/// Half of what SHA-256 gives, the least that RFC 2104 §5 recommends: each row pays for it.
const MAC_BYTES: usize = 16;
/// Characters of a key's id.
const ID_LENGTH: usize = 16;

/// 256 random bits. It shows itself to no log.
#[derive(Clone)]
pub(crate) struct IntegrityKey {
    bytes: [u8; KEY_BYTES],
    /// Ready to compute with: cheaper to clone than to make.
    hmac: Hmac<Sha256>,
}

impl IntegrityKey {
    pub(in crate::store) fn random() -> Self {
        let mut bytes = [0; KEY_BYTES];
        SystemEntropy.fill(&mut bytes);
        Self::from_bytes(bytes)
    }

    fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        // HMAC fills a key up to a block with zeros.
        let mut block = [0; BLOCK_BYTES];
        block.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        Self { bytes, hmac: Hmac::new(&block.into()) }
    }

    /// Reads what [`to_text`](Self::to_text) writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.trim_end().as_bytes()).ok()?;
        bytes.try_into().ok().map(Self::from_bytes)
    }

    /// As it stands in its file.
    pub(super) fn to_text(&self) -> String {
        format!("{}\n", HEXLOWER.encode(&self.bytes))
    }

    /// Tells keys apart, and nothing of them.
    pub(crate) fn id(&self) -> String {
        let mut id = self.mac("key", []);
        id.truncate(ID_LENGTH);
        id
    }

    /// The MAC of a row of `table` with these values: [`MAC_BYTES`] of it, as base64url.
    pub(super) fn mac<'a>(&self, table: &str, values: impl IntoIterator<Item = ValueRef<'a>>) -> String {
        let mut mac = self.hmac.clone();
        add(&mut mac, b't', table.as_bytes());
        for value in values {
            match value {
                ValueRef::Null => add(&mut mac, b'n', &[]),
                ValueRef::Integer(number) => add(&mut mac, b'i', &number.to_le_bytes()),
                ValueRef::Real(number) => add(&mut mac, b'r', &number.to_bits().to_le_bytes()),
                ValueRef::Text(text) => add(&mut mac, b's', text),
                ValueRef::Blob(bytes) => add(&mut mac, b'b', bytes),
            }
        }
        BASE64URL_NOPAD.encode(mac.finalize().into_bytes().get(..MAC_BYTES).unwrap_or_default())
    }
}

/// Adds a value so that no two lists of values are the same bytes.
fn add(mac: &mut Hmac<Sha256>, kind: u8, bytes: &[u8]) {
    mac.update(&[kind]);
    mac.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    mac.update(bytes);
}

impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IntegrityKey({})", self.id())
    }
}

/// Adds the SQL functions `row_mac(table, value…)`, which is NULL without a key, and `mac_matches(mac, table, value…)`,
/// which is 1 without a key: then nothing can be told. Functions that are there already are replaced.
pub(crate) fn add_functions(conn: &Connection, key: Option<&IntegrityKey>) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    let computing = key.cloned();
    conn.create_scalar_function("row_mac", -1, flags, move |context| {
        computing.as_ref().map(|key| mac_of(key, context, 0)).transpose()
    })?;
    let comparing = key.cloned();
    conn.create_scalar_function("mac_matches", -1, flags, move |context| {
        let Some(key) = &comparing else { return Ok(true) };
        Ok(context.get_raw(0) == ValueRef::Text(mac_of(key, context, 1)?.as_bytes()))
    })
}

/// The MAC of a row whose table is the argument at `first`, and its values those after that.
fn mac_of(key: &IntegrityKey, context: &Context<'_>, first: usize) -> rusqlite::Result<String> {
    let table: String = context.get(first)?;
    Ok(key.mac(&table, (first + 1..context.len()).map(|index| context.get_raw(index))))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn a_mac_is_of_the_table_and_each_value_and_of_nothing_else() {
        let key = IntegrityKey::from_bytes([7; KEY_BYTES]);
        let rows: [(&str, &[ValueRef<'_>]); 9] = [
            ("a", &[]),
            ("b", &[]),
            ("a", &[ValueRef::Null]),
            ("a", &[ValueRef::Integer(1)]),
            ("a", &[ValueRef::Real(1.0)]),
            ("a", &[ValueRef::Text(b"1")]),
            ("a", &[ValueRef::Blob(b"1")]),
            ("a", &[ValueRef::Text(b"1"), ValueRef::Text(b"2")]),
            ("a", &[ValueRef::Text(b"12"), ValueRef::Text(b"")]),
        ];
        for (at, (table, values)) in rows.iter().enumerate() {
            for (other, (other_table, other_values)) in rows.iter().enumerate() {
                let same = key.mac(table, values.iter().copied()) == key.mac(other_table, other_values.iter().copied());
                assert_eq!(same, at == other, "{table} {values:?}, {other_table} {other_values:?}");
            }
        }
        let another = IntegrityKey::random();
        assert_ne!(another.mac("a", []), key.mac("a", []));
        assert_eq!(IntegrityKey::parse(&another.to_text()).unwrap().id(), another.id());
        assert_eq!(format!("{key:?}"), format!("IntegrityKey({})", key.id()));
        // The first 16 bytes of HMAC-SHA-256 of 't', the length 1 and 'a', as OpenSSL computes it.
        assert_eq!(key.mac("a", []), "nI99tfJHMpe28SZw3etekA");
    }

    #[test]
    fn without_a_key_nothing_is_told_apart() {
        let conn = Connection::open_in_memory().unwrap();
        let ask = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap();
        add_functions(&conn, None).unwrap();
        assert_eq!(ask("SELECT row_mac('a', 1)"), None);
        assert_eq!(ask("SELECT CAST(mac_matches('x', 'a', 1) AS TEXT)").as_deref(), Some("1"));
        let key = IntegrityKey::random();
        add_functions(&conn, Some(&key)).unwrap();
        assert_eq!(ask("SELECT row_mac('a', 1)"), Some(key.mac("a", [ValueRef::Integer(1)])));
        assert_eq!(ask("SELECT CAST(mac_matches(row_mac('a', 1), 'a', 1) AS TEXT)").as_deref(), Some("1"));
        for other in ["row_mac('a', 2)", "row_mac('a', 1) || 'x'", "NULL", "1"] {
            let sql = format!("SELECT CAST(mac_matches({other}, 'a', 1) AS TEXT)");
            assert_eq!(ask(&sql).as_deref(), Some("0"), "{other}");
        }
    }
}
