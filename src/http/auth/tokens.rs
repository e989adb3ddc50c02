//! The file of tokens: which there are, whose devices each opens, until when (pure).
//!
//! ```yaml
//! - name: portal of acme              # for people; optional
//!   token: a-long-random-text         # or its SHA-256, so that the file holds no secret:
//!   clients: [acme]
//! - name: control room
//!   sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//!   clients: "*"
//!   expires: 2027-01-01T00:00:00Z
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::Grant;
use crate::model::{ClientId, UtcMillis};

/// A shorter token could be guessed.
const LEAST_TOKEN_CHARS: usize = 16;

/// Whose devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Clients {
    /// Everybody's.
    All,
    /// Those of these clients.
    Only(Arc<BTreeSet<ClientId>>),
}

impl Clients {
    /// Whether this client is one of them.
    pub fn contain(&self, client: &ClientId) -> bool {
        match self {
            Self::All => true,
            Self::Only(clients) => clients.contains(client),
        }
    }
}

/// Why a text is not a list of tokens. Says where and what, and never what stands there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokensError {
    /// It is not YAML of this shape.
    #[error(
        "line {line} is not right: it takes a list of entries with token or sha256, with clients \
         (a list of ids, or \"*\"), and with name and expires if you like"
    )]
    Shape {
        /// Which line, from 1; 0 if it is not known.
        line: u64,
    },
    /// One entry says nothing, or twice the same.
    #[error("entry {entry} {what}")]
    Entry {
        /// Which one, from 1.
        entry: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Every token there is.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Known>);

#[derive(Clone, Debug)]
struct Known {
    sha256: [u8; 32],
    grant: Grant,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    #[expect(dead_code, reason = "for the people who keep the file")]
    name: Option<String>,
    token: Option<String>,
    sha256: Option<String>,
    clients: Listed,
    expires: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Word(String),
    Ids(Vec<String>),
}

impl Tokens {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// [`TokensError`]: the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let entries: Vec<Entry> = serde_yaml::from_str(text).map_err(|error| {
            let line = error.location().map_or(0, |location| location.line() as u64);
            TokensError::Shape { line }
        })?;
        let read = |(index, entry): (usize, Entry)| {
            entry.read().map_err(|what| TokensError::Entry { entry: index + 1, what })
        };
        Ok(Self(entries.into_iter().enumerate().map(read).collect::<Result<_, _>>()?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a token opens at `now`; none if it is not known or has expired. Takes the same time
    /// whichever token it is, and whether it is one.
    pub(super) fn grant(&self, token: &str, now: UtcMillis) -> Option<Grant> {
        let given: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for known in &self.0 {
            let same: Choice = known.sha256.ct_eq(&given);
            if bool::from(same) {
                found = Some(known);
            }
        }
        let grant = &found?.grant;
        grant.expires_at.is_none_or(|expires| now < expires).then(|| grant.clone())
    }
}

impl Entry {
    fn read(self) -> Result<Known, &'static str> {
        let sha256 = match (self.token, self.sha256) {
            (Some(token), None) if token.chars().count() < LEAST_TOKEN_CHARS => {
                return Err("has a token of less than 16 characters, which could be guessed");
            }
            (Some(token), None) => Sha256::digest(token.as_bytes()).into(),
            (None, Some(hex)) => {
                from_hex(&hex).ok_or("has a sha256 that is not 64 hexadecimal digits")?
            }
            _ => return Err("needs either token or sha256"),
        };
        let clients = match self.clients {
            Listed::Word(word) if word == "*" => Clients::All,
            Listed::Word(_) => return Err("has clients that are neither a list nor \"*\""),
            Listed::Ids(ids) => {
                let ids: Result<BTreeSet<_>, _> = ids.iter().map(|id| ClientId::new(id)).collect();
                Clients::Only(Arc::new(ids.map_err(|_| "names a client that cannot be one")?))
            }
        };
        let expires_at = match self.expires {
            Some(text) => Some(
                UtcMillis::parse_rfc3339(&text)
                    .ok_or("expires at no time: it takes RFC 3339 with a zone")?,
            ),
            None => None,
        };
        Ok(Known { sha256, grant: Grant { clients, expires_at } })
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
- name: the portal
  token: a-long-random-text
  clients: [acme, 'globex']
# The SHA-256 of \"another-long-random-text\".
- sha256: HASH
  clients: \"*\"
  expires: 2027-01-01T00:00:00Z
";

    fn client(id: &str) -> ClientId {
        ClientId::new(id).unwrap()
    }

    #[test]
    fn a_token_opens_what_its_entry_says_until_it_expires() {
        let hash: String = Sha256::digest(b"another-long-random-text")
            .iter()
            .map(|b| format!("{b:02X}"))
            .collect();
        let tokens = Tokens::parse(&FILE.replace("HASH", &hash)).unwrap();
        let now = UtcMillis::parse_rfc3339("2026-12-31T23:59:59Z").unwrap();
        let portal = tokens.grant("a-long-random-text", now).unwrap();
        assert!(
            portal.clients.contain(&client("acme")) && portal.clients.contain(&client("globex"))
        );
        assert!(!portal.clients.contain(&client("initech")));
        let room = tokens.grant("another-long-random-text", now).unwrap();
        assert!(room.clients.contain(&client("initech")));
        assert!(tokens.grant("another-long-random-text", now.plus_millis(1_000)).is_none());
        for other in ["", "a-long-random-tex", "a-long-random-text ", &hash] {
            assert!(tokens.grant(other, now).is_none(), "{other}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_never_shown() {
        for (text, part) in [
            ("- token: hunter2\n  clients: []\n", "16 characters"),
            ("- clients: []\n", "either token or sha256"),
            ("- token: hunter2-hunter2-hunter2\n  sha256: ab\n  clients: []\n", "either"),
            ("- sha256: hunter2\n  clients: []\n", "64 hexadecimal"),
            ("- token: hunter2-hunter2-hunter2\n  clients: acme\n", "neither a list"),
            ("- token: hunter2-hunter2-hunter2\n  clients: ['..']\n", "cannot be one"),
            ("- token: hunter2-hunter2-hunter2\n  clients: []\n  expires: soon\n", "RFC 3339"),
            ("- token: hunter2-hunter2-hunter2\n", "line 1"),
            ("- token: hunter2-hunter2-hunter2\n  clients: []\n  secret: x\n", "line 3"),
            ("- token: 'hunter2\n", "line"),
            ("hunter2", "line"),
        ] {
            let error = Tokens::parse(text).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{text:?}: {error}");
        }
        assert!(Tokens::parse("[]").unwrap().is_empty());
    }
}
