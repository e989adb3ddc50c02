//! Which devices a page is shown: found by a part of their name, by state and client, in order,
//! a part of them at a time (pure).

use serde::Serialize;
use url::form_urlencoded;

use super::super::auth::tokens::Clients;
use super::super::playback::address;
use crate::model::{DeviceKey, UtcMillis};

/// Most devices in one answer.
const MAX_LIMIT: usize = 1_000;

/// Devices in one answer if nobody says how many.
const DEFAULT_LIMIT: usize = 100;

/// Clients that are named at most: beyond that, searching is quicker than choosing.
const MAX_CLIENTS: usize = 500;

/// How a device is, as its viewer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Nothing was committed yet, or it has not been looked at yet.
    Starting,
    /// The last commit is as recent as it should be.
    Live,
    /// It is not, but frames may still come; or they come, but were taken long ago.
    Late,
    /// There was no frame for so long that the camera counts as gone.
    Offline,
}

/// What a device's presence is judged by, in seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lag {
    /// Since the last commit: how long nothing has come.
    pub silent_secs: f64,
    /// Since its last frame was taken: how old the newest picture is.
    pub behind_secs: f64,
}

impl Presence {
    /// Judges by the lag of the last commit, none before the first. A stream whose segments
    /// last `segment_secs` is up to two of them behind when all is well: the one that is
    /// being filled, and the time to encode and fetch; it is offline when nothing has come for
    /// `offline_after_secs`, but never before it is late.
    pub fn judge(lag: Option<Lag>, segment_secs: f64, offline_after_secs: f64) -> Self {
        let late_after_secs = 2.0 * segment_secs + 2.0;
        let Some(lag) = lag else { return Self::Starting };
        if lag.silent_secs > offline_after_secs.max(2.0 * late_after_secs) {
            Self::Offline
        } else if lag.silent_secs.max(lag.behind_secs) > late_after_secs {
            Self::Late
        } else {
            Self::Live
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

/// Which devices, and how many of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Parts that the name, the client or the device has to have; lower case.
    pub words: Vec<String>,
    /// Only those in this state.
    pub state: Option<Wanted>,
    /// Only those of this client.
    pub client: Option<String>,
    /// Those that need somebody first.
    pub worst_first: bool,
    /// How many to leave out.
    pub offset: usize,
    /// How many at most.
    pub limit: usize,
}

/// A state to choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A presence.
    Is(Presence),
    /// Something went wrong.
    Trouble,
}

/// A part of the query that means nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name} takes {takes}")]
pub struct AskError {
    name: &'static str,
    takes: &'static str,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            words: Vec::new(),
            state: None,
            client: None,
            worst_first: false,
            offset: 0,
            limit: DEFAULT_LIMIT,
        }
    }
}

impl Ask {
    /// Reads a URL's query; what it does not know is ignored.
    ///
    /// # Errors
    /// [`AskError`] for a value that means nothing.
    pub fn from_query(query: &str) -> Result<Self, AskError> {
        let mut ask = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = |name| {
                let takes = "a whole number";
                value.parse::<usize>().map_err(|_| AskError { name, takes })
            };
            match name.as_ref() {
                "query" => {
                    ask.words = value.split_whitespace().map(str::to_lowercase).collect();
                }
                "client" if !value.is_empty() => ask.client = Some(value.into_owned()),
                "state" => ask.state = state(&value)?,
                "sort" => {
                    ask.worst_first = match value.as_ref() {
                        "worst" => true,
                        "name" | "" => false,
                        _ => return Err(AskError { name: "sort", takes: "name or worst" }),
                    };
                }
                "offset" => ask.offset = number("offset")?,
                "limit" => ask.limit = number("limit")?.min(MAX_LIMIT),
                _ => {}
            }
        }
        Ok(ask)
    }

    fn finds(&self, view: &DeviceView) -> bool {
        let is_of_client = self.client.as_ref().is_none_or(|c| c == view.key.client.as_str());
        is_of_client
            && (self.words.is_empty() || {
                let text = format!("{}/{} {}", view.key.client, view.key.device, view.name);
                let text = text.to_lowercase();
                self.words.iter().all(|word| text.contains(word))
            })
    }
}

