//! The wall: one page that shows every camera, and the list of devices that it asks for.
//!
//! All of the page is in the binary, hls.js included (Apache-2.0, its licence beside it):
//! nothing is fetched from anywhere else.

pub mod listing;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::auth::Gate;
use crate::model::UtcMillis;
use listing::{Ask, Counts, Listed};

pub use listing::{DeviceView, Lag, Presence};

/// Whoever knows the devices.
pub trait DeviceDirectory: Send + Sync + 'static {
    /// Every device, in the order to show them. Called about once a second for each open
    /// page: it must be quick and must not block.
    fn devices(&self) -> Arc<Vec<DeviceView>>;

    /// Somebody looks at these now: they are worth being up to date.
    fn shown(&self, devices: &[&DeviceView]);

    /// The time that lags are measured against.
    fn now(&self) -> UtcMillis;
}

/// What the page has to know before it can ask for anything; the same for everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFacts {
    /// The longest clip that is made.
    pub max_clip: Duration,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct About {
    version: &'static str,
    asks_for_token: bool,
    max_clip_secs: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    now: String,
    version: &'a str,
    total: usize,
    counts: Counts,
    clients: Vec<&'a str>,
    devices: Vec<Listed<'a>>,
}

/// Answers with the devices that the viewer asks for and may see.
fn devices(
    directory: &dyn DeviceDirectory,
    gate: &Gate,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Response {
    let grant = match gate.grant(headers) {
        Ok(grant) => grant,
        Err(refusal) => return refusal.into_response(),
    };
    let ask = match Ask::from_query(query.unwrap_or_default()) {
        Ok(ask) => ask,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let now = directory.now();
    let all = directory.devices();
    let found = listing::find(&all, &grant.clients, &ask);
    directory.shown(&found.devices);
    let listed = |view| listing::listed(view, now, gate.link_prefix(&view.key, &grant));
    super::json(&Answer {
        now: now.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        total: found.total,
        counts: found.counts,
        clients: found.clients,
        devices: found.devices.into_iter().map(listed).collect(),
    })
}

/// The page at `/`, its parts, `/api/about` and `/api/devices`.
///
/// The page itself is the same for everybody and is shown to everybody; what it asks for is
/// answered to whom `gate` admits.
pub fn router(directory: Arc<dyn DeviceDirectory>, gate: Gate, facts: PageFacts) -> Router {
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        asks_for_token: gate.is_locked(),
        max_clip_secs: facts.max_clip.as_secs(),
    };
    let about = Arc::new(about);
    let mut router = Router::new()
        .route("/api/about", get(move || async move { super::json(about.as_ref()) }))
        .route(
            "/api/devices",
            get(move |RawQuery(query): RawQuery, headers: HeaderMap| async move {
                devices(directory.as_ref(), &gate, query.as_deref(), &headers)
            }),
        );
    for asset in ASSETS {
        router = router.route(asset.path, get(move || async move { asset.answer() }));
    }
    let fixed =
        |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    router
        .layer(CompressionLayer::new())
        .layer(fixed(header::CONTENT_SECURITY_POLICY, POLICY))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
}

/// Nothing but the page's own parts; `blob:` is how hls.js hands media to the player.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Asset {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn answer(&self) -> Response {
        // Asked for each time: a newer binary may answer at the same address.
        let headers =
            [(header::CONTENT_TYPE, self.content_type), (header::CACHE_CONTROL, "no-cache")];
        (StatusCode::OK, headers, self.bytes).into_response()
    }
}

const fn asset(path: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    Asset { path, content_type, bytes }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

static ASSETS: &[Asset] = &[
    asset("/", "text/html; charset=utf-8", include_bytes!("index.html")),
    asset("/base.css", STYLE, include_bytes!("base.css")),
    asset("/wall.css", STYLE, include_bytes!("wall.css")),
    asset("/viewer.css", STYLE, include_bytes!("viewer.css")),
    asset("/app.js", SCRIPT, include_bytes!("app.js")),
    asset("/api.js", SCRIPT, include_bytes!("api.js")),
    asset("/archives.js", SCRIPT, include_bytes!("archives.js")),
    asset("/filters.js", SCRIPT, include_bytes!("filters.js")),
    asset("/fleet.js", SCRIPT, include_bytes!("fleet.js")),
    asset("/grid.js", SCRIPT, include_bytes!("grid.js")),
    asset("/login.js", SCRIPT, include_bytes!("login.js")),
    asset("/moments.js", SCRIPT, include_bytes!("moments.js")),
    asset("/place.js", SCRIPT, include_bytes!("place.js")),
    asset("/player.js", SCRIPT, include_bytes!("player.js")),
    asset("/save.js", SCRIPT, include_bytes!("save.js")),
    asset("/stills.js", SCRIPT, include_bytes!("stills.js")),
    asset("/tile.js", SCRIPT, include_bytes!("tile.js")),
    asset("/timeline.js", SCRIPT, include_bytes!("timeline.js")),
    asset("/turns.js", SCRIPT, include_bytes!("turns.js")),
    asset("/viewer.js", SCRIPT, include_bytes!("viewer.js")),
    asset("/words.js", SCRIPT, include_bytes!("words.js")),
    asset("/icon.svg", "image/svg+xml", include_bytes!("icon.svg")),
    asset("/hls.light.min.js", SCRIPT, include_bytes!("hls.light.min.js")),
    asset("/hls.js.LICENSE", "text/plain; charset=utf-8", include_bytes!("hls.js.LICENSE")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_of_others_is_small_and_has_its_licence() {
        let total: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(total < 1 << 20, "{total} bytes");
        let of = |path| ASSETS.iter().find(|asset| asset.path == path).unwrap().bytes;
        let licence = String::from_utf8_lossy(of("/hls.js.LICENSE"));
        assert!(licence.contains("Apache License"));
    }

    #[test]
    fn every_part_that_the_page_names_is_served() {
        let text = |asset: &Asset| String::from_utf8_lossy(asset.bytes).into_owned();
        let named = |text: &str, before: &str| -> Vec<String> {
            let parts = text.split(before).skip(1);
            parts.filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned())).collect()
        };
        let mut paths = named(&text(&ASSETS[0]), "src=\"");
        paths.extend(named(&text(&ASSETS[0]), "href=\"/").into_iter().map(|p| format!("/{p}")));
        for script in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
            if !script.path.starts_with("/hls") {
                let imported = named(&text(script), "from \"./");
                paths.extend(imported.into_iter().map(|name| format!("/{name}")));
            }
        }
        assert!(paths.len() > ASSETS.len(), "{paths:?}");
        for path in paths {
            assert!(ASSETS.iter().any(|asset| asset.path == path), "{path}");
        }
    }
}
