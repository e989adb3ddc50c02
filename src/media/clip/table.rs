//! The sample table of a clip (ISO/IEC 14496-12, 8.6 and 8.7): four bytes a picture, and runs of
//! what repeats itself.

use std::ops::Range;

use crate::media::mp4::Boxes;

/// Pictures in the order they are stored in. One chunk for each segment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Table {
    sizes_bytes: Vec<u32>,
    /// How many pictures in a row last how long.
    durations_ticks: Vec<(u32, u32)>,
    /// Where decoding can start, counted from 1.
    syncs: Vec<u32>,
    chunks: Vec<Chunk>,
    total_ticks: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Chunk {
    samples: Range<usize>,
    bytes: u64,
    configuration: usize,
}

/// The pictures of one segment.
pub(super) struct ChunkOf<'a> {
    pub(super) sizes_bytes: &'a [u32],
    /// The sum.
    pub(super) bytes: u64,
    /// The index of their decoder configuration.
    pub(super) configuration: usize,
}

/// What the table keeps of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sample {
    pub(super) size_bytes: u32,
    pub(super) duration_ticks: u32,
    pub(super) is_sync: bool,
}

impl Table {
    /// Adds the pictures of a segment; `None` when there are more than can be counted, and the
    /// table is then of no more use.
    pub(super) fn add_chunk(
        &mut self,
        configuration: usize,
        samples: impl IntoIterator<Item = Sample>,
    ) -> Option<()> {
        let begin = self.sizes_bytes.len();
        let mut bytes = 0;
        for sample in samples {
            self.sizes_bytes.push(sample.size_bytes);
            let number = u32::try_from(self.sizes_bytes.len()).ok()?;
            if sample.is_sync {
                self.syncs.push(number);
            }
            match self.durations_ticks.last_mut() {
                Some((count, ticks)) if *ticks == sample.duration_ticks => *count += 1,
                _ => self.durations_ticks.push((1, sample.duration_ticks)),
            }
            self.total_ticks += u64::from(sample.duration_ticks);
            bytes += u64::from(sample.size_bytes);
        }
        self.chunks.push(Chunk { samples: begin..self.sizes_bytes.len(), bytes, configuration });
        Some(())
    }

    /// Makes room before each picture where decoding can start: as many bytes as `before` says
    /// for its decoder configuration. `None` when one becomes larger than can be.
    pub(super) fn enlarge_syncs(&mut self, before: impl Fn(usize) -> Option<u32>) -> Option<()> {
        let mut syncs = self.syncs.iter().filter_map(|number| usize::try_from(number - 1).ok());
        let mut next = syncs.next();
        for chunk in &mut self.chunks {
            while let Some(at) = next.filter(|at| chunk.samples.contains(at)) {
                let added = before(chunk.configuration)?;
                let size = self.sizes_bytes.get_mut(at)?;
                *size = size.checked_add(added)?;
                chunk.bytes += u64::from(added);
                next = syncs.next();
            }
        }
        Some(())
    }

    /// What all pictures last, those that are not shown included.
    pub(super) fn total_ticks(&self) -> u64 {
        self.total_ticks
    }

    /// How many bytes each chunk has.
    pub(super) fn chunks_bytes(&self) -> impl Iterator<Item = u64> {
        self.chunks.iter().map(|chunk| chunk.bytes)
    }

    /// The chunk of this index.
    pub(super) fn chunk(&self, index: usize) -> Option<ChunkOf<'_>> {
        let chunk = self.chunks.get(index)?;
        let sizes_bytes = self.sizes_bytes.get(chunk.samples.clone())?;
        Some(ChunkOf { sizes_bytes, bytes: chunk.bytes, configuration: chunk.configuration })
    }

    /// Writes all but the sample descriptions, for data that begins at `data_at` in the file.
    ///
    /// Offsets have 64 bits when `wide`. The numbers of entries fit, because pictures do.
    pub(super) fn write(&self, b: &mut Boxes, data_at: u64, wide: bool) {
        let count = |b: &mut Boxes, entries: usize| b.u32(u32::try_from(entries).unwrap_or(0));
        b.full(b"stts", 0, 0, |b| {
            count(b, self.durations_ticks.len());
            self.durations_ticks.iter().for_each(|(count, ticks)| b.u32s(&[*count, *ticks]));
        });
        b.full(b"stss", 0, 0, |b| {
            count(b, self.syncs.len());
            b.u32s(&self.syncs);
        });
        let runs = self.chunk_runs();
        b.full(b"stsc", 0, 0, |b| {
            count(b, runs.len());
            runs.iter().for_each(|run| b.u32s(run));
        });
        b.full(b"stsz", 0, 0, |b| {
            b.u32(0); // of different sizes
            count(b, self.sizes_bytes.len());
            b.u32s(&self.sizes_bytes);
        });
        b.full(if wide { b"co64" } else { b"stco" }, 0, 0, |b| {
            count(b, self.chunks.len());
            let mut at = data_at;
            for chunk in &self.chunks {
                match wide {
                    true => b.u64(at),
                    false => b.u32(u32::try_from(at).unwrap_or(0)),
                }
                at += chunk.bytes;
            }
        });
    }

    /// The first of every run of chunks that are alike, counted from 1, how many pictures each
    /// of them has, and their sample description.
    fn chunk_runs(&self) -> Vec<[u32; 3]> {
        let mut runs: Vec<[u32; 3]> = Vec::new();
        for (chunk, number) in self.chunks.iter().zip(1..) {
            let samples = u32::try_from(chunk.samples.len()).unwrap_or(0);
            let description = u32::try_from(chunk.configuration + 1).unwrap_or(0);
            let alike = |[_, other, its]: &[u32; 3]| (*other, *its) == (samples, description);
            if !runs.last().is_some_and(alike) {
                runs.push([number, samples, description]);
            }
        }
        runs
    }
}
