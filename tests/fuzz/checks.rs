//! What has to hold for any bytes: one function for each kind that comes from outside, which
//! panics where it does not.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use stream_processor::encode::{EncodeJob, EncodeOutcome, EncodeSettings, Encoder, StreamSoFar};
use stream_processor::encode::{JobFrame, Quality};
use stream_processor::http::snapshot::{self, SnapshotError, Span};
use stream_processor::media::clip::{ClipPlan, ClipSpan, ListedSegment, SegmentBytes};
use stream_processor::media::timeline::{self, PictureSize, ShownFrame, TimelineSettings};
use stream_processor::media::{self, Container, Playback};
use stream_processor::model::{FrameEvent, PlausibleTimes, UtcMillis};
use stream_processor::playlist::Window;

pub const START: UtcMillis = UtcMillis(1_769_846_400_000);

/// The size of the pictures in the access units that are damaged.
pub const SIZE: PictureSize = PictureSize { width: 64, height: 48 };

/// What an error may put into the log.
const MAX_SENTENCE_BYTES: usize = 1_024;

pub fn encode_settings() -> EncodeSettings {
    EncodeSettings {
        container: Container::Ts,
        max_width: 640,
        quality: Quality::Standard,
        timeline: timeline_settings(),
        watermark: None,
    }
}

pub fn timeline_settings() -> TimelineSettings {
    TimelineSettings {
        playback: Playback::Realtime,
        max_segment_millis: 45_000,
        default_interval_millis: 5_000,
        encoding: 1,
    }
}

/// A message: an event whose parts are safe to use, or a short sentence why not.
pub fn event(message: &[u8]) {
    let plausible = PlausibleTimes::around(START);
    match FrameEvent::parse(message, plausible) {
        Ok(event) => {
            assert!(message.first().is_some_and(|byte| *byte != b'['), "an array is no event");
            let (client, device) = (event.device.client.as_str(), event.device.device.as_str());
            for id in [client, device, event.event_id.as_str()] {
                assert!((1..=255).contains(&id.len()) && id != "." && id != "..", "{id:?}");
                assert!(!id.contains(['/', '\\', '\0', '\n']), "{id:?}");
            }
            assert!((1..=4_096).contains(&event.frame_path.len()));
            assert!(!event.frame_path.contains('\0'));
            assert!(plausible.not_before <= event.captured_at);
            assert!(event.captured_at <= plausible.not_after);
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.len() <= MAX_SENTENCE_BYTES, "{} bytes", sentence.len());
        }
    }
}

/// A picture: shown or refused, and the frames beside it are shown whatever it is.
pub fn jpeg(picture: &[u8]) {
    thread_local! {
        static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new(encode_settings()).unwrap());
    }
    let probed = media::jpeg::probe(picture);
    let outcome = ENCODER.with_borrow_mut(|encoder| encoder.encode(&job_with(picture)).unwrap());
    judge(&outcome);
    assert!(probed.is_ok() || outcome.rejected.len() == 1, "{probed:?}");
}

/// `picture` between two frames that are good.
pub fn job_with(picture: &[u8]) -> EncodeJob {
    static GOOD: LazyLock<Bytes> = LazyLock::new(|| {
        let mut bytes = Vec::new();
        let ramp: Vec<u8> = (0..=255).cycle().take(64 * 48 * 3).collect();
        let encoder = jpeg_encoder::Encoder::new(&mut bytes, 80);
        encoder.encode(&ramp, 64, 48, jpeg_encoder::ColorType::Rgb).unwrap();
        bytes.into()
    });
    let jpegs = [GOOD.clone(), Bytes::copy_from_slice(picture), GOOD.clone()];
    let frames = jpegs.into_iter().zip(0..).map(|(jpeg, index)| JobFrame {
        captured_at: START.plus_millis(index * 5_000),
        jpeg,
        caption: None,
    });
    EncodeJob { stream: StreamSoFar::NEW, frames: frames.collect() }
}

/// The outcome of [`job_with`]: each frame once, the good ones shown.
pub fn judge(outcome: &EncodeOutcome) {
    let mut shown: Vec<usize> = outcome.segments.iter().flat_map(|s| s.frames.clone()).collect();
    assert!(outcome.segments.iter().all(|segment| !segment.media.is_empty()));
    assert!(shown.contains(&0) && shown.contains(&2), "{:?}", outcome.rejected);
    shown.extend(outcome.rejected.iter().map(|rejected| rejected.frame));
    shown.sort_unstable();
    assert_eq!(shown, [0, 1, 2], "{:?}", outcome.rejected);
}

