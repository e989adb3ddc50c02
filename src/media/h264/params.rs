//! Sequence and picture parameter sets: what the slices need of them, and the two changes that
//! repeats need.

use super::bits::{BitReader, BitWriter, bits_before_stop};
use super::{H264Error, nal};
use crate::media::timeline::PictureSize;

/// Bits of pic_order_cnt_lsb in what is written: the most there are, so that a frame can be
/// repeated for hours.
pub(super) const ORDER_BITS: u32 = 16;

/// profile_idc of the profiles whose parameter sets say more (7.3.2.1.1) that x264 writes.
const HIGH_PROFILES: [u32; 4] = [100, 110, 122, 244];

/// What a sequence parameter set says (7.3.2.1.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sps {
    pub(super) frame_num_bits: u32,
    /// Bits of pic_order_cnt_lsb; none for type 2, which has none.
    pub(super) order_bits: Option<u32>,
    pub(super) macroblocks: u32,
    pub(super) size: PictureSize,
    /// Type 0 with [`ORDER_BITS`], ready to write.
    pub(super) rewritten: Vec<u8>,
    /// chroma_format_idc and the two bit depths less 8, of the high profiles only.
    pub(super) high: Option<[u8; 3]>,
}

fn unsupported<T>(what: &'static str) -> Result<T, H264Error> {
    Err(H264Error::Unsupported { what })
}

impl Sps {
    pub(super) fn parse(sps: &[u8]) -> Result<Self, H264Error> {
        const WITHIN: &str = "the sequence parameter set";
        let rbsp = nal::unescape(sps);
        let mut r = BitReader::new(&rbsp, WITHIN);
        r.bits(8)?;
        let profile = r.bits(8)?;
        r.bits(16)?;
        if r.unsigned()? != 0 {
            return unsupported("a sequence parameter set other than 0");
        }
        let high = if HIGH_PROFILES.contains(&profile) {
            let chroma_format = r.unsigned()?;
            let depths = [r.unsigned()?, r.unsigned()?];
            let _lossless = r.flag()?;
            if chroma_format != 1 || depths != [0, 0] {
                return unsupported("anything but 8-bit 4:2:0");
            }
            if r.flag()? {
                return unsupported("scaling matrices");
            }
            Some([1, 0, 0])
        } else {
            None
        };
        let frame_num_bits = r.unsigned()?.saturating_add(4);
        if frame_num_bits > 16 {
            return Err(H264Error::Malformed { within: WITHIN, what: "log2_max_frame_num" });
        }
        let before_order = r.position();
        let order_bits = match r.unsigned()? {
            0 => Some(r.unsigned()?.saturating_add(4)),
            2 => None,
            _ => return unsupported("picture order count type 1"),
        };
        if order_bits.is_some_and(|bits| bits > 16) {
            return Err(H264Error::Malformed { within: WITHIN, what: "log2_max_pic_order_cnt" });
        }
        let after_order = r.position();
        let _max_num_ref_frames = r.unsigned()?;
        let _gaps_allowed = r.flag()?;
        let (columns, rows) = (r.unsigned()?.saturating_add(1), r.unsigned()?.saturating_add(1));
        if columns > 4_096 || rows > 4_096 {
            return unsupported("pictures of more than 65,536 pixels a side");
        }
        if !r.flag()? {
            return unsupported("interlaced coding");
        }
        let _direct_8x8 = r.flag()?;
        let mut crop = [0; 4];
        if r.flag()? {
            for side in &mut crop {
                *side = r.unsigned()?;
            }
        }
        let [left, right, top, bottom] = crop;
        // Crop units of 4:2:0 frames are two pixels (table 6-1 and 7.4.2.1.1).
        let cropped = |blocks: u32, one: u32, other: u32| {
            (blocks * 16).checked_sub(one.saturating_add(other).saturating_mul(2))
        };
        let size = cropped(columns, left, right)
            .zip(cropped(rows, top, bottom))
            .map(|(width, height)| PictureSize { width, height })
            .ok_or(H264Error::Malformed { within: WITHIN, what: "the cropping" })?;

        let end = bits_before_stop(&rbsp).ok_or(H264Error::Truncated { within: WITHIN })?;
        let mut w = BitWriter::with_capacity(rbsp.len() + 4);
        w.copy(&rbsp, 0, before_order);
        w.unsigned(0);
        w.unsigned(ORDER_BITS - 4);
        w.copy(&rbsp, after_order, end);
        Ok(Self {
            frame_num_bits,
            order_bits,
            macroblocks: columns * rows,
            size,
            rewritten: nal::escape(&w.finish()),
            high,
        })
    }
}

/// What a picture parameter set says (7.3.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pps {
    pub(super) cabac: bool,
    pub(super) deblocking_control: bool,
}

impl Pps {
    pub(super) fn parse(pps: &[u8]) -> Result<Self, H264Error> {
        let rbsp = nal::unescape(pps);
        let mut r = BitReader::new(&rbsp, "the picture parameter set");
        r.bits(8)?;
        if r.unsigned()? != 0 || r.unsigned()? != 0 {
            return unsupported("a picture parameter set other than 0");
        }
        let cabac = r.flag()?;
        if r.flag()? {
            return unsupported("bottom_field_pic_order_in_frame_present_flag");
        }
        if r.unsigned()? != 0 {
            return unsupported("slice groups");
        }
        r.unsigned()?;
        r.unsigned()?;
        if r.flag()? {
            return unsupported("weighted prediction (encode with weightp=0)");
        }
        r.bits(2)?;
        r.skip_signed()?;
        r.skip_signed()?;
        r.skip_signed()?;
        let deblocking_control = r.flag()?;
        let _constrained_intra = r.flag()?;
        if r.flag()? {
            return unsupported("redundant pictures");
        }
        Ok(Self { cabac, deblocking_control })
    }
}

/// The identifier of the repeats' parameter set; the encoder's own is 0.
pub(super) const REPEAT_PPS_ID: u32 = 1;

/// The picture parameter set of the repeats: CAVLC, because a skip run says it all in one
/// number, and with control of deblocking, which is off for them.
pub(super) fn repeat_pps() -> Vec<u8> {
    let mut w = BitWriter::with_capacity(8);
    w.bits(8, u32::from(3 << 5 | nal::PPS));
    w.unsigned(REPEAT_PPS_ID);
    w.unsigned(0); // seq_parameter_set_id
    w.flag(false); // entropy_coding_mode_flag: CAVLC
    w.flag(false); // bottom_field_pic_order_in_frame_present_flag
    w.unsigned(0); // num_slice_groups_minus1
    w.unsigned(0); // num_ref_idx_l0_default_active_minus1
    w.unsigned(0); // num_ref_idx_l1_default_active_minus1
    w.flag(false); // weighted_pred_flag
    w.bits(2, 0); // weighted_bipred_idc
    w.unsigned(0); // pic_init_qp_minus26, se(v) like the next two
    w.unsigned(0); // pic_init_qs_minus26
    w.unsigned(0); // chroma_qp_index_offset
    w.flag(true); // deblocking_filter_control_present_flag
    w.flag(false); // constrained_intra_pred_flag
    w.flag(false); // redundant_pic_cnt_present_flag
    nal::escape(&w.finish())
}
