use proptest::prelude::*;
use re_mp4::Mp4;

use super::pictures::LEAD_TICKS;
use super::*;
use crate::media::h264::tests::hand_written;
use crate::media::timeline::{PictureSize, SegmentPlan, Showing, TICKS_PER_MILLI};
use crate::media::{Muxed, mux};

const START: i64 = 1_769_846_400_000;
const SIZE: PictureSize = PictureSize { width: 32, height: 16 };

/// A segment to be: frames that last so many milliseconds and are so many pictures each.
#[derive(Clone, Debug)]
struct Made {
    frames: Vec<(u32, u32)>,
    /// Milliseconds of silence before it, or by how many it comes too early; none when it
    /// continues the one before.
    after: Option<i64>,
    cabac: bool,
}

impl Made {
    fn millis(&self) -> u32 {
        self.frames.iter().map(|(millis, _)| millis).sum()
    }

    fn file(&self, container: Container) -> Muxed {
        let mut start_ticks = 900_000;
        let mut showings = Vec::new();
        for (millis, pictures) in &self.frames {
            let duration_ticks = u64::from(*millis) * TICKS_PER_MILLI;
            showings.push(Showing { start_ticks, duration_ticks, pictures: *pictures });
            start_ticks += duration_ticks;
        }
        let frames = 0..showings.len();
        let plan = SegmentPlan { frames, discontinuity: self.after.is_some(), showings };
        let [first, other] = <[_; 2]>::try_from(hand_written(self.cabac, 2)).unwrap();
        let others = vec![other; self.frames.len() - 1];
        mux(container, SIZE, &plan, &[vec![first], others].concat()).unwrap()
    }
}

/// Six frames of 5 s, ten pictures each.
fn usual(after: Option<i64>) -> Made {
    Made { frames: vec![(5_000, 10); 6], after, cabac: true }
}

fn list(made: &[Made]) -> Vec<ListedSegment> {
    let mut at = START;
    made.iter()
        .zip(0..)
        .map(|(made, index)| {
            at += made.after.unwrap_or(0);
            // What continues is a little off, as frames are.
            let off = if index > 0 && made.after.is_none() { 7 } else { 0 };
            let listed = ListedSegment {
                captured_at: UtcMillis(at + off),
                duration_millis: made.millis(),
                covers_millis: made.millis(),
                discontinuity: made.after.is_some(),
            };
            at += i64::from(made.millis());
            listed
        })
        .collect()
}

fn span(from: i64, to: i64) -> ClipSpan {
    ClipSpan { from: UtcMillis(START + from), to: UtcMillis(START + to) }
}

const ALL: ClipSpan = ClipSpan { from: UtcMillis(i64::MIN), to: UtcMillis(i64::MAX) };

fn bytes(container: Container, file: &Muxed) -> SegmentBytes<'_> {
    SegmentBytes { container, media: &file.media, init: file.init.as_deref() }
}

fn clip(made: &[Made], span: ClipSpan, container: Container) -> Result<(Clip, Vec<u8>), ClipError> {
    let files: Vec<_> = made.iter().map(|made| made.file(container)).collect();
    let mut plan = ClipPlan::new(span, &list(made))?;
    while let Some(due) = plan.due() {
        plan.add(due, &bytes(container, &files[due]))?;
    }
    let clip = plan.finish()?;
    let mut file = clip.header().to_vec();
    for (index, part) in clip.parts().iter().enumerate() {
        assert_eq!(part.place_bytes.start, file.len() as u64);
        file.extend_from_slice(&clip.part(index, &bytes(container, &files[part.segment]))?);
        assert_eq!(part.place_bytes.end, file.len() as u64);
    }
    assert_eq!(clip.len_bytes(), file.len() as u64);
    Ok((clip, file))
}

/// The samples as another parser finds them: duration, size, and whether one can start there.
fn samples(file: &[u8]) -> Vec<(u64, u64, bool)> {
    let mp4 = Mp4::read_bytes(file).unwrap();
    let track = mp4.tracks().values().next().unwrap();
    track.samples.iter().map(|s| (s.duration, s.size, s.is_sync)).collect()
}

fn durations_millis(file: &[u8]) -> Vec<u64> {
    samples(file).iter().map(|(ticks, ..)| ticks / TICKS_PER_MILLI).collect()
}

