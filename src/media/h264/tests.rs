use proptest::prelude::*;

use super::*;

/// A picture of 32x16 pixels and one predicted from it, as x264 writes them but for the data.
pub(in crate::media) fn hand_written(cabac: bool, order_type: u32) -> Vec<Vec<u8>> {
    use super::bits::BitWriter;
    let mut sps = BitWriter::default();
    sps.bits(8, 0x67);
    sps.bits(24, 0x4D_40_0A);
    sps.unsigned(0);
    sps.unsigned(0);
    sps.unsigned(order_type);
    if order_type == 0 {
        sps.unsigned(2);
    }
    sps.unsigned(1);
    sps.flag(false);
    sps.unsigned(1);
    sps.unsigned(0);
    sps.bits(3, 0b110);
    sps.flag(false);
    let mut pps = BitWriter::default();
    pps.bits(8, 0x68);
    pps.unsigned(0);
    pps.unsigned(0);
    pps.flag(cabac);
    pps.flag(false);
    (0..3).for_each(|_| pps.unsigned(0));
    pps.bits(3, 0);
    (0..3).for_each(|_| pps.unsigned(0));
    pps.bits(3, 0b100);
    let slice = |idr: bool, frame_num: u32| {
        let mut w = BitWriter::default();
        w.bits(8, if idr { 0x65 } else { 0x41 });
        w.unsigned(0);
        w.unsigned(if idr { 7 } else { 5 });
        w.unsigned(0);
        w.bits(4, frame_num);
        if idr {
            w.unsigned(0);
        }
        if order_type == 0 {
            w.bits(6, frame_num * 2);
        }
        if idr {
            w.bits(2, 0);
        } else {
            w.bits(3, 0);
            if cabac {
                w.unsigned(0);
            }
        }
        w.unsigned(0);
        w.unsigned(1);
        if cabac {
            w.align_with_ones();
        }
        w.bits(32, 0xDEAD_BEEF);
        w.bits(13, 0);
        w.bits(24, 0);
        w.finish()
    };
    let mut first = Vec::new();
    for unit in [sps.finish(), pps.finish(), b"\x06\x05\x01\x00\x80".to_vec(), slice(true, 0)] {
        first.extend_from_slice(b"\0\0\0\x01");
        first.extend(nal::escape(&unit));
    }
    let second = [b"\0\0\x01", &nal::escape(&slice(false, 1))[..]].concat();
    vec![first, second]
}

fn all_forms() -> [Vec<Vec<u8>>; 4] {
    [(true, 2), (false, 2), (true, 0), (false, 0)].map(|(cabac, order)| hand_written(cabac, order))
}

#[test]
fn every_access_unit_is_followed_by_its_repeats() {
    for units in all_forms() {
        let stream = with_repeats(&units, &[3, 2]).unwrap();
        let kinds: Vec<_> = stream.pictures.iter().map(|p| (p.idr, p.reference)).collect();
        let (real, repeat) = ((false, true), (false, false));
        assert_eq!(kinds, [(true, true), repeat, repeat, real, repeat]);
        assert!(stream.pictures.iter().filter(|p| !p.reference).all(|p| p.nal.len() <= 20));
        assert_eq!(stream.codec(), "avc1.4D400A");
        assert_eq!(stream.size, PictureSize { width: 32, height: 16 });
    }
}

#[test]
fn rewriting_what_was_rewritten_changes_only_the_order() {
    for units in all_forms() {
        let once = with_repeats(&units, &[1, 1]).unwrap();
        let sets = [&once.sps, &once.pps[0]].map(|set| [b"\0\0\x01", &set[..]].concat()).concat();
        let again: Vec<Vec<u8>> = once
            .pictures
            .iter()
            .map(|picture| [&sets, &b"\0\0\x01"[..], &picture.nal].concat())
            .collect();
        assert_eq!(with_repeats(&again, &[1, 1]).unwrap(), once);
    }
}

#[test]
fn streams_that_are_not_as_expected_are_refused() {
    let units = hand_written(true, 2);
    let refused = |units: &[Vec<u8>], pictures: &[u32]| with_repeats(units, pictures).unwrap_err();
    assert!(matches!(refused(&[], &[]), H264Error::Missing { what: "any data", .. }));
    let headless = [units[1].clone()];
    assert!(matches!(refused(&headless, &[1]), H264Error::Missing { access_unit: 0, .. }));
    assert!(matches!(refused(&units, &[1, 0]), H264Error::PictureCount { access_unit: 1, .. }));
    assert!(matches!(refused(&units, &[9_000, 1]), H264Error::PictureCount { .. }));
    let twice = [units.concat()];
    assert!(matches!(refused(&twice, &[1]), H264Error::Unsupported { .. }));
    let partition = [units[0].clone(), b"\0\0\x01\x42\x80".to_vec()];
    assert_eq!(refused(&partition, &[1]), H264Error::UnexpectedNal { nal_type: 2 });
    let disposable = [units[0].clone(), b"\0\0\x01\x01\x9A\x80".to_vec()];
    assert!(matches!(refused(&disposable, &[1]), H264Error::Unsupported { .. }));
    let changed = [units[0].clone(), hand_written(false, 2)[0].clone()];
    assert_eq!(refused(&changed, &[1]), H264Error::ChangedParameters { access_unit: 1 });
}

proptest! {
    #[test]
    fn any_bytes_are_answered(
        units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4),
        heads in prop::collection::vec(any::<u8>(), 4),
    ) {
        let units: Vec<_> = units
            .iter()
            .zip(heads)
            .map(|(unit, head)| [b"\0\0\x01", &[head][..], unit].concat())
            .collect();
        let _ = with_repeats(&units, &[2, 2, 2]);
    }

    #[test]
    fn any_mutation_is_answered(
        form in 0_usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut units = all_forms()[form].clone();
        for (at, value) in changes {
            let at = at.index(units[0].len() + units[1].len());
            let first = units[0].len();
            if at < first { units[0][at] = value } else { units[1][at - first] = value }
        }
        let _ = with_repeats(&units, &[2, 2]);
        let cut = cut.index(units[0].len());
        units[0].truncate(cut);
        let _ = with_repeats(&units, &[2, 2]);
    }
}
