//! What may come in, and what is to become of it.

use serde_json::{Value, json};

use super::pictures::{self, Odd};

/// As large as the broker takes a message by default (5 MiB, `maxMessageSize`), less its
/// metadata. The client library cannot send a larger one in chunks.
pub const LARGEST_MESSAGE_BYTES: usize = 5 * 1024 * 1024 - 8 * 1024;

/// What lies where the frame's path says.
pub enum Placed {
    Bytes(Vec<u8>),
    Nothing,
    /// A good picture, a while after the message.
    Late,
    /// A link to a good picture outside of the base path.
    LinkOut,
    Folder,
}

/// What is to become of it.
pub enum Wanted {
    /// Parked, counted and logged for this reason.
    Refused(&'static str),
    /// Shown like any other; in this colour, where it has one.
    Shown(Option<[u8; 3]>),
}

pub struct Case {
    pub name: &'static str,
    pub placed: Placed,
    pub wanted: Wanted,
    change: Change,
}

/// What is done to a good message.
enum Change {
    None,
    /// To what it says.
    Field(&'static str, Option<Value>),
    /// To how it is written.
    Text(fn(Vec<u8>) -> Vec<u8>),
}

impl Case {
    fn new(name: &'static str, placed: Placed, wanted: Wanted, change: Change) -> Self {
        Self { name, placed, wanted, change }
    }

    /// Which of its camera's frames it is: what is to be looked at comes first.
    pub fn position(&self) -> usize {
        usize::from(!matches!(self.wanted, Wanted::Shown(Some(_))))
    }

    /// The message to publish in place of a good one.
    pub fn payload(&self, good: &[u8]) -> Vec<u8> {
        match &self.change {
            Change::None => good.to_vec(),
            Change::Text(change) => change(good.to_vec()),
            Change::Field(name, value) => {
                let mut message: Value = serde_json::from_slice(good).expect("a good message");
                let fields = message.as_object_mut().expect("an object");
                match value {
                    Some(value) => fields.insert((*name).to_owned(), value.clone()),
                    None => fields.remove(*name),
                };
                message.to_string().into_bytes()
            }
        }
    }
}

/// All of them.
pub fn all() -> Vec<Case> {
    let mut all = bad_messages();
    all.extend(bad_files());
    all.extend(odd_but_good());
    all
}

fn bad_messages() -> Vec<Case> {
    let field = |name, reason, field, value: Value| {
        let picture = Placed::Bytes(pictures::good(0));
        Case::new(name, picture, Wanted::Refused(reason), Change::Field(field, Some(value)))
    };
    let text = |name, reason, change| {
        let picture = Placed::Bytes(pictures::good(0));
        Case::new(name, picture, Wanted::Refused(reason), Change::Text(change))
    };
    let missing = |name, field| {
        let picture = Placed::Bytes(pictures::good(0));
        let wanted = Wanted::Refused("message_fields");
        Case::new(name, picture, wanted, Change::Field(field, None))
    };
    vec![
        text("not-json", "message_json", |_| b"<frame/>".to_vec()),
        text("nothing", "message_json", |_| Vec::new()),
        text("cut-off", "message_json", |good| good[..good.len() / 2].to_vec()),
        text("deep", "message_fields", |_| vec![b'['; 100_000]),
        text("list-of-values", "message_fields", |good| {
            let good: Value = serde_json::from_slice(&good).expect("a good message");
            let order = ["eventId", "clientId", "deviceId", "timestamp", "framePath", "requestId"];
            let mut values: Vec<_> = order.map(|name| good[name].clone()).into();
            values.extend([json!(1.5), json!("key"), json!({"lat": 1.0, "lon": 2.0})]);
            Value::Array(values).to_string().into_bytes()
        }),
        text("another-object", "message_fields", |_| b"{}".to_vec()),
        text("huge", "message_json", |mut good| {
            // Valid up to its last byte, which is missing.
            good.pop();
            good.extend(br#","more":""#);
            good.resize(LARGEST_MESSAGE_BYTES, b'x');
            good
        }),
        field("number-for-event", "message_fields", "eventId", json!(7)),
        field("object-for-device", "message_fields", "deviceId", json!({"id": "x"})),
        field("text-for-location", "message_fields", "location", json!("here")),
        missing("no-event", "eventId"),
        missing("no-path", "framePath"),
        missing("no-timestamp", "timestamp"),
        field("slash-in-event", "id", "eventId", json!("a/b")),
        field("dots-for-device", "id", "deviceId", json!("..")),
        field("nul-in-client", "id", "clientId", json!("ac\0me")),
        field("long-event", "id", "eventId", json!("e".repeat(300))),
        field("empty-device", "id", "deviceId", json!("")),
        field("nul-in-path", "frame_path", "framePath", json!("a\0.jpg")),
        field("empty-path", "frame_path", "framePath", json!("")),
        field("in-1970", "timestamp", "timestamp", json!("1970-01-01T00:00:05Z")),
        field("in-2099", "timestamp", "timestamp", json!("2099-12-31T23:59:59.999Z")),
        field("without-zone", "timestamp", "timestamp", json!("2026-01-31T08:00:00")),
        field("path-up", "frame_outside", "framePath", json!("../../../../../etc/hostname")),
        field("path-absolute", "frame_outside", "framePath", json!("/etc/hostname")),
    ]
}

fn bad_files() -> Vec<Case> {
    let bad = |name, placed, reason| Case::new(name, placed, Wanted::Refused(reason), Change::None);
    let html = b"<!doctype html><title>502 Bad Gateway</title>".to_vec();
    vec![
        bad("link-out", Placed::LinkOut, "frame_outside"),
        bad("missing", Placed::Nothing, "frame_missing"),
        bad("folder", Placed::Folder, "frame_not_a_file"),
        bad("empty", Placed::Bytes(Vec::new()), "frame_empty"),
        bad("truncated", Placed::Bytes(pictures::truncated()), "jpeg_decode"),
        bad("png", Placed::Bytes(pictures::png()), "not_jpeg"),
        bad("html", Placed::Bytes(html), "not_jpeg"),
        bad("gigapixel", Placed::Bytes(pictures::of_size(30_000, 30_000)), "jpeg_too_large"),
    ]
}

fn odd_but_good() -> Vec<Case> {
    let odd = |name, kind: Odd| {
        let (jpeg, colour) = kind.jpeg();
        Case::new(name, Placed::Bytes(jpeg), Wanted::Shown(Some(colour)), Change::None)
    };
    vec![
        Case::new("late-file", Placed::Late, Wanted::Shown(None), Change::None),
        Case::new(
            "huge-but-good",
            Placed::Bytes(pictures::good(0)),
            Wanted::Shown(None),
            Change::Text(|mut good| {
                good.pop();
                good.extend(br#","more":""#);
                good.resize(LARGEST_MESSAGE_BYTES - 2, b'x');
                good.extend(b"\"}");
                good
            }),
        ),
        odd("cmyk", Odd::Cmyk),
        odd("grey", Odd::Grey),
        odd("progressive", Odd::Progressive),
        odd("full-colour", Odd::FullColour),
    ]
}
