//! Slice headers: rewritten for the new picture order count, and hand-written for repeats.

use super::bits::{BitReader, BitWriter, bits_before_stop};
use super::params::{ORDER_BITS, Pps, REPEAT_PPS_ID, Sps};
use super::{H264Error, nal};

const WITHIN: &str = "a slice header";

/// slice_type modulo 5, table 7-6.
const P: u32 = 0;
const I: u32 = 2;

/// A picture of the encoder, rewritten.
pub(super) struct Rewritten {
    pub(super) nal: Vec<u8>,
    pub(super) frame_num: u32,
}

/// Where in a slice the rewriting cuts (7.3.3).
struct Header {
    frame_num: u32,
    /// Behind idr_pic_id, where pic_order_cnt_lsb goes.
    before_order: usize,
    /// Behind the old pic_order_cnt_lsb.
    after_order: usize,
    end: usize,
}

fn parse(rbsp: &[u8], sps: &Sps, pps: Pps) -> Result<Header, H264Error> {
    let mut r = BitReader::new(rbsp, WITHIN);
    let head = r.bits(8)?;
    let idr = head & 31 == u32::from(nal::IDR_SLICE);
    if head >> 5 & 3 == 0 {
        return Err(H264Error::Unsupported {
            what: "pictures that are no reference, which cannot be repeated",
        });
    }
    if r.unsigned()? != 0 {
        return Err(H264Error::Unsupported { what: "more than one slice a picture" });
    }
    let slice_type = r.unsigned()? % 5;
    if slice_type != P && slice_type != I {
        return Err(H264Error::Unsupported { what: "B, SP and SI slices (encode with bframes=0)" });
    }
    if r.unsigned()? != 0 {
        return Err(H264Error::Malformed { within: WITHIN, what: "pic_parameter_set_id" });
    }
    let frame_num = r.bits(sps.frame_num_bits)?;
    if idr {
        let _idr_pic_id = r.unsigned()?;
    }
    let before_order = r.position();
    if let Some(bits) = sps.order_bits {
        r.bits(bits)?;
    }
    let after_order = r.position();
    if slice_type == P {
        if r.flag()? {
            let _num_ref_idx_l0_active_minus1 = r.unsigned()?;
        }
        // ref_pic_list_modification (7.3.3.1)
        if r.flag()? {
            while r.unsigned()? != 3 {
                r.unsigned()?;
            }
        }
    }
    // dec_ref_pic_marking (7.3.3.3)
    if idr {
        r.bits(2)?;
    } else if r.flag()? {
        loop {
            match r.unsigned()? {
                0 => break,
                3 => {
                    r.unsigned()?;
                    r.unsigned()?;
                }
                5 => return Err(H264Error::Unsupported { what: "a reset of the references" }),
                _ => {
                    r.unsigned()?;
                }
            }
        }
    }
    if slice_type == P && pps.cabac {
        let _cabac_init_idc = r.unsigned()?;
    }
    r.skip_signed()?;
    if pps.deblocking_control && r.unsigned()? != 1 {
        r.skip_signed()?;
        r.skip_signed()?;
    }
    Ok(Header { frame_num, before_order, after_order, end: r.position() })
}

/// The slice with `order` as its picture order count.
pub(super) fn rewrite(
    slice: &[u8],
    sps: &Sps,
    pps: Pps,
    order: u16,
) -> Result<Rewritten, H264Error> {
    let rbsp = nal::unescape(slice);
    let header = parse(&rbsp, sps, pps)?;
    let mut w = BitWriter::with_capacity(rbsp.len() + 8);
    w.copy(&rbsp, 0, header.before_order);
    w.bits(ORDER_BITS, u32::from(order));
    w.copy(&rbsp, header.after_order, header.end);
    let rewritten = if pps.cabac {
        // Slice data begins on a byte, so a longer header does not shift it.
        w.align_with_ones();
        let from = header.end.next_multiple_of(8);
        w.copy(&rbsp, from, (rbsp.len() * 8).max(from));
        w.into_bytes()
    } else {
        let stop = bits_before_stop(&rbsp)
            .filter(|stop| *stop >= header.end)
            .ok_or(H264Error::Truncated { within: WITHIN })?;
        w.copy(&rbsp, header.end, stop);
        w.finish()
    };
    Ok(Rewritten { nal: nal::escape(&rewritten), frame_num: header.frame_num })
}

/// A picture that shows the reference before it again: a P slice that is no reference and
/// skips every macroblock. Skipped macroblocks predict no motion because none of their
/// neighbours moves (8.4.1.1), so each pixel is the reference's own.
pub(super) fn repeat(sps: &Sps, frame_num_of_reference: u32, order: u16) -> Vec<u8> {
    let mut w = BitWriter::with_capacity(16);
    w.bits(8, u32::from(nal::SLICE));
    w.unsigned(0); // first_mb_in_slice
    w.unsigned(P + 5); // slice_type: this and all others of the picture
    w.unsigned(REPEAT_PPS_ID);
    // What follows a reference counts one up, repeats of it do so together (7.4.3).
    w.bits(sps.frame_num_bits, frame_num_of_reference.wrapping_add(1));
    w.bits(ORDER_BITS, u32::from(order));
    w.flag(false); // num_ref_idx_active_override_flag
    w.flag(false); // ref_pic_list_modification_flag_l0
    w.unsigned(0); // slice_qp_delta, se(v)
    w.unsigned(1); // disable_deblocking_filter_idc
    w.unsigned(sps.macroblocks); // mb_skip_run
    nal::escape(&w.finish())
}
