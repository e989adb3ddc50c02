//! A media playlist, read for the checker: only what its rules ask for.

use std::fmt::Write;

/// One listed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub uri: String,
    /// The init file in force, wherever its tag stands.
    pub map: Option<String>,
    pub duration_millis: u64,
    pub discontinuity: bool,
    /// EXT-X-PROGRAM-DATE-TIME, in milliseconds since 1970.
    pub date_millis: Option<i64>,
    /// It lacks a zone or milliseconds, or is no date.
    pub bad_date: bool,
    /// Its lines, but for EXT-X-MAP.
    pub lines: Vec<String>,
}

impl Listed {
    pub fn text(&self) -> String {
        let mut text = self.lines.join(" | ");
        if let Some(map) = &self.map {
            let _ = write!(text, " | map {map}");
        }
        text
    }
}

/// One version of a playlist.
#[derive(Clone, Debug)]
pub struct Version {
    pub version: u64,
    pub target_secs: u64,
    pub media_sequence: u64,
    pub discontinuity_sequence: u64,
    /// A tag that a live playlist does not have.
    pub not_live: Option<String>,
    pub segments: Vec<Listed>,
}

impl Version {
    /// When each segment starts, extrapolated from the dates; none without a date.
    pub fn starts(&self) -> Option<Vec<i64>> {
        let first = self.segments.iter().position(|s| s.date_millis.is_some())?;
        let before: u64 = self.segments[..first].iter().map(|s| s.duration_millis).sum();
        let mut at = self.segments[first].date_millis? - i64::try_from(before).ok()?;
        let mut starts = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            at = segment.date_millis.unwrap_or(at);
            starts.push(at);
            at += i64::try_from(segment.duration_millis).ok()?;
        }
        Some(starts)
    }
}

/// Reads a playlist, or says why it is none.
pub fn parse(text: &str) -> Result<Version, String> {
    let mut lines = text.lines();
    if lines.next() != Some("#EXTM3U") {
        return Err("the first line is not #EXTM3U".into());
    }
    if !text.ends_with('\n') {
        return Err("the last line does not end".into());
    }
    let (mut version, mut target, mut sequence, mut discontinuities) = (None, None, None, None);
    let mut not_live = None;
    let mut segments: Vec<Listed> = Vec::new();
    let (mut map, mut tags) = (None, Vec::new());
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let slot = match name {
            "#EXT-X-VERSION" => &mut version,
            "#EXT-X-TARGETDURATION" => &mut target,
            "#EXT-X-MEDIA-SEQUENCE" => &mut sequence,
            "#EXT-X-DISCONTINUITY-SEQUENCE" => &mut discontinuities,
            "#EXT-X-INDEPENDENT-SEGMENTS" => continue,
            "#EXT-X-PLAYLIST-TYPE" | "#EXT-X-ENDLIST" => {
                not_live = Some(line.to_owned());
                continue;
            }
            "#EXT-X-MAP" => {
                let uri = value.split('"').nth(1).ok_or(format!("no URI in {line}"))?;
                map = Some(uri.to_owned());
                continue;
            }
            _ if line.starts_with('#') => {
                tags.push(line.to_owned());
                continue;
            }
            "" => return Err("an empty line".into()),
            _ => {
                segments.push(segment(line, map.clone(), std::mem::take(&mut tags))?);
                continue;
            }
        };
        if !segments.is_empty() || slot.is_some() {
            return Err(format!("{line} stands after a segment, or twice"));
        }
        *slot = Some(value.parse::<u64>().map_err(|e| format!("{line}: {e}"))?);
    }
    if !tags.is_empty() {
        return Err(format!("tags without a segment: {tags:?}"));
    }
    Ok(Version {
        version: version.unwrap_or(1),
        target_secs: target.ok_or("no #EXT-X-TARGETDURATION")?,
        media_sequence: sequence.unwrap_or(0),
        discontinuity_sequence: discontinuities.unwrap_or(0),
        not_live,
        segments,
    })
}

/// Seconds with up to three decimals, in milliseconds.
fn millis(extinf: &str) -> Option<u64> {
    let secs = extinf.split(',').next()?;
    let (whole, decimals) = secs.split_once('.').unwrap_or((secs, "0"));
    let padded = format!("{decimals:0<3}");
    if padded.len() > 3 {
        return None;
    }
    Some(whole.parse::<u64>().ok()? * 1_000 + padded.parse::<u64>().ok()?)
}

fn segment(uri: &str, map: Option<String>, mut tags: Vec<String>) -> Result<Listed, String> {
    let value = |name: &str| {
        let mut values = tags.iter().filter_map(|tag| tag.strip_prefix(name));
        (values.next(), values.next().is_some())
    };
    let (Some(extinf), false) = value("#EXTINF:") else {
        return Err(format!("{uri} has no #EXTINF, or two"));
    };
    let duration_millis = millis(extinf).ok_or(format!("#EXTINF:{extinf} is no duration"))?;
    let date = value("#EXT-X-PROGRAM-DATE-TIME:").0;
    let parsed = date.and_then(|date| date.parse::<jiff::Timestamp>().ok());
    let zoned = date.is_none_or(|date| {
        let (_, time) = date.split_once('T').unwrap_or_default();
        let digits = time.split_once('.').unwrap_or_default().1;
        digits.bytes().take_while(u8::is_ascii_digit).count() == 3
            && (time.ends_with('Z') || time.contains(['+', '-']))
    });
    let date_millis = parsed.map(|at| at.as_millisecond());
    let bad_date = !zoned || (date.is_some() && parsed.is_none());
    let discontinuity = tags.iter().any(|tag| tag == "#EXT-X-DISCONTINUITY");
    tags.push(uri.to_owned());
    Ok(Listed {
        uri: uri.to_owned(),
        map,
        duration_millis,
        discontinuity,
        date_millis,
        bad_date,
        lines: tags,
    })
}
