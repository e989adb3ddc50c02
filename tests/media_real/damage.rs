//! Damaged material is answered, never panicked over.

use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use stream_processor::media::timeline::PictureSize;
use stream_processor::media::{Container, Playback, jpeg, mux};

use crate::material::{BASELINE, HIGH, encode, plan_one};

const SIZE: PictureSize = PictureSize { width: 64, height: 48 };

static ENCODED: LazyLock<[Vec<Vec<u8>>; 2]> =
    LazyLock::new(|| [HIGH, BASELINE].map(|options| encode(SIZE, 3, options)));

static JPEG: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x48", "-frames:v", "1"])
        .args(["-f", "mjpeg", "pipe:1"])
        .output()
        .expect("ffmpeg runs");
    assert!(jpeg::probe(&output.stdout).is_ok());
    output.stdout
});

proptest! {
    #[test]
    fn damaged_access_units_are_muxed_or_refused(
        form in 0_usize..2,
        // Most of the damage to the headers, which are read; the rest is copied.
        damage in prop::collection::vec((0_usize..3, 0_usize..120, any::<u8>()), 1..5),
        fmp4 in any::<bool>(),
    ) {
        let mut units = ENCODED[form].clone();
        for (unit, at, value) in damage {
            if let Some(byte) = units[unit].get_mut(at) {
                *byte = value;
            }
        }
        let (plan, _) = plan_one(None, SIZE, &[0, 5_000, 10_000], Playback::Realtime);
        let container = if fmp4 { Container::Fmp4 } else { Container::Ts };
        let _ = mux(container, SIZE, &plan, &units);
    }

    #[test]
    fn damaged_jpegs_are_probed_or_refused(
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
        length in any::<Index>(),
    ) {
        let mut bytes = JPEG.clone();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = jpeg::probe(&bytes);
        let _ = jpeg::probe(&bytes[..length.index(bytes.len())]);
    }
}
