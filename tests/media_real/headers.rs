//! Slice headers as another parser reads them: decoders forgive much that the standard does not.

use h264_reader::Context;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::slice::{PicOrderCountLsb, SliceHeader};
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::nal::{Nal, RefNal};
use stream_processor::media::h264;
use stream_processor::media::timeline::PictureSize;

use crate::material::{BASELINE, HIGH, MAIN, encode};

const SIZE: PictureSize = PictureSize { width: 64, height: 48 };

#[test]
fn frame_numbers_and_picture_order_counts_are_the_standards() {
    for options in [HIGH, MAIN, BASELINE, &["-g", "7", "-preset", "superfast"]] {
        // More frames than frame_num counts.
        let units = encode(SIZE, 40, options);
        let stream = h264::with_repeats(&units, &[3; 40]).unwrap();
        let mut context = Context::default();
        let sps = RefNal::new(&stream.sps, &[], true);
        context.put_seq_param_set(SeqParameterSet::from_bits(sps.rbsp_bits()).unwrap());
        for pps in &stream.pps {
            let pps = RefNal::new(pps, &[], true);
            let parsed = PicParameterSet::from_bits(&context, pps.rbsp_bits()).unwrap();
            context.put_pic_param_set(parsed);
        }
        // What 7.4.3 derives: a picture counts one up from the reference before it.
        let (mut reference, mut order) = (0, 0);
        for picture in &stream.pictures {
            let nal = RefNal::new(&picture.nal, &[], true);
            let head = nal.header().unwrap();
            let (slice, sps, pps) =
                SliceHeader::from_bits(&context, &mut nal.rbsp_bits(), head, None).unwrap();
            let period = 1 << sps.log2_max_frame_num();
            let (expected, expected_order) =
                if picture.idr { (0, 0) } else { ((reference + 1) % period, order) };
            assert_eq!(u32::from(slice.frame_num), expected);
            match slice.pic_order_cnt_lsb {
                Some(PicOrderCountLsb::Frame(lsb)) => assert_eq!(lsb, expected_order),
                other => panic!("{other:?}"),
            }
            assert_eq!(head.nal_ref_idc() > 0, picture.reference);
            assert_eq!(pps.pic_parameter_set_id.id() == 0, picture.reference);
            if picture.reference {
                reference = expected;
            } else {
                assert_eq!(slice.disable_deblocking_filter_idc, 1);
            }
            order = expected_order + 2;
        }
        assert_eq!(stream.pictures.len(), 120);
    }
}
