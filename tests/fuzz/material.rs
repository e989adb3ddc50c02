//! Small good inputs of each kind, and the words that their formats are made of.

use std::process::Command;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use stream_processor::media::timeline::{self, ShownFrame};
use stream_processor::media::{Container, jpeg, mux};
use stream_processor::model::{FrameEvent, PlausibleTimes};
use stream_processor::playlist::{NewEntry, Window, init_file_name};

use crate::checks::{SIZE, START, access_units, is_clipped, timeline_settings};

/// The good inputs of a kind, and its words.
pub fn of(kind: &str) -> (Vec<Vec<u8>>, &'static [&'static [u8]]) {
    match kind {
        "event" => (events(), EVENT_WORDS),
        "jpeg" => (jpegs(), JPEG_WORDS),
        "h264" => (streams(), H264_WORDS),
        "segment" => (segments(), SEGMENT_WORDS),
        "playlist" => (playlists(), PLAYLIST_WORDS),
        _ => panic!("no kind {kind}"),
    }
}

const EVENT_WORDS: &[&[u8]] = &[
    b"[",
    b"{",
    b"\"",
    b"null",
    b"1e999",
    b"-0",
    b"\\u0000",
    b"\\ud800",
    b"..",
    b"/",
    b"\xFF",
    b"\"timestamp\":",
    b"\"eventId\":\"",
    b"99999-12-31T23:59:60Z",
    b"+24:00",
    b"\\n",
    b"{\"a\":",
    b"\"requestTimestamp\":\"",
    b"\"location\":\"",
    b"xxxxxxxxxxxxxxxx",
];

fn events() -> Vec<Vec<u8>> {
    let events = [
        r#"{"eventId":"e1","clientId":"c","deviceId":"d","timestamp":"2026-01-31T05:00:00.250-03:00","framePath":"client_ids/c/device_id/d/frames/e1.jpg","requestId":"r","requestTimestamp":1769846400.5,"secondaryKey":"k","extra":[1,{"a":null}],"location":{"lat":-33.4,"lon":-70.6}}"#,
        r#"{"eventId":"0199-ä","clientId":"client 7","deviceId":"cam\u00e9ra","timestamp":"2026-01-31T08:00:00Z","framePath":"/storage/x.jpg","requestId":"","secondaryKey":null,"location":null}"#,
    ];
    for event in events {
        FrameEvent::parse(event.as_bytes(), PlausibleTimes::around(START)).unwrap();
    }
    events.map(|event| event.as_bytes().to_vec()).to_vec()
}

const JPEG_WORDS: &[&[u8]] = &[
    b"\xFF\xD8",
    b"\xFF\xD9",
    b"\xFF\xDA",
    b"\xFF\xDB",
    b"\xFF\xC0",
    b"\xFF\xC2",
    b"\xFF\xC4",
    b"\xFF\xC9",
    b"\xFF\xC3",
    b"\xFF\xDD",
    b"\xFF\xD0",
    b"\xFF\xE1",
    b"\xFF\xEE\0\x0EAdobe",
    b"\xFF\xFE",
    b"Exif\0\0II*\0",
    b"Exif\0\0MM\0*",
    b"\x40\0\x40\0",
    b"\xFF\xC0\0\x11\x08",
    b"\x11\x22\x14\x41",
    b"\xFF\xF8",
    b"\xFF\xE8mjpg",
];

fn jpegs() -> Vec<Vec<u8>> {
    // TIFF, little-endian, one field: 0x0112, SHORT, one value.
    const EXIF: &[u8] = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let picture = |color: ColorType, channels: usize, sampling, progressive, restarts| {
        let ramp: Vec<u8> = (0..251).cycle().take(48 * 32 * channels).collect();
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 75);
        encoder.set_sampling_factor(sampling);
        encoder.set_progressive(progressive);
        encoder.set_restart_interval(restarts);
        encoder.add_exif_metadata(EXIF).unwrap();
        encoder.encode(&ramp, 48, 32, color).unwrap();
        assert!(jpeg::probe(&bytes).is_ok());
        bytes
    };
    vec![
        picture(ColorType::Rgb, 3, SamplingFactor::F_2_2, false, 0),
        picture(ColorType::Rgb, 3, SamplingFactor::F_2_1, true, 0),
        picture(ColorType::Rgb, 3, SamplingFactor::F_1_1, false, 2),
        picture(ColorType::Luma, 1, SamplingFactor::F_1_1, false, 0),
        picture(ColorType::Cmyk, 4, SamplingFactor::F_1_1, false, 0),
        picture(ColorType::CmykAsYcck, 4, SamplingFactor::F_1_1, true, 0),
    ]
}

const H264_WORDS: &[&[u8]] = &[
    b"\0\0\x01",
    b"\0\0\0\x01\x09\xF0",
    b"\0\0\x03",
    b"\0\0\x01\x67",
    b"\0\0\x01\x68",
    b"\0\0\x01\x65\x88",
    b"\0\0\x01\x41\x9A",
    b"\0\0\x01\x06",
    b"\0\0\0\0",
    b"\xFF\xFF\xFF\xFF",
    b"\0\0\x01\x0C\xFF\x80",
];

