//! Signed links (pure): `/s/{expires}.{signature}/client_ids/…` opens a client's or one
//! device's streams until it expires, to whoever has it.
//!
//! The signature stands in front of the path and not behind a question mark: what a playlist
//! names is relative to it, so every segment has the signature too, and playlists stay as they
//! are. It is HMAC-SHA256 (RFC 2104), cut to 128 bits as section 5 allows, over what it opens
//! and until when; compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::{ClientId, DeviceKey, Secret, UtcMillis};

/// How much of the HMAC is in a link.
const SIGNATURE_BYTES: usize = 16;

/// A key has at least so many bytes: as many as are kept of what it makes.
pub const LEAST_KEY_BYTES: usize = 32;

/// Links of the page last for one to two times this.
const PAGE_LINK_MILLIS: i64 = 3_600_000;

/// What a link opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All devices of a client.
    Client(ClientId),
    /// One device.
    Device(DeviceKey),
}

impl Scope {
    /// The path below which it opens everything, for a person.
    pub fn path(&self) -> String {
        match self {
            Self::Client(client) => format!("/client_ids/{client}/"),
            Self::Device(key) => format!("/client_ids/{}/device_id/{}/", key.client, key.device),
        }
    }

    /// What is signed: ids hold no line breaks, so no two scopes say the same.
    fn text(&self, expires_secs: i64) -> String {
        match self {
            Self::Client(client) => format!("link 1\n{expires_secs}\nclient\n{client}\n"),
            Self::Device(key) => {
                format!("link 1\n{expires_secs}\ndevice\n{}\n{}\n", key.client, key.device)
            }
        }
    }
}

/// Why a link does not open something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkFault {
    /// It was right and is over.
    #[error("has expired")]
    Expired,
    /// It was changed, signed with another key, or made for something else.
    #[error("does not open this")]
    Wrong,
}

/// Makes links and knows its own again.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// Signs with this key; none if it is shorter than [`LEAST_KEY_BYTES`].
    pub fn new(key: &Secret) -> Option<Self> {
        Self::of_bytes(key.expose().as_bytes())
    }

    /// Signs with a key that ends with this process.
    pub fn fresh() -> Option<Self> {
        Self::of_bytes(&rand::random::<[u8; LEAST_KEY_BYTES]>())
    }

    fn of_bytes(key: &[u8]) -> Option<Self> {
        if key.len() < LEAST_KEY_BYTES {
            return None;
        }
        Hmac::new_from_slice(key).ok().map(Self)
    }

    /// What to put before a path that starts with `/client_ids/`, so that it opens `scope` until
    /// `until`, to the second.
    pub fn prefix(&self, scope: &Scope, until: UtcMillis) -> String {
        let expires_secs = until.0.div_euclid(1_000);
        let signature = self.mac(scope, expires_secs).finalize().into_bytes();
        let hex: String =
            signature.iter().take(SIGNATURE_BYTES).map(|byte| format!("{byte:02x}")).collect();
        format!("/s/{expires_secs}.{hex}")
    }

    /// Whether `signature`, the part behind `/s/`, opens a device at `now`.
    ///
    /// # Errors
    /// [`LinkFault`].
    pub fn verify(
        &self,
        signature: &str,
        key: &DeviceKey,
        now: UtcMillis,
    ) -> Result<(), LinkFault> {
        let (expires, hex) = signature.split_once('.').ok_or(LinkFault::Wrong)?;
        let expires_secs: i64 = expires.parse().map_err(|_| LinkFault::Wrong)?;
        let given = bytes(hex).ok_or(LinkFault::Wrong)?;
        let scopes = [Scope::Device(key.clone()), Scope::Client(key.client.clone())];
        let is_right = |scope| self.mac(scope, expires_secs).verify_truncated_left(&given).is_ok();
        if !scopes.iter().any(is_right) {
            return Err(LinkFault::Wrong);
        }
        match now.0 < expires_secs.saturating_mul(1_000) {
            true => Ok(()),
            false => Err(LinkFault::Expired),
        }
    }

    fn mac(&self, scope: &Scope, expires_secs: i64) -> Hmac<Sha256> {
        self.0.clone().chain_update(scope.text(expires_secs))
    }
}

