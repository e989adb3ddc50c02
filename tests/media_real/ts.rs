//! Transport streams, as FFmpeg and another demultiplexer read them.

use std::time::Instant;

use mpeg2ts_reader::{StreamType, demultiplex, pes, psi};
use stream_processor::media::timeline::PictureSize;
use stream_processor::media::{Container, Playback, mux};

use crate::material::{
    BASELINE, Bench, HIGH, encode, packets, picture_digests, picture_ticks, plan_one,
};

const SIZE: PictureSize = PictureSize { width: 636, height: 358 };

/// Two segments that follow each other, the second a little late and unevenly spaced.
fn two_segments(playback: Playback) -> ([Vec<u8>; 2], Vec<u64>) {
    let (first, timeline) =
        plan_one(None, SIZE, &[0, 5_000, 10_000, 15_000, 20_000, 25_000], playback);
    let captures = [30_400, 35_017, 39_900, 45_333];
    let (second, _) = plan_one(Some(&timeline), SIZE, &captures, playback);
    assert!(!second.discontinuity);
    let ticks = [picture_ticks(&first), picture_ticks(&second)].concat();
    let files = [(first, 6, HIGH), (second, 4, HIGH)].map(|(plan, frames, options)| {
        let muxed = mux(Container::Ts, SIZE, &plan, &encode(SIZE, frames, options)).unwrap();
        assert_eq!(muxed.init, None);
        muxed.media
    });
    (files, ticks)
}

#[test]
fn ffprobe_finds_every_picture_at_its_time_and_nothing_to_complain_about() {
    let bench = Bench::new();
    for playback in [Playback::Realtime, Playback::Timelapse { frame_rate: 12 }] {
        let (files, ticks) = two_segments(playback);
        let both = bench.file("both.ts", &files.concat());
        let found = packets(&both);
        assert_eq!(found.iter().map(|packet| packet.pts).collect::<Vec<_>>(), ticks);
        assert!(found.iter().all(|packet| !packet.corrupt), "{found:?}");
        let first = packets(&bench.file("first.ts", &files[0]));
        let keys: Vec<usize> = (0..found.len()).filter(|index| found[*index].key).collect();
        assert_eq!(keys, [0, first.len()]);
        assert_eq!(picture_digests(&both).len(), ticks.len());
    }
}

#[test]
fn a_single_frame_of_a_large_picture_is_a_whole_file() {
    let bench = Bench::new();
    let size = PictureSize { width: 1920, height: 1080 };
    let (plan, _) = plan_one(None, size, &[0], Playback::Realtime);
    let units = encode(size, 1, BASELINE);
    assert!(units[0].len() > 65_535, "longer than PES_packet_length can say");
    let muxed = mux(Container::Ts, size, &plan, &units).unwrap();
    let path = bench.file("one.ts", &muxed.media);
    assert_eq!(picture_digests(&path).len(), 10);
    let found: Vec<u64> = packets(&path).iter().map(|packet| packet.pts).collect();
    assert_eq!(found, picture_ticks(&plan));
}

#[test]
fn repeats_cost_little_in_bytes_and_time() {
    let size = PictureSize { width: 1920, height: 1080 };
    let captures = [0, 5_000, 10_000, 15_000, 20_000, 25_000];
    let units = encode(size, 6, HIGH);
    let (plan, _) = plan_one(None, size, &captures, Playback::Realtime);
    let mut without = plan.clone();
    without.showings.iter_mut().for_each(|showing| showing.pictures = 1);
    for container in [Container::Ts, Container::Fmp4] {
        let started = Instant::now();
        let with = mux(container, size, &plan, &units).unwrap().media.len();
        let millis = started.elapsed().as_secs_f64() * 1_000.0;
        let without = mux(container, size, &without, &units).unwrap().media.len();
        let encoded: usize = units.iter().map(Vec::len).sum();
        println!("{container:?}: {encoded} encoded, {without} once, {with} repeated, {millis} ms");
        assert!(with - without <= 54 * 188 + 16 * 188);
    }
}

mpeg2ts_reader::packet_filter_switch! {
    Filters<Demux> {
        Pes: pes::PesPacketFilter<Demux, Watcher>,
        Pat: demultiplex::PatPacketFilter<Demux>,
        Pmt: demultiplex::PmtPacketFilter<Demux>,
        Null: demultiplex::NullPacketFilter<Demux>,
    }
}

/// Hands each kind of packet to its reader, and keeps what the watcher saw.
pub struct Demux {
    changeset: demultiplex::FilterChangeset<Filters>,
    pts: Vec<u64>,
    continuity_errors: usize,
    ended: usize,
}

impl demultiplex::DemuxContext for Demux {
    type F = Filters;

    fn filter_changeset(&mut self) -> &mut demultiplex::FilterChangeset<Self::F> {
        &mut self.changeset
    }

    fn construct(&mut self, request: demultiplex::FilterRequest<'_, '_>) -> Self::F {
        match request {
            demultiplex::FilterRequest::ByPid(psi::pat::PAT_PID) => {
                Filters::Pat(demultiplex::PatPacketFilter::default())
            }
            demultiplex::FilterRequest::Pmt { pid, program_number } => {
                Filters::Pmt(demultiplex::PmtPacketFilter::new(pid, program_number))
            }
            demultiplex::FilterRequest::ByStream { stream_type: StreamType::H264, .. } => {
                Filters::Pes(pes::PesPacketFilter::new(Watcher))
            }
            _ => Filters::Null(demultiplex::NullPacketFilter::default()),
        }
    }
}

pub struct Watcher;

impl pes::ElementaryStreamConsumer<Demux> for Watcher {
    fn start_stream(&mut self, _: &mut Demux) {}

    fn begin_packet(&mut self, demux: &mut Demux, header: pes::PesHeader<'_>) {
        let pes::PesContents::Parsed(Some(parsed)) = header.contents() else {
            panic!("a PES packet without a header");
        };
        assert!(parsed.payload().starts_with(b"\0\0\0\x01\x09\xF0"), "a delimiter first");
        match parsed.pts_dts() {
            Ok(pes::PtsDts::PtsOnly(Ok(pts))) => demux.pts.push(pts.value()),
            other => panic!("{other:?}"),
        }
    }

    fn continue_packet(&mut self, _: &mut Demux, _: &[u8]) {}

    fn end_packet(&mut self, demux: &mut Demux) {
        demux.ended += 1;
    }

    fn continuity_error(&mut self, demux: &mut Demux) {
        demux.continuity_errors += 1;
    }
}

#[test]
fn another_demultiplexer_reads_file_after_file_without_a_gap() {
    let (files, ticks) = two_segments(Playback::Realtime);
    let mut demux = Demux {
        changeset: demultiplex::FilterChangeset::default(),
        pts: Vec::new(),
        continuity_errors: 0,
        ended: 0,
    };
    let mut reader = demultiplex::Demultiplex::new(&mut demux);
    files.iter().for_each(|file| reader.push(&mut demux, file));
    assert_eq!(demux.pts, ticks);
    assert_eq!(demux.continuity_errors, 0);
    assert!(demux.ended >= ticks.len() - 1);
}
