//! Serving streams to viewers: where, to whom, and how much at once.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::reader::Reader;
use super::setting::{Setting, Takes};
use crate::model::Secret;

static ADDRESS: Setting = Setting {
    variable: "SERVE_ADDRESS",
    flag: "serve-address",
    default: Some("0.0.0.0"),
    takes: Takes::Address,
    secret: false,
    help: "The address that streams and the page are served on; 127.0.0.1 for this machine only.",
};

static PORT: Setting = Setting {
    variable: "SERVE_PORT",
    flag: "serve-port",
    default: Some("8080"),
    takes: Takes::Integer { min: 0, max: 65_535 },
    secret: false,
    help: "The port that they are served on. 0 is any free one, which the log then names.",
};

static AUTH: Setting = Setting {
    variable: "SERVE_AUTH",
    flag: "serve-auth",
    default: Some("none"),
    takes: Takes::OneOf(&["none", "token"]),
    secret: false,
    help: "Whether viewers have to say who they are. none: whoever reaches the port sees \
           everything. token: a bearer token of SERVE_TOKENS_FILE or a signed link.",
};

static TOKENS_FILE: Setting = Setting {
    variable: "SERVE_TOKENS_FILE",
    flag: "serve-tokens-file",
    default: None,
    takes: Takes::File,
    secret: false,
    help: "YAML list of tokens and the clients that each may see; read again when it changes.",
};

static SIGNING_KEY: Setting = Setting {
    variable: "SERVE_SIGNING_KEY",
    flag: "serve-signing-key",
    default: None,
    takes: Takes::Text,
    secret: true,
    help: "What links are signed with, 32 characters or more, the same for all that serve. \
           Without it, links end with the process that made them. Never shown.",
};

static SIGNING_KEY_FILE: Setting = Setting {
    variable: "SERVE_SIGNING_KEY_FILE",
    flag: "serve-signing-key-file",
    default: None,
    takes: Takes::File,
    secret: false,
    help: "A file that holds the signing key, instead of SERVE_SIGNING_KEY.",
};

static MAX_CLIP_SECONDS: Setting = Setting {
    variable: "SERVE_MAX_CLIP_SECONDS",
    flag: "serve-max-clip-seconds",
    default: Some("3600"),
    takes: Takes::Integer { min: 1, max: 604_800 },
    secret: false,
    help: "The longest clip that is made over HTTP, in seconds; the export command has no limit.",
};

static MAX_CLIPS: Setting = Setting {
    variable: "SERVE_MAX_CLIPS",
    flag: "serve-max-clips",
    default: Some("4"),
    takes: Takes::Integer { min: 1, max: 1_024 },
    secret: false,
    help: "How many clips are made over HTTP at the same time; who comes when there are so many \
           is told to come again.",
};

static CACHE_MEBIBYTES: Setting = Setting {
    variable: "SERVE_CACHE_MEBIBYTES",
    flag: "serve-cache-mebibytes",
    default: Some("128"),
    takes: Takes::Integer { min: 8, max: 65_536 },
    secret: false,
    help: "How much of what viewers ask for is kept in memory, in MiB.",
};

static LOOKS_PER_SECOND: Setting = Setting {
    variable: "SERVE_LOOKS_PER_SECOND",
    flag: "serve-looks-per-second",
    default: Some("100"),
    takes: Takes::Integer { min: 1, max: 100_000 },
    secret: false,
    help: "How many devices are looked at in the storage per second at most, to know which are \
           live. Devices that somebody looks at come first. In a bucket each look is a request.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] = &[
    &ADDRESS,
    &PORT,
    &AUTH,
    &TOKENS_FILE,
    &SIGNING_KEY,
    &SIGNING_KEY_FILE,
    &MAX_CLIP_SECONDS,
    &MAX_CLIPS,
    &CACHE_MEBIBYTES,
    &LOOKS_PER_SECOND,
];

/// Where the signing key is.
#[derive(Clone, Debug)]
pub enum SigningKey {
    /// Given as it is.
    Given(Secret),
    /// In this file.
    File(PathBuf),
}

/// Serving streams.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Where to listen; port 0 is any free one.
    pub listen: SocketAddr,
    /// Whether viewers have to say who they are.
    pub asks_for_tokens: bool,
    /// The file of tokens.
    pub tokens_file: Option<PathBuf>,
    /// What links are signed with.
    pub signing_key: Option<SigningKey>,
    /// The longest clip over HTTP.
    pub max_clip_secs: u32,
    /// How many clips at once.
    pub max_clips: usize,
    /// How much is kept in memory.
    pub cache_bytes: u64,
    /// How many devices are looked at per second at most.
    pub looks_per_second: u32,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> ServeConfig {
    let asks_for_tokens = reader.choice(&AUTH, false, |word| match word {
        "none" => Some(false),
        "token" => Some(true),
        _ => None,
    });
    let tokens_file = reader.path(&TOKENS_FILE);
    let given = reader.secret(&SIGNING_KEY);
    let file = reader.path(&SIGNING_KEY_FILE);
    reader.rule(&[&SIGNING_KEY, &SIGNING_KEY_FILE], given.is_none() || file.is_none(), || {
        format!("give {} or {}, not both", SIGNING_KEY.variable, SIGNING_KEY_FILE.variable)
    });
    let signing_key = given.map(SigningKey::Given).or(file.map(SigningKey::File));
    reader.rule(
        &[&AUTH, &TOKENS_FILE, &SIGNING_KEY, &SIGNING_KEY_FILE],
        !asks_for_tokens || tokens_file.is_some() || signing_key.is_some(),
        || {
            format!(
                "{}=token needs {} or {}, or nobody could see anything",
                AUTH.variable, TOKENS_FILE.variable, SIGNING_KEY.variable
            )
        },
    );
    if !asks_for_tokens && tokens_file.is_some() {
        reader.notice(format!(
            "{} has no effect without {}=token: whoever reaches the port sees everything",
            TOKENS_FILE.variable, AUTH.variable
        ));
    }
    let cache_mebibytes: u64 = reader.integer(&CACHE_MEBIBYTES);
    ServeConfig {
        listen: SocketAddr::new(reader.address(&ADDRESS), reader.integer(&PORT)),
        asks_for_tokens,
        tokens_file,
        signing_key,
        max_clip_secs: reader.integer(&MAX_CLIP_SECONDS),
        max_clips: reader.integer(&MAX_CLIPS),
        cache_bytes: cache_mebibytes << 20,
        looks_per_second: reader.integer(&LOOKS_PER_SECOND),
    }
}