#[test]
fn a_clip_begins_and_ends_within_pictures() {
    // The picture at 12.3 s is a repeat of the third frame's, the one at 14.7 s its last.
    let (clip, file) = clip(&[usual(None)], span(12_300, 14_700), Container::Ts).unwrap();
    assert_eq!(clip.duration_ticks(), 2_400 * TICKS_PER_MILLI);
    assert_eq!(clip.shown(), span(12_300, 14_700));
    // Two frames to decode before, then the third until 12.5 s.
    let lead = LEAD_TICKS / TICKS_PER_MILLI;
    assert_eq!(durations_millis(&file), [lead, lead, 200, 500, 500, 500, 500, 200]);
    assert_eq!(samples(&file).iter().position(|(.., is_sync)| *is_sync), Some(0));
}

#[test]
fn nothing_goes_before_a_clip_that_begins_where_a_segment_does() {
    let made = [usual(None), usual(None)];
    let (clip, file) = clip(&made, span(30_000, 31_000), Container::Fmp4).unwrap();
    assert_eq!(durations_millis(&file), [500, 500]);
    assert_eq!(clip.parts().iter().map(|part| part.segment).collect::<Vec<_>>(), [1]);
    assert!(memchr::memmem::find(&file, b"elst").is_none());
}

#[test]
fn both_containers_give_the_same_file() {
    let made = [usual(None), Made { cabac: false, ..usual(Some(0)) }, usual(Some(60_000))];
    for span in [ALL, span(1_234, 123_456)] {
        let [ts, fmp4] = [Container::Ts, Container::Fmp4].map(|c| clip(&made, span, c).unwrap().1);
        assert_eq!(ts, fmp4);
    }
}

#[test]
fn silences_are_left_out_and_told() {
    let made = [usual(None), usual(Some(45_000)), usual(None)];
    let (clip, _) = clip(&made, span(20_000, 200_000), Container::Ts).unwrap();
    assert_eq!(clip.shown(), span(20_000, 135_000));
    assert_eq!(clip.silences().collect::<Vec<_>>(), [span(30_000, 75_000)]);
    assert_eq!(clip.duration_ticks(), 70_000 * TICKS_PER_MILLI);
}

#[test]
fn what_would_last_longer_gives_way_to_what_was_taken_then() {
    let early = Made { cabac: false, ..usual(Some(-700)) };
    let (clip, file) = clip(&[usual(None), early], ALL, Container::Ts).unwrap();
    assert_eq!(clip.duration_ticks(), 59_300 * TICKS_PER_MILLI);
    assert_eq!(durations_millis(&file)[57..60], [500, 300, 500]);
    assert_eq!(clip.silences().count(), 0);
}

#[test]
fn a_time_lapse_is_cut_by_capture_time() {
    let mut listed = list(&[usual(None), usual(None)]);
    for segment in &mut listed {
        segment.covers_millis = 600_000;
    }
    let (cuts, shown) = span::cuts(span(300_000, 660_000), &listed).unwrap();
    let millis = |cut: &Cut| cut.shown_ticks.start / 90..cut.shown_ticks.end / 90;
    assert_eq!(cuts.iter().map(millis).collect::<Vec<_>>(), [15_000..30_000, 0..3_000]);
    assert_eq!(shown, span(300_000, 660_000));
}

#[test]
fn changed_parameter_sets_are_described_and_repeated_in_band() {
    let made = [usual(None), Made { cabac: false, ..usual(Some(0)) }, usual(Some(0))];
    let (_, file) = clip(&made, ALL, Container::Ts).unwrap();
    let mp4 = Mp4::read_bytes(&file).unwrap();
    let table = &mp4.moov.traks[0].mdia.minf.stbl;
    let runs: Vec<_> =
        table.stsc.entries.iter().map(|e| (e.first_chunk, e.sample_description_index)).collect();
    assert_eq!(runs, [(1, 1), (2, 2), (3, 1)]);
    let kinds: Vec<Vec<u8>> = mp4
        .tracks()
        .values()
        .flat_map(|track| &track.samples)
        .map(|sample| unit_types(&file[sample.byte_range()]))
        .collect();
    for (index, kinds) in kinds.iter().enumerate() {
        assert_eq!(kinds[..], if index % 60 == 0 { vec![7, 8, 8, 5] } else { vec![1] }, "{index}");
    }
}

fn unit_types(mut sample: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let Some((length, rest)) = sample.split_first_chunk::<4>() {
        let (unit, after) = rest.split_at(u32::from_be_bytes(*length) as usize);
        types.push(unit[0] & 31);
        sample = after;
    }
    types
}