fn state(value: &str) -> Result<Option<Wanted>, AskError> {
    Ok(Some(match value {
        "" => return Ok(None),
        "starting" => Wanted::Is(Presence::Starting),
        "live" => Wanted::Is(Presence::Live),
        "late" => Wanted::Is(Presence::Late),
        "offline" => Wanted::Is(Presence::Offline),
        "trouble" => Wanted::Trouble,
        _ => {
            let takes = "starting, live, late, offline or trouble";
            return Err(AskError { name: "state", takes });
        }
    }))
}

/// How many devices are in each state, whichever state is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    starting: usize,
    live: usize,
    late: usize,
    offline: usize,
    trouble: usize,
}

impl Counts {
    fn add(&mut self, view: &DeviceView) {
        self.trouble += usize::from(view.error.is_some());
        *match view.presence {
            Presence::Starting => &mut self.starting,
            Presence::Live => &mut self.live,
            Presence::Late => &mut self.late,
            Presence::Offline => &mut self.offline,
        } += 1;
    }
}

/// What was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Found<'a> {
    /// How many devices there are in all, offset and limit aside.
    pub total: usize,
    /// How many of them, or of the others that only the state excludes, are in each state.
    pub counts: Counts,
    /// The clients that may be chosen among, each once.
    pub clients: Vec<&'a str>,
    /// The part that was asked for.
    pub devices: Vec<&'a DeviceView>,
}

/// Finds among `devices` those that the viewer may see and asks for.
pub fn find<'a>(devices: &'a [DeviceView], may: &Clients, ask: &Ask) -> Found<'a> {
    let mut counts = Counts::default();
    let mut clients: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for view in devices.iter().filter(|view| may.contain(&view.key.client)) {
        let client = view.key.client.as_str();
        if clients.last() != Some(&client) && clients.len() < MAX_CLIENTS {
            clients.push(client);
        }
        if !ask.finds(view) {
            continue;
        }
        counts.add(view);
        let is_wanted = match ask.state {
            None => true,
            Some(Wanted::Is(presence)) => view.presence == presence,
            Some(Wanted::Trouble) => view.error.is_some(),
        };
        if is_wanted {
            found.push(view);
        }
    }
    clients.sort_unstable();
    clients.dedup();
    if ask.worst_first {
        found.sort_by_key(|view| (badness(view), view.last_frame_at));
    }
    let total = found.len();
    let devices = found.into_iter().skip(ask.offset).take(ask.limit).collect();
    Found { total, counts, clients, devices }
}

/// What needs somebody comes first; a camera that has been gone for long needs nobody soon.
fn badness(view: &DeviceView) -> u8 {
    match (view.presence, view.error.is_some()) {
        (_, true) => 0,
        (Presence::Late, _) => 1,
        (Presence::Offline, _) => 2,
        (Presence::Starting, _) => 3,
        (Presence::Live, _) => 4,
    }
}

/// One device as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<'a> {
    name: &'a str,
    client: &'a str,
    device: &'a str,
    last_frame_at: Option<String>,
    lag_secs: Option<f64>,
    state: Presence,
    segment_count: u64,
    /// Below which everything of it is.
    path: String,
    playlist: String,
    /// What to put before a path for who cannot send the token: a link, a native player.
    link: String,
    error: Option<&'a str>,
}

