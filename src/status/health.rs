//! What a device's numbers mean: live, late, offline or failing, and why. Pure.

use std::time::Duration;

use crate::model::UtcMillis;
use crate::operator::crd::DeviceState;

/// The longest text that is told of a device, in bytes: 250 of them are in one object.
const MAX_ERROR_BYTES: usize = 140;

/// What is known of a device.
#[derive(Clone, PartialEq, Debug)]
pub struct Known {
    /// When its newest frame came, on our clock.
    pub received_at: UtcMillis,
    /// When its newest frame was taken, on its own.
    pub captured_at: Option<UtcMillis>,
    /// The newest capture time that is in the playlist.
    pub committed_until: Option<UtcMillis>,
    /// Its newest segment.
    pub last_segment: Option<u64>,
    /// Segments that its playlist lists.
    pub segments: u64,
    /// What keeps its frames from being committed now: the kind, and a sentence.
    pub trouble: Option<(&'static str, String)>,
    /// Why its newest frames were refused, if none was committed since.
    pub refusal: Option<(&'static str, String)>,
}

impl Known {
    /// One of which nothing is known but that a frame came.
    pub fn new(received_at: UtcMillis) -> Self {
        Self {
            received_at,
            captured_at: None,
            committed_until: None,
            last_segment: None,
            segments: 0,
            trouble: None,
            refusal: None,
        }
    }
}

/// By what devices are judged.
#[derive(Clone, Copy, Debug)]
pub struct HealthRules {
    /// A stream that is further behind is late.
    pub late_after: Duration,
    /// A device that is silent for longer is offline.
    pub offline_after: Duration,
}

/// How a device is, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// How it is.
    pub state: DeviceState,
    /// The kind of reason: what makes it news when it changes.
    pub reason: &'static str,
    /// The reason as a sentence; none while it is live.
    pub error: Option<String>,
}

/// Judges a device at `now`.
pub fn judge(known: &Known, rules: HealthRules, now: UtcMillis) -> Judged {
    let told = |state, reason, error: &str| Judged { state, reason, error: Some(short(error)) };
    let refusal = known.refusal.as_ref();
    // Frames that are kept and tried again are the worker's to commit, whatever the device does.
    if let Some((reason, text)) = &known.trouble {
        return told(DeviceState::Failing, reason, text);
    }
    if now.since(known.received_at) > rules.offline_after {
        let text = refusal.map_or("no frames come", |(_, text)| text);
        return told(DeviceState::Offline, "silent", text);
    }
    if let Some((reason, text)) = refusal {
        return told(DeviceState::Failing, reason, text);
    }
    if let Some(captured_at) = known.captured_at {
        let behind = known.committed_until.map_or(Duration::ZERO, |until| captured_at.since(until));
        if behind > rules.late_after {
            return told(DeviceState::Late, "behind", "frames come faster than they are encoded");
        }
        if now.since(captured_at) > rules.late_after {
            let text = "frames come long after they were taken, or the device's clock is wrong";
            return told(DeviceState::Late, "old", text);
        }
    }
    Judged { state: DeviceState::Live, reason: "", error: None }
}

/// As much of a text as is told, without what JSON would write as two characters.
fn short(text: &str) -> String {
    let mut short = String::new();
    for c in text.chars() {
        let c = match c {
            '"' | '\\' => '\'',
            c if c.is_control() => ' ',
            c => c,
        };
        if short.len() + c.len_utf8() > MAX_ERROR_BYTES {
            break;
        }
        short.push(c);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HealthRules =
        HealthRules { late_after: Duration::from_secs(90), offline_after: Duration::from_secs(60) };

    fn at(secs: i64) -> UtcMillis {
        UtcMillis(1_000_000_000_000 + secs * 1_000)
    }

    fn sending() -> Known {
        Known {
            captured_at: Some(at(99)),
            committed_until: Some(at(80)),
            last_segment: Some(7),
            ..Known::new(at(100))
        }
    }

    fn state(known: &Known, secs: i64) -> (DeviceState, &'static str) {
        let judged = judge(known, RULES, at(secs));
        (judged.state, judged.reason)
    }

    #[test]
    fn a_device_whose_frames_are_shown_is_live() {
        assert_eq!(state(&sending(), 110), (DeviceState::Live, ""));
    }

    #[test]
    fn silence_is_offline_with_what_was_wrong_before() {
        assert_eq!(state(&sending(), 161), (DeviceState::Offline, "silent"));
        let refusal = Some(("not_jpeg", "it is no JPEG".to_owned()));
        let judged = judge(&Known { refusal, ..sending() }, RULES, at(161));
        assert_eq!(judged.error.as_deref(), Some("it is no JPEG"));
    }

    #[test]
    fn frames_that_are_refused_or_cannot_be_stored_are_failing() {
        let refusal = Some(("not_jpeg", "it is no JPEG".to_owned()));
        assert_eq!(state(&Known { refusal, ..sending() }, 110), (DeviceState::Failing, "not_jpeg"));
        let trouble = Some(("storage", "the disk is full".to_owned()));
        let known = Known { trouble, ..sending() };
        assert_eq!(state(&known, 110), (DeviceState::Failing, "storage"));
        assert_eq!(state(&known, 1_000), (DeviceState::Failing, "storage"));
    }

    #[test]
    fn a_stream_that_is_behind_is_late() {
        let known = Known { committed_until: Some(at(1)), ..sending() };
        assert_eq!(state(&known, 110), (DeviceState::Late, "behind"));
        let known = Known { captured_at: Some(at(10)), committed_until: Some(at(9)), ..sending() };
        assert_eq!(state(&known, 110), (DeviceState::Late, "old"));
    }

    #[test]
    fn what_is_told_is_never_endless() {
        let trouble = Some(("storage", "\"\n".repeat(10_000)));
        let judged = judge(&Known { trouble, ..sending() }, RULES, at(110));
        let json = serde_json::to_string(&judged.error).unwrap();
        assert_eq!(json.len(), MAX_ERROR_BYTES + 2);
    }
}