#[test]
fn a_span_without_pictures_says_what_there_is() {
    let made = [usual(None), usual(Some(60_000))];
    let error = clip(&made, span(30_000, 90_000), Container::Ts).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing was captured from 2026-01-31T08:00:30.000Z to 2026-01-31T08:01:30.000Z: \
         what there is reaches from 2026-01-31T08:00:00.000Z to 2026-01-31T08:02:00.000Z"
    );
    let error = ClipPlan::new(ALL, &[]).unwrap_err();
    assert!(matches!(error, ClipError::Nothing { listed: None, .. }));
    let error = ClipPlan::new(span(5, 5), &list(&made)).unwrap_err();
    assert_eq!(error, ClipError::Order(span(5, 5)));
}

#[test]
fn segments_are_taken_in_turn() {
    let made = [usual(None), usual(None)];
    let file = made[0].file(Container::Ts);
    let mut plan = ClipPlan::new(ALL, &list(&made)).unwrap();
    assert_eq!(plan.needed().collect::<Vec<_>>(), [0, 1]);
    let error = plan.add(1, &bytes(Container::Ts, &file)).unwrap_err();
    assert_eq!(error.to_string(), "segment 1 of the list was given, segment 0 is due");
    plan.add(0, &bytes(Container::Ts, &file)).unwrap();
    let error = plan.clone().finish().unwrap_err();
    assert_eq!(error, ClipError::Incomplete { due: 1 });
    plan.add(1, &bytes(Container::Ts, &file)).unwrap();
    let error = plan.add(2, &bytes(Container::Ts, &file)).unwrap_err();
    assert_eq!(error.to_string(), "segment 2 of the list was given, but no more are needed");
    assert!(plan.finish().is_ok());
}

#[test]
fn a_damaged_segment_is_named_with_what_is_wrong() {
    let made = [usual(None)];
    let fault = |container, media: &[u8], init: Option<&[u8]>| {
        let mut plan = ClipPlan::new(ALL, &list(&made)).unwrap();
        let error = plan.add(0, &SegmentBytes { container, media, init }).unwrap_err();
        match error {
            ClipError::Segment { segment: 0, fault, .. } => fault,
            other => panic!("{other:?}"),
        }
    };
    let is_unreadable = |fault| matches!(fault, SegmentFault::Unreadable { .. });
    let ts = made[0].file(Container::Ts).media;
    let last_packet = ts.len() - 188;
    assert!(is_unreadable(fault(Container::Ts, &ts[..last_packet], None)));
    assert!(is_unreadable(fault(Container::Ts, &ts[..ts.len() - 1], None)));
    assert!(is_unreadable(fault(Container::Ts, &[], None)));
    assert!(is_unreadable(fault(Container::Ts, &[&ts[..376], &ts[564..]].concat(), None)));
    let fmp4 = made[0].file(Container::Fmp4);
    let init = fmp4.init.as_deref();
    assert!(is_unreadable(fault(Container::Ts, &fmp4.media, None)));
    assert!(is_unreadable(fault(Container::Fmp4, &ts, init)));
    assert!(is_unreadable(fault(Container::Fmp4, &fmp4.media[..fmp4.media.len() - 1], init)));
    assert!(is_unreadable(fault(Container::Fmp4, &fmp4.media, Some(&fmp4.media))));
    assert_eq!(fault(Container::Fmp4, &fmp4.media, None), SegmentFault::NoInit);
    let other = Made { frames: vec![(5_000, 10); 5], ..usual(None) }.file(Container::Fmp4);
    let fault = fault(Container::Fmp4, &other.media, init);
    assert_eq!(fault, SegmentFault::Duration { found_ticks: 2_250_000, listed_ticks: 2_700_000 });
}

#[test]
fn a_segment_that_changes_between_the_passes_is_noticed() {
    let made = [usual(None), usual(None)];
    let (clip, _) = clip(&made, ALL, Container::Ts).unwrap();
    for other in [
        Made { cabac: false, ..usual(None) },
        Made { frames: vec![(15_000, 30); 2], ..usual(None) },
    ] {
        let other = other.file(Container::Fmp4);
        let error = clip.part(1, &bytes(Container::Fmp4, &other)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "segment 1 of the list, which starts at 2026-01-31T08:00:30.000Z, has changed since \
             the clip was planned: plan it again"
        );
    }
    assert!(matches!(
        clip.part(2, &bytes(Container::Ts, &made[0].file(Container::Ts))),
        Err(ClipError::Turn { .. })
    ));
}

