//! The wall: one page that shows every camera, and the list of devices that it asks for.
//!
//! All of the page is in the binary, hls.js included (Apache-2.0, its licence beside it):
//! nothing is fetched from anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::playback::address::playlist_url;
use crate::model::{DeviceKey, UtcMillis};

/// Whoever knows the devices.
pub trait DeviceDirectory: Send + Sync + 'static {
    /// Every device, in the order to show them. Called about once a second for each open
    /// page: it must be quick and must not block.
    fn devices(&self) -> Vec<DeviceView>;

    /// The time that lags are measured against.
    fn now(&self) -> UtcMillis;
}

/// How a device is, as its viewer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Nothing was committed yet.
    Starting,
    /// The last commit is as recent as it should be.
    Live,
    /// It is not, but frames may still come.
    Late,
    /// There was no frame for so long that the camera counts as gone.
    Offline,
}

impl Presence {
    /// Judges by the lag of the last committed frame, in seconds. A stream whose segments
    /// last `segment_secs` is up to two of them behind when all is well: the one that is
    /// being filled, and the time to encode and fetch; it is offline after
    /// `offline_after_secs`, but never before it is late.
    pub fn judge(lag_secs: Option<f64>, segment_secs: f64, offline_after_secs: f64) -> Self {
        let late_after_secs = 2.0 * segment_secs + 2.0;
        match lag_secs {
            None => Self::Starting,
            Some(lag) if lag <= late_after_secs => Self::Live,
            Some(lag) if lag <= offline_after_secs.max(2.0 * late_after_secs) => Self::Late,
            Some(_) => Self::Offline,
        }
    }
}

/// One device as the page shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceView {
    /// Who it is.
    pub key: DeviceKey,
    /// What to call it; the device id when there is nothing better.
    pub name: String,
    /// When its last committed frame was taken.
    pub last_frame_at: Option<UtcMillis>,
    /// How it is.
    pub presence: Presence,
    /// How many segments its window lists.
    pub segment_count: u64,
    /// What went wrong last, in a sentence, while it is still of interest.
    pub error: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing<'a> {
    now: String,
    version: &'a str,
    devices: Vec<Listed<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    name: &'a str,
    client: &'a str,
    device: &'a str,
    last_frame_at: Option<String>,
    lag_secs: Option<f64>,
    state: Presence,
    segment_count: u64,
    playlist: String,
    error: Option<&'a str>,
}

fn listing(directory: &dyn DeviceDirectory) -> Response {
    let now = directory.now();
    let devices = directory.devices();
    let listed = |view| listed(view, now);
    super::json(&Listing {
        now: now.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        devices: devices.iter().map(listed).collect(),
    })
}

fn listed(view: &DeviceView, now: UtcMillis) -> Listed<'_> {
    Listed {
        name: &view.name,
        client: view.key.client.as_str(),
        device: view.key.device.as_str(),
        last_frame_at: view.last_frame_at.map(|at| at.to_string()),
        lag_secs: view.last_frame_at.map(|at| now.since(at).as_secs_f64()),
        state: view.presence,
        segment_count: view.segment_count,
        playlist: playlist_url(&view.key),
        error: view.error.as_deref(),
    }
}

/// The page at `/`, its parts, and `/api/devices`.
pub fn router(directory: Arc<dyn DeviceDirectory>) -> Router {
    let mut router = Router::new().route(
        "/api/devices",
        get(move || {
            let directory = directory.clone();
            async move { listing(directory.as_ref()) }
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

static ASSETS: &[Asset] = &[
    asset("/", "text/html; charset=utf-8", include_bytes!("index.html")),
    asset("/wall.css", "text/css; charset=utf-8", include_bytes!("wall.css")),
    asset("/wall.js", SCRIPT, include_bytes!("wall.js")),
    asset("/player.js", SCRIPT, include_bytes!("player.js")),
    asset("/viewer.js", SCRIPT, include_bytes!("viewer.js")),
    asset("/icon.svg", "image/svg+xml", include_bytes!("icon.svg")),
    asset("/hls.light.min.js", SCRIPT, include_bytes!("hls.light.min.js")),
    asset("/hls.js.LICENSE", "text/plain; charset=utf-8", include_bytes!("hls.js.LICENSE")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_late_before_it_is_offline() {
        let judge = |lag| Presence::judge(lag, 5.0, 60.0);
        assert_eq!(judge(None), Presence::Starting);
        assert_eq!(judge(Some(12.0)), Presence::Live);
        assert_eq!(judge(Some(12.1)), Presence::Late);
        assert_eq!(judge(Some(60.1)), Presence::Offline);
        assert_eq!(Presence::judge(Some(70.0), 30.0, 60.0), Presence::Late);
    }

    #[test]
    fn what_is_shipped_of_others_is_small_and_has_its_licence() {
        let total: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(total < 1 << 20, "{total} bytes");
        let of = |path| ASSETS.iter().find(|asset| asset.path == path).unwrap().bytes;
        let licence = String::from_utf8_lossy(of("/hls.js.LICENSE"));
        assert!(licence.contains("Apache License"));
    }

    #[test]
    fn a_device_is_listed_with_its_lag_and_its_address() {
        let view = DeviceView {
            key: DeviceKey::new("demo", "cam 1").unwrap(),
            name: "Gate".into(),
            last_frame_at: Some(UtcMillis(1_500)),
            presence: Presence::Live,
            segment_count: 3,
            error: None,
        };
        let listed = serde_json::to_value(listed(&view, UtcMillis(4_000))).unwrap();
        assert_eq!(
            listed,
            serde_json::json!({
                "name": "Gate", "client": "demo", "device": "cam 1",
                "lastFrameAt": "1970-01-01T00:00:01.500Z", "lagSecs": 2.5, "state": "live",
                "segmentCount": 3, "error": null,
                "playlist": "/client_ids/demo/device_id/cam%201/hls/playlist.m3u8",
            })
        );
    }
}