/// An encoder's stream: muxed whole or refused, in either container.
pub fn h264(stream: &[u8]) {
    let units = access_units(stream);
    let frames: Vec<_> = (0_i64..)
        .zip(&units)
        .map(|(index, _)| ShownFrame { captured_at: START.plus_millis(index * 5_000), size: SIZE })
        .collect();
    let (plans, _) = timeline::plan(None, &frames, &timeline_settings());
    for plan in &plans {
        let units = &units[plan.frames.clone()];
        if let Ok(muxed) = media::mux(Container::Ts, SIZE, plan, units) {
            assert!(muxed.media.chunks(188).all(|packet| packet.len() == 188 && packet[0] == 0x47));
        }
        if let Ok(muxed) = media::mux(Container::Fmp4, SIZE, plan, units) {
            let bytes = muxed.media.len();
            let allowed = stream.len() + 4_096 + units.len() * 100 * 64;
            assert!(bytes <= allowed, "{bytes} of {}", stream.len());
            assert!(muxed.init.is_some());
        }
    }
}

/// What every segment that is damaged lasts.
pub const SEGMENT_MILLIS: u32 = 15_000;

/// A segment, an fMP4 one with its init file before it: a clip of it is what its tables say, or
/// there is none.
pub fn segment(file: &[u8]) {
    is_clipped(file);
}

/// Whether there is one.
pub fn is_clipped(file: &[u8]) -> bool {
    let media_at = file.windows(8).position(|bytes| &bytes[4..] == b"styp");
    let segment = match media_at {
        Some(at) => {
            SegmentBytes { container: Container::Fmp4, media: &file[at..], init: Some(&file[..at]) }
        }
        None => SegmentBytes { container: Container::Ts, media: file, init: None },
    };
    let listed = ListedSegment {
        captured_at: START,
        duration_millis: SEGMENT_MILLIS,
        covers_millis: SEGMENT_MILLIS,
        discontinuity: false,
    };
    let span = ClipSpan { from: START.plus_millis(6_789), to: START.plus_millis(12_345) };
    let mut plan = ClipPlan::new(span, &[listed]).unwrap();
    if let Err(error) = plan.add(0, &segment) {
        let sentence = error.to_string();
        assert!(sentence.len() <= MAX_SENTENCE_BYTES, "{} bytes", sentence.len());
        return false;
    }
    let clip = plan.finish().unwrap();
    assert_eq!(clip.duration_ticks(), (12_345 - 6_789) * 90);
    let [part] = clip.parts() else { panic!("{:?}", clip.parts()) };
    let bytes = clip.part(0, &segment).unwrap();
    assert_eq!(part.place_bytes, clip.header().len() as u64..clip.len_bytes());
    assert_eq!(part.place_bytes.end - part.place_bytes.start, bytes.len() as u64);
    let clip = [&clip.header()[..], &bytes].concat();
    let mp4 = re_mp4::Mp4::read_bytes(&clip).unwrap();
    let samples = || mp4.tracks().values().flat_map(|track| &track.samples);
    assert!(samples().next().is_some_and(|sample| sample.is_sync));
    let taken: u64 = samples().map(|sample| sample.size).sum();
    assert_eq!(taken, bytes.len() as u64);
    assert!(bytes.len() <= file.len() && clip.len() <= file.len() + 4_096 + samples().count() * 12);
    true
}

/// A stream cut before each access unit delimiter.
pub fn access_units(stream: &[u8]) -> Vec<Vec<u8>> {
    const DELIMITER: &[u8] = b"\0\0\0\x01\x09";
    let mut starts: Vec<usize> =
        (0..stream.len()).filter(|at| stream[*at..].starts_with(DELIMITER)).collect();
    starts.truncate(16);
    starts.push(stream.len());
    starts.windows(2).map(|pair| stream[pair[0]..pair[1]].to_vec()).collect()
}

/// A playlist, and a query after its first NUL: read back byte for byte or refused; what can be
/// read can go on, and can be shown as a finished one.
pub fn playlist(input: &[u8]) {
    let (text, query) = match input.iter().position(|byte| *byte == 0) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &b"from="[..]),
    };
    let (Ok(text), Ok(query)) = (std::str::from_utf8(text), std::str::from_utf8(query)) else {
        return;
    };
    let span = Span::from_query(query);
    if let Ok(Some(span)) = span
        && let Ok(finished) = snapshot::of(text, span)
    {
        assert!(finished.starts_with("#EXTM3U\n") && finished.ends_with("#EXT-X-ENDLIST\n"));
    }
    let Ok(window) = Window::parse(text) else { return };
    assert_eq!(window.render(), text);
    let whole = snapshot::of(text, Span::default());
    let wanted = if window.entries.is_empty() { Some(SnapshotError::Empty) } else { None };
    assert_eq!(whole.err(), wanted);
    let mut trimmed = window.clone();
    trimmed.trim(START, Duration::from_secs(3_600));
    assert!(trimmed.media_sequence >= window.media_sequence);
    assert!(trimmed.discontinuity_sequence >= window.discontinuity_sequence);
    let text = trimmed.render();
    assert_eq!(Window::parse(&text).as_ref(), Ok(&trimmed), "{text}");
}
