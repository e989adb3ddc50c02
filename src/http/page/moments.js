// Media time and capture time of a playlist's entries, one from the other. Pure.
//
// An entry is {start, duration, date, jump}: seconds of media time, ms since 1970, and whether it
// does not continue the one before it.

/// How far apart two entries may be, in ms, and still be one: cameras are not exact.
const SEAM_MS = 1500;

/// The last entry that begins at or before `value`, by `of`; the first one if none does.
function lastAtOrBefore(entries, value, of) {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(entries[middle]) <= value) low = middle + 1;
    else high = middle;
  }
  return Math.max(low - 1, 0);
}

/// How much capture time, in ms, an entry stands for: more than it lasts in a time lapse.
function covers(entries, index) {
  const entry = entries[index];
  const next = entries[index + 1];
  const lasts = entry.duration * 1000;
  if (!next || next.jump || next.date === null) return lasts;
  const until = next.date - entry.date;
  return until > 2 * lasts ? until : lasts;
}

/// The instant that media time `time` shows, in ms since 1970; null when unknown.
export function dateAt(entries, time) {
  if (!entries.length) return null;
  const index = lastAtOrBefore(entries, time + 0.001, (entry) => entry.start);
  const entry = entries[index];
  if (entry.date === null) return null;
  const part = entry.duration ? (time - entry.start) / entry.duration : 0;
  return entry.date + part * covers(entries, index);
}

/// Where the instant `date` is: {time, isThere}. Without a picture of that instant, the next
/// later one is meant, or the end. Null when no instant is known.
export function timeAt(entries, date) {
  const dated = entries.filter((entry) => entry.date !== null);
  if (!dated.length) return null;
  const index = lastAtOrBefore(dated, date, (entry) => entry.date);
  const entry = dated[index];
  if (date < entry.date) return { time: entry.start, isThere: false };
  const part = (date - entry.date) / covers(dated, index);
  if (part < 1) return { time: entry.start + part * entry.duration, isThere: true };
  const next = dated[index + 1];
  if (!next) return { time: entry.start + entry.duration, isThere: false };
  return { time: next.start, isThere: date >= next.date - SEAM_MS };
}

/// The runs of capture time that are covered, as [{from, to}] in ms; what lies between two of
/// them is silence.
export function runs(entries) {
  const found = [];
  entries.forEach((entry, index) => {
    if (entry.date === null) return;
    const to = entry.date + covers(entries, index);
    const last = found.at(-1);
    if (last && entry.date - last.to <= SEAM_MS) last.to = Math.max(last.to, to);
    else found.push({ from: entry.date, to });
  });
  return found;
}

/// The entries of a media playlist's text, media time counted from its first one.
export function parse(text) {
  const entries = [];
  let [start, duration, date, jump] = [0, 0, null, false];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("#EXTINF:")) duration = parseFloat(line.slice(8)) || 0;
    else if (line === "#EXT-X-DISCONTINUITY") [jump, date] = [entries.length > 0, null];
    else if (line.startsWith("#EXT-X-PROGRAM-DATE-TIME:")) date = Date.parse(line.slice(25));
    else if (line && !line.startsWith("#")) {
      entries.push({ start, duration, date, jump });
      start += duration;
      if (date !== null) date += duration * 1000;
      jump = false;
    }
  }
  return entries;
}
