//! Fragmented MP4, as FFmpeg and another parser read it.

use re_mp4::Mp4;
use stream_processor::media::h264;
use stream_processor::media::timeline::{PictureSize, SegmentPlan};
use stream_processor::media::{Container, MediaError, Muxed, Playback, mux};

use crate::material::{
    BASELINE, Bench, HIGH, MAIN, encode, packets, picture_digests, picture_ticks, plan_one,
};

const SIZE: PictureSize = PictureSize { width: 636, height: 358 };

fn plans(playback: Playback) -> [SegmentPlan; 2] {
    let (first, timeline) = plan_one(None, SIZE, &[0, 5_000, 10_000], playback);
    let (second, _) = plan_one(Some(&timeline), SIZE, &[15_250, 19_871], playback);
    [first, second]
}

fn muxed(plan: &SegmentPlan, options: &[&str]) -> Muxed {
    mux(Container::Fmp4, SIZE, plan, &encode(SIZE, plan.frames.len(), options)).unwrap()
}

#[test]
fn ffprobe_finds_every_picture_at_its_time_and_for_its_time() {
    let bench = Bench::new();
    for playback in [Playback::Realtime, Playback::Timelapse { frame_rate: 30 }] {
        for options in [HIGH, MAIN, BASELINE] {
            let plans = plans(playback);
            let [first, second] = [0, 1].map(|index| muxed(&plans[index], options));
            assert_eq!(first.init, second.init, "one init file for one format");
            let ticks = [picture_ticks(&plans[0]), picture_ticks(&plans[1])].concat();
            let whole = [&first.init.unwrap()[..], &first.media, &second.media].concat();
            let path = bench.file("whole.mp4", &whole);
            let found = packets(&path);
            assert_eq!(found.iter().map(|packet| packet.pts).collect::<Vec<_>>(), ticks);
            // FFmpeg tells a fragment's durations from the encoder's frame rate; the parser
            // below tells what the file says.
            let last = plans[1].showings.last().unwrap();
            let ends = ticks[1..].iter().copied().chain([last.start_ticks + last.duration_ticks]);
            let lasts: Vec<u64> = ends.zip(&ticks).map(|(end, start)| end - start).collect();
            assert_eq!(sample_durations(&whole), lasts);
            assert_eq!(picture_digests(&path).len(), ticks.len());
        }
    }
}

fn sample_durations(file: &[u8]) -> Vec<u64> {
    let mp4 = Mp4::read_bytes(file).unwrap();
    mp4.tracks().values().flat_map(|track| &track.samples).map(|s| s.duration).collect()
}

#[test]
fn another_parser_agrees_on_samples_and_codec() {
    let plan = &plans(Playback::Realtime)[0];
    let units = encode(SIZE, plan.frames.len(), HIGH);
    let file = mux(Container::Fmp4, SIZE, plan, &units).unwrap();
    let whole = [file.init.unwrap(), file.media].concat();
    let mp4 = Mp4::read_bytes(&whole).unwrap();
    let track = mp4.tracks().values().next().unwrap();
    assert_eq!((u32::from(track.width), u32::from(track.height)), (SIZE.width, SIZE.height));
    assert_eq!(track.timescale, 90_000);
    assert_eq!(track.samples.len(), picture_ticks(plan).len());
    assert_eq!(track.samples.iter().map(|s| s.duration).sum::<u64>(), 15 * 90_000);
    let sync: Vec<usize> =
        (0..track.samples.len()).filter(|index| track.samples[*index].is_sync).collect();
    assert_eq!(sync, [0]);
    let codec = h264::with_repeats(&units, &[]).unwrap().codec();
    assert_eq!(track.codec_string(&mp4).unwrap().to_lowercase(), codec.to_lowercase());
    for sample in &track.samples {
        let bytes = &whole[sample.byte_range()];
        let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap() + 4, bytes.len());
    }
}

#[test]
fn what_does_not_fit_the_plan_is_refused() {
    let plan = &plans(Playback::Realtime)[0];
    let units = encode(SIZE, plan.frames.len(), HIGH);
    for container in [Container::Ts, Container::Fmp4] {
        let short = mux(container, SIZE, plan, &units[..2]).unwrap_err();
        assert_eq!(short, MediaError::FrameCount { planned: 3, encoded: 2 });
        let other = PictureSize { width: 640, height: 360 };
        let error = mux(container, other, plan, &units).unwrap_err();
        assert_eq!(error, MediaError::Size { planned: other, encoded: SIZE });
        let b_frames = vec![b"\0\0\x01\x67".to_vec(); 3];
        assert!(matches!(mux(container, SIZE, plan, &b_frames), Err(MediaError::H264(_))));
    }
}