#[test]
fn a_large_clip_has_64_bit_sizes_and_offsets() {
    const LARGE_BYTES: u32 = 0x7000_0000;
    let file = usual(None).file(Container::Ts);
    let pictures = Pictures::read(&bytes(Container::Ts, &file), 30_000 * TICKS_PER_MILLI).unwrap();
    let mut table = Table::default();
    for _ in 0..3 {
        let sample = Sample { size_bytes: LARGE_BYTES, duration_ticks: 1, is_sync: true };
        table.add_chunk(0, [sample]).unwrap();
    }
    let contents = Contents {
        configurations: &[pictures.configuration],
        table: &table,
        lead_ticks: 0,
        starts_at: UtcMillis(START),
    };
    let header = header::write(&contents).unwrap();
    let (before, size) = header.split_last_chunk::<8>().unwrap();
    assert!(before.ends_with(b"\0\0\0\x01mdat"));
    assert_eq!(u64::from_be_bytes(*size), 16 + 3 * u64::from(LARGE_BYTES));
    let at = memchr::memmem::find(&header, b"co64").unwrap() + 12;
    let (offsets, _) = header[at..].as_chunks::<8>();
    for (index, offset) in (0..3).zip(offsets) {
        let expected = header.len() as u64 + index * u64::from(LARGE_BYTES);
        assert_eq!(u64::from_be_bytes(*offset), expected);
    }
}

fn made() -> impl Strategy<Value = Made> {
    let frames = prop::collection::vec((200_u32..8_000, 1_u32..12), 1..4);
    let after = prop_oneof![
        4 => Just(None),
        1 => (0_i64..20_000).prop_map(Some),
        1 => (-3_000_i64..0).prop_map(Some),
    ];
    (frames, after, prop::bool::weighted(0.8)).prop_map(|(frames, after, cabac)| Made {
        frames,
        after,
        cabac,
    })
}

/// When the pictures of all segments are on screen, in ticks of capture time: start and end.
/// A picture ends where the next begins or a later run does.
fn pictures_of(made: &[Made]) -> Vec<(i64, i64)> {
    let ticks_per_milli = i64::try_from(TICKS_PER_MILLI).unwrap();
    let mut pictures: Vec<(i64, i64)> = Vec::new();
    let mut at = 0;
    for made in made {
        at += made.after.unwrap_or(0) * ticks_per_milli;
        pictures.retain(|(start, _)| *start < at);
        pictures.iter_mut().for_each(|(_, end)| *end = (*end).min(at));
        for (millis, count) in &made.frames {
            let lasts = i64::from(*millis) * ticks_per_milli;
            for index in 0..i64::from(*count) {
                let [from, to] = [index, index + 1].map(|n| at + lasts * n / i64::from(*count));
                pictures.push((from, to));
            }
            at += lasts;
        }
    }
    pictures
}

proptest! {
    #[test]
    fn any_span_lasts_as_long_and_has_as_many_pictures_as_are_on_screen_in_it(
        made in prop::collection::vec(made(), 1..6),
        from in -5_000_i64..60_000,
        lasts in 1_i64..60_000,
        fmp4 in any::<bool>(),
    ) {
        let container = if fmp4 { Container::Fmp4 } else { Container::Ts };
        let ticks_per_milli = i64::try_from(TICKS_PER_MILLI).unwrap();
        let (from_ticks, to_ticks) = (from * ticks_per_milli, (from + lasts) * ticks_per_milli);
        let on_screen: Vec<u64> = pictures_of(&made)
            .iter()
            .map(|(start, end)| (*start).max(from_ticks)..(*end).min(to_ticks))
            .filter(|shown| !shown.is_empty())
            .map(|shown| (shown.end - shown.start).unsigned_abs())
            .collect();
        match clip(&made, span(from, from + lasts), container) {
            Ok((clip, file)) => {
                let found = samples(&file);
                let lead = found.len() - on_screen.len();
                prop_assert!(lead < 4, "fewer than the frames of a segment");
                let durations: Vec<u64> = found.iter().map(|(ticks, ..)| *ticks).collect();
                prop_assert_eq!(&durations[lead..], &on_screen);
                prop_assert_eq!(clip.duration_ticks(), on_screen.iter().sum::<u64>());
                prop_assert!(found[0].2);
                let stored: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
                prop_assert_eq!(clip.len_bytes(), clip.header().len() as u64 + stored);
            }
            Err(error) => {
                let is_nothing = matches!(error, ClipError::Nothing { .. });
                prop_assert!(is_nothing && on_screen.is_empty(), "{}", error);
            }
        }
    }
}