pub(super) fn listed(view: &DeviceView, now: UtcMillis, link: String) -> Listed<'_> {
    Listed {
        name: &view.name,
        client: view.key.client.as_str(),
        device: view.key.device.as_str(),
        last_frame_at: view.last_frame_at.map(|at| at.to_string()),
        lag_secs: view.last_frame_at.map(|at| now.since(at).as_secs_f64()),
        state: view.presence,
        segment_count: view.segment_count,
        path: address::device_url(&view.key),
        playlist: address::playlist_url(&view.key),
        link,
        error: view.error.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn view(client: &str, device: &str, presence: Presence) -> DeviceView {
        DeviceView {
            key: DeviceKey::new(client, device).unwrap(),
            name: device.into(),
            last_frame_at: None,
            presence,
            segment_count: 0,
            error: None,
        }
    }

    fn fleet() -> Vec<DeviceView> {
        vec![
            view("acme", "Gate North", Presence::Live),
            view("acme", "gate south", Presence::Offline),
            view("acme", "yard", Presence::Late),
            DeviceView {
                error: Some("the disk is full".into()),
                ..view("globex", "gate", Presence::Live)
            },
        ]
    }

    fn names(query: &str, may: &Clients) -> (usize, Vec<String>) {
        let fleet = fleet();
        let found = find(&fleet, may, &Ask::from_query(query).unwrap());
        (found.total, found.devices.iter().map(|view| view.name.clone()).collect())
    }

    #[test]
    fn a_camera_is_late_before_it_is_offline() {
        let judge = |silent_secs, behind_secs| {
            Presence::judge(Some(Lag { silent_secs, behind_secs }), 5.0, 60.0)
        };
        assert_eq!(Presence::judge(None, 5.0, 60.0), Presence::Starting);
        assert_eq!(judge(12.0, 12.0), Presence::Live);
        assert_eq!(judge(12.1, 12.1), Presence::Late);
        assert_eq!(judge(60.1, 65.0), Presence::Offline);
        // Frames come, but were taken an hour ago.
        assert_eq!(judge(3.0, 3_600.0), Presence::Late);
        let lag = Lag { silent_secs: 70.0, behind_secs: 70.0 };
        assert_eq!(Presence::judge(Some(lag), 30.0, 60.0), Presence::Late);
    }

    #[test]
    fn a_device_is_found_by_parts_of_its_name_its_client_and_its_state() {
        let all = |query| names(query, &Clients::All);
        assert_eq!(all("").0, 4);
        assert_eq!(all("query=GATE+acme"), (2, vec!["Gate North".into(), "gate south".into()]));
        assert_eq!(all("query=gate&client=globex").1, ["gate"]);
        assert_eq!(all("state=live&query=north").1, ["Gate North"]);
        assert_eq!(all("state=trouble").1, ["gate"]);
        assert_eq!(all("query=nobody"), (0, vec![]));
        for bad in ["state=gone", "sort=size", "limit=many", "offset=-1"] {
            assert!(Ask::from_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_worst_come_first_and_parts_follow_each_other() {
        let part = |query| names(query, &Clients::All);
        assert_eq!(part("sort=worst&limit=3").1, ["gate", "yard", "gate south"]);
        assert_eq!(part("sort=worst&limit=3&offset=3"), (4, vec!["Gate North".into()]));
        assert_eq!(part("offset=9"), (4, vec![]));
    }

    #[test]
    fn counts_are_of_all_states_whichever_is_asked_for() {
        let fleet = fleet();
        let found =
            find(&fleet, &Clients::All, &Ask::from_query("state=late&client=acme").unwrap());
        let expected = Counts { live: 1, late: 1, offline: 1, ..Counts::default() };
        assert_eq!((found.total, found.counts), (1, expected));
        assert_eq!(found.clients, ["acme", "globex"]);
    }

    #[test]
    fn who_may_see_one_client_learns_nothing_of_another() {
        let acme = Arc::new([DeviceKey::new("globex", "x").unwrap().client].into());
        let fleet = fleet();
        let found = find(&fleet, &Clients::Only(acme), &Ask::default());
        assert_eq!((found.total, found.clients.as_slice()), (1, ["globex"].as_slice()));
        let nobody = find(&fleet, &Clients::Only(Arc::default()), &Ask::default());
        assert_eq!((nobody.total, nobody.counts, nobody.clients.len()), (0, Counts::default(), 0));
    }

    #[test]
    fn a_device_is_listed_with_its_lag_and_its_address() {
        let view = DeviceView {
            name: "Gate".into(),
            last_frame_at: Some(UtcMillis(1_500)),
            segment_count: 3,
            ..view("demo", "cam 1", Presence::Live)
        };
        let listed =
            serde_json::to_value(listed(&view, UtcMillis(4_000), "/s/1.a".into())).unwrap();
        assert_eq!(
            listed,
            serde_json::json!({
                "name": "Gate", "client": "demo", "device": "cam 1",
                "lastFrameAt": "1970-01-01T00:00:01.500Z", "lagSecs": 2.5, "state": "live",
                "segmentCount": 3, "error": null, "link": "/s/1.a",
                "path": "/client_ids/demo/device_id/cam%201",
                "playlist": "/client_ids/demo/device_id/cam%201/hls/playlist.m3u8",
            })
        );
    }
}
