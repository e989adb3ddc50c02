//! Clips are exact to the tick, and to the pixel.

use std::path::Path;
use std::process::Command;

use stream_processor::media::clip::ClipError;
use stream_processor::media::timeline::TICKS_PER_MILLI;
use stream_processor::media::{Container, Playback};

use crate::material::{BOTH, SIZE, START, Shot, Stream, groups, span};
use crate::screen::{self, Screen, Watched};
use crate::tools::{Bench, silently};

/// What ffprobe says of a stream or of its file: the values of `entries`, a line each.
fn probed(path: &Path, entries: &str) -> Vec<String> {
    let listing = silently(
        Command::new("ffprobe")
            .args(["-v", "warning", "-count_frames", "-select_streams", "v"])
            .args(["-show_entries", entries, "-of", "default=nw=1:nk=1"])
            .arg(path),
    );
    listing.lines().map(str::to_owned).collect()
}

/// Makes the clip and judges it: every picture is the stream's own at that time, for as long.
fn judge(stream: &Stream, watched: &Watched, bench: &Bench, (from, to): (i64, i64)) {
    let (clip, file) = stream.clip(span(from, to)).unwrap();
    let path = bench.file("clip.mp4", &file);
    let expected = watched.between(from, to);
    let ticks: u64 = expected.iter().map(|(_, ticks)| ticks).sum();
    let what = format!("{:?}, {from} to {to}", stream.container);
    assert_eq!(clip.duration_ticks(), ticks, "{what}");
    assert_eq!(screen::of_clip(&path, ticks), expected, "{what}");
    let probed = probed(&path, "stream=codec_name,start_pts,duration_ts,duration");
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let secs = format!("{:.6}", ticks as f64 / 90_000.0);
    assert_eq!(probed, ["h264", "0", &ticks.to_string(), &secs], "{what}");
}

#[test]
fn every_span_shows_what_was_on_screen_then() {
    for container in BOTH {
        let bench = Bench::new();
        let stream = Stream::of(container, Playback::Realtime, &groups(4));
        assert_eq!(stream.segments.len(), 4);
        assert!(!stream.segments[1..].iter().any(|segment| segment.discontinuity));
        let watched = Watched::of(&stream, &bench);
        for span in [
            // At pictures: a frame's own, and a repeat of it.
            (5_180, 20_000),
            (9_780, 14_780),
            // In between, within one segment and over all of them.
            (12_345, 16_123),
            (12_345, 98_765),
            // Where segments begin, or just before and after.
            (30_000, 60_000),
            (29_999, 30_001),
            // Within one frame, within one repeat of it, and the shortest.
            (11_000, 13_000),
            (16_111, 16_113),
            (47_000, 47_001),
            // Wider than what there is.
            (-60_000, 600_000),
            (110_000, 600_000),
        ] {
            judge(&stream, &watched, &bench, span);
        }
    }
}

#[test]
fn silences_and_changes_of_size_are_played_across() {
    let mut groups = groups(5);
    // A minute of silence before the third, and other sizes from within the fourth on: the
    // last one comes back to the first size, before the frame before it was to end.
    for group in &mut groups[2..] {
        group.iter_mut().for_each(|shot| shot.millis += 60_000);
    }
    groups[3][3..].iter_mut().for_each(|shot| shot.size = (480, 272));
    groups[4].iter_mut().for_each(|shot| shot.millis -= 800);
    for container in BOTH {
        let bench = Bench::new();
        let stream = Stream::of(container, Playback::Realtime, &groups);
        let jumps = stream.segments.iter().filter(|segment| segment.discontinuity).count();
        assert_eq!((stream.segments.len(), jumps), (6, 3));
        let watched = Watched::of(&stream, &bench);
        for span in [
            (0, 1_000_000),
            (40_000, 130_000),
            (70_000, 140_000),
            (164_000, 166_500),
            (172_000, 190_000),
        ] {
            judge(&stream, &watched, &bench, span);
        }
        let (clip, _) = stream.clip(span(40_000, 130_000)).unwrap();
        let silences: Vec<_> = clip.silences().collect();
        assert_eq!(silences.len(), 1);
        assert_eq!(silences[0].to, stream.segments[2].captured_at);
        let error = stream.clip(span(70_000, 110_000)).unwrap_err();
        assert!(matches!(error, ClipError::Nothing { .. }), "{error}");
    }
}

#[test]
fn tools_find_one_track_with_the_capture_time_as_its_date() {
    let bench = Bench::new();
    let stream = Stream::of(Container::Ts, Playback::Realtime, &groups(2));
    let (clip, file) = stream.clip(span(12_345, 45_000)).unwrap();
    let path = bench.file("clip.mp4", &file);
    assert_eq!(clip.shown().from, START.plus_millis(12_345));
    let tags = probed(&path, "format_tags=creation_time,date");
    assert_eq!(tags, ["2026-01-31T08:00:12.000000Z", "2026-01-31T08:00:12.595Z"]);
    let facts = probed(&path, "stream=codec_tag_string,width,height,time_base,pix_fmt");
    assert_eq!(facts, ["avc1", "320", "180", "yuv420p", "1/90000"]);
    assert_eq!(probed(&path, "format=nb_streams"), ["1"]);
    let packets = probed(&path, "packet=duration");
    let packets: u64 = packets.iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // Two frames are there to be decoded only, for 10 ms each.
    assert_eq!(packets, clip.duration_ticks() + 2 * 900);
}

#[test]
fn a_clip_of_a_time_lapse_lasts_as_long_as_its_pictures() {
    let bench = Bench::new();
    let lapse = Playback::Timelapse { frame_rate: 6 };
    let stream = Stream::of(Container::Ts, lapse, &groups(2));
    let mut list = stream.list();
    list.iter_mut().for_each(|listed| listed.covers_millis = 30_000);
    let (clip, file) = stream.clip_of(&list, span(15_000, 45_000)).unwrap();
    // Half of each segment's second.
    assert_eq!(clip.duration_ticks(), 1_000 * TICKS_PER_MILLI);
    let shown: Screen = screen::of_clip(&bench.file("clip.mp4", &file), clip.duration_ticks());
    assert_eq!(shown.len(), 6, "{shown:?}");
    assert!(shown.iter().all(|(_, ticks)| ticks.abs_diff(15_000) <= 1), "{shown:?}");
}

#[test]
fn a_day_is_one_clip_and_costs_little_memory() {
    const SEGMENTS: usize = 2_880;
    let bench = Bench::new();
    let frames = (0..6).map(|index| Shot { millis: index * 5_000, size: SIZE });
    let one = Stream::of(Container::Ts, Playback::Realtime, &[frames.collect()]);
    // The same pictures every 30 s: what a segment's time stamps say is not looked at.
    let day = Stream { segments: vec![one.segments[0].clone(); SEGMENTS], ..one };
    let (clip, file) = day.clip(span(1_000, 24 * 3_600_000 - 1_000)).unwrap();
    assert_eq!(clip.duration_ticks(), (24 * 3_600 - 2) * 90_000);
    // Sizes of four bytes, and runs: see the module.
    assert!(clip.header().len() < 1 << 20, "{} bytes", clip.header().len());
    let path = bench.file("day.mp4", &file);
    let facts = probed(&path, "stream=nb_frames,duration");
    assert_eq!(facts, ["86398.000000", "172796"]);
}