/// When a link of the page that is made at `now` expires: the same for all that are made within
/// an hour, so that a cache in between has one name for a segment.
pub fn page_link_until(now: UtcMillis) -> UtcMillis {
    let hours = now.0.div_euclid(PAGE_LINK_MILLIS).saturating_add(2);
    UtcMillis(hours.saturating_mul(PAGE_LINK_MILLIS))
}

/// Lower case only: one link has one spelling.
fn bytes(hex: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; SIGNATURE_BYTES];
    if hex.len() != 2 * SIGNATURE_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = UtcMillis(1_769_846_400_000);

    fn signer() -> Signer {
        Signer::new(&Secret::new("0123456789abcdef0123456789abcdef")).unwrap()
    }

    fn key(client: &str, device: &str) -> DeviceKey {
        DeviceKey::new(client, device).unwrap()
    }

    fn verify(prefix: &str, client: &str, device: &str, now: UtcMillis) -> Result<(), LinkFault> {
        signer().verify(prefix.strip_prefix("/s/").unwrap(), &key(client, device), now)
    }

    #[test]
    fn a_link_of_a_device_opens_it_alone_and_one_of_a_client_all_of_its_devices() {
        let until = NOW.plus_millis(60_000);
        let device = signer().prefix(&Scope::Device(key("acme", "gate")), until);
        assert_eq!(verify(&device, "acme", "gate", NOW), Ok(()));
        for (client, name) in [("acme", "door"), ("globex", "gate")] {
            assert_eq!(verify(&device, client, name, NOW), Err(LinkFault::Wrong));
        }
        let client = signer().prefix(&Scope::Client(ClientId::new("acme").unwrap()), until);
        assert_eq!(verify(&client, "acme", "door", NOW), Ok(()));
        assert_eq!(verify(&client, "globex", "gate", NOW), Err(LinkFault::Wrong));
    }

    #[test]
    fn a_link_ends_with_its_second_and_cannot_be_prolonged() {
        let link = signer().prefix(&Scope::Device(key("acme", "gate")), NOW);
        assert_eq!(verify(&link, "acme", "gate", NOW.plus_millis(-1)), Ok(()));
        assert_eq!(verify(&link, "acme", "gate", NOW), Err(LinkFault::Expired));
        let later = link.replace("1769846400", "1769850000");
        assert_eq!(verify(&later, "acme", "gate", NOW), Err(LinkFault::Wrong));
    }

    #[test]
    fn whatever_is_changed_makes_it_wrong() {
        let link = signer().prefix(&Scope::Device(key("acme", "gate")), NOW.plus_millis(60_000));
        let given = link.strip_prefix("/s/").unwrap();
        let mut changed: Vec<String> = (0..given.len())
            .map(|at| {
                let mut bytes = given.as_bytes().to_vec();
                bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
                String::from_utf8(bytes).unwrap()
            })
            .collect();
        changed.extend(["", ".", "1", "x.y", "9.é"].map(String::from));
        changed.extend([
            given.to_uppercase(),
            given[..given.len() - 2].into(),
            format!("{given}00"),
        ]);
        for text in changed {
            let verdict = signer().verify(&text, &key("acme", "gate"), NOW);
            assert_eq!(verdict, Err(LinkFault::Wrong), "{text}");
        }
        let other = Signer::fresh().unwrap();
        assert!(other.verify(given, &key("acme", "gate"), NOW).is_err());
        assert!(Signer::new(&Secret::new("short")).is_none());
    }

    #[test]
    fn links_of_the_page_last_an_hour_at_least_and_are_the_same_within_it() {
        let until = page_link_until(NOW);
        assert_eq!(until, page_link_until(NOW.plus_millis(PAGE_LINK_MILLIS - 1)));
        assert!(until.since(NOW.plus_millis(PAGE_LINK_MILLIS - 1)).as_secs() >= 3_600);
    }
}