fn streams() -> Vec<Vec<u8>> {
    let forms: [&[&str]; 2] = [
        &["-preset", "superfast", "-profile:v", "high"],
        &["-preset", "ultrafast", "-profile:v", "baseline"],
    ];
    let streams = forms.map(|form| {
        let source = format!("testsrc2=size={}x{}:rate=1,format=yuv420p", SIZE.width, SIZE.height);
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", &source, "-frames:v", "3"])
            .args(["-c:v", "libx264"])
            .args(form)
            .args(["-bf", "0", "-x264-params"])
            .arg("weightp=0:threads=1:sliced-threads=0:slices=1:scenecut=0:aud=1")
            .args(["-f", "h264", "pipe:1"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    });
    streams.to_vec()
}

const SEGMENT_WORDS: &[&[u8]] = &[
    b"\x47\x41\x00\x30",
    b"\x47\x01\x00\x10",
    b"\x47\x40\x00\x10",
    b"\0\0\x01\xE0\0\0\x84\x80\x05",
    b"\0\0\0\x01\x09\xF0",
    b"\0\0\0\x01\x67",
    b"\0\0\0\x01\x68",
    b"\0\0\0\x01\x65",
    b"\0\0\0\x08styp",
    b"\0\0\0\x08moof",
    b"\0\0\0\x08mdat",
    b"\0\0\0\x01mdat",
    b"trun\0\0\x07\x01",
    b"tfhd\0\x02\0\0",
    b"avc1",
    b"avcC\x01",
    b"moov",
    b"\x7F\xFF\xFF\xFF",
    b"\0\x01\x5F\x90",
];

/// Three frames, five seconds each, of both forms and in both containers.
fn segments() -> Vec<Vec<u8>> {
    let frames: Vec<_> = (0..3)
        .map(|index| ShownFrame { captured_at: START.plus_millis(index * 5_000), size: SIZE })
        .collect();
    let (plans, _) = timeline::plan(None, &frames, &timeline_settings());
    let muxed = |stream: &Vec<u8>, container| {
        mux(container, SIZE, &plans[0], &access_units(stream)).unwrap()
    };
    let streams = streams();
    let ts = streams.iter().map(|stream| muxed(stream, Container::Ts).media);
    let fmp4 = streams.iter().map(|stream| {
        let muxed = muxed(stream, Container::Fmp4);
        [muxed.init.unwrap(), muxed.media].concat()
    });
    let segments: Vec<_> = ts.chain(fmp4).collect();
    assert!(segments.iter().all(|segment| is_clipped(segment)));
    segments
}

const PLAYLIST_WORDS: &[&[u8]] = &[
    b"#EXTINF:30.000,\n",
    b"#EXT-X-DISCONTINUITY\n",
    b"segments/seg_000018.ts\n",
    b"#EXT-X-PROGRAM-DATE-TIME:",
    b"2026-01-31T08:10:00.000Z\n",
    b"#SP-COMMITTED:",
    b"\0to=",
    b"18446744073709551615",
    b"18446744073709551614",
    b"9223372036854775807",
    b"4294967.295",
    b"-9999-01-01T00:00:00.000Z",
    b"#EXT-X-MAP:URI=\"segments/init_a.mp4\"\n",
    b"\n",
    b"1e308",
    b"#EXT-X-MEDIA-SEQUENCE:",
    b"4294967295",
    b"#EXT-X-ENDLIST\n",
    b"NaN",
    b"%00",
];

fn playlists() -> Vec<Vec<u8>> {
    let window = |container, first: u64, entries: i64, jump: i64| {
        let mut window = Window::new(30, first, 2);
        for index in 0..entries {
            let captured_at = START.plus_millis(index * 30_000 + (index / 3) * jump);
            let entry = NewEntry {
                number: window.next_number(),
                container,
                init: (container == Container::Fmp4)
                    .then(|| init_file_name("00ff", container).into()),
                duration_millis: 30_000,
                discontinuity: jump != 0 && index % 3 == 0,
                captured_at,
                committed_at: captured_at.plus_millis(31_000 + jump),
            };
            window.push(entry).unwrap();
        }
        window.render()
    };
    let texts = [
        window(Container::Ts, 18, 4, 0),
        window(Container::Fmp4, 999_998, 9, 3_600_000),
        window(Container::Ts, u64::MAX - 3, 2, 1),
        window(Container::Ts, 0, 40, 1).replace("SEQUENCE:2\n", "SEQUENCE:18446744073709551615\n"),
        format!("{}\0from=2026-01-31T08:00:30Z&to=1769846490.5", window(Container::Ts, 0, 5, 1)),
    ];
    texts.map(String::into_bytes).to_vec()
}
