//! Seeded damage: what a stranger, a broken camera or a bad disk does to good bytes.

/// SplitMix64: seeded, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `limit`, less one; 0 for no limit.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Numbers at which lengths and counters go wrong.
const EDGES: [&[u8]; 8] =
    [b"\0", b"\xFF", b"\0\0", b"\xFF\xFF", b"\x7F\xFF", b"\x80\0", b"\0\0\0\x01", b"\0\0\x03"];

/// One of `corpus` with a few faults; the words are what its format is made of.
pub fn damaged(corpus: &[Vec<u8>], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    // Most of what is read stands at the beginning: half of the damage is done there.
    let early = |random: &mut Random, len: usize| match random.below(2) {
        0 => random.below(len.min(200)),
        _ => random.below(len),
    };
    for _ in 0..=random.below(6) {
        let at = early(random, bytes.len() + 1).min(bytes.len());
        let end = (at + random.below(32)).min(bytes.len());
        match random.below(8) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.byte();
                }
            }
            3 => {
                let edge = EDGES[random.below(EDGES.len())];
                let end = (at + edge.len()).min(bytes.len());
                bytes.splice(at..end, edge.iter().copied());
            }
            4 => drop(bytes.drain(at..end)),
            5 => {
                let again = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, again);
            }
            6 => {
                let word = words[random.below(words.len())];
                bytes.splice(at..end, word.iter().copied());
            }
            _ => match random.below(4) {
                // Another one's end behind this one's beginning.
                0 => {
                    let other = &corpus[random.below(corpus.len())];
                    let from = random.below(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                1 => bytes.truncate(at),
                // Much of the same: lengths and nesting that nobody would write.
                2 => {
                    let word = words[random.below(words.len())];
                    let many = word.repeat(1 + random.below(4_096));
                    bytes.splice(at..at, many);
                }
                _ => {
                    let noise: Vec<u8> = (0..random.below(64)).map(|_| random.byte()).collect();
                    bytes.splice(at..at, noise);
                }
            },
        }
    }
    bytes
}
