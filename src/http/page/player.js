// Plays one stream in one video element, by hls.js or by the browser itself, and knows which
// instant the picture shows. It mends itself: a stream that is not there yet, or breaks off,
// is tried again until `destroy`.

const Hls = window.Hls;

/// The player to use: what the page's address asks for, else hls.js where it can run. Most
/// browsers with HLS of their own have no way back on a live playlist.
export function chosenMode() {
  const asked = new URLSearchParams(location.search).get("player");
  const canHlsJs = Boolean(Hls && Hls.isSupported());
  const native = document.createElement("video").canPlayType("application/vnd.apple.mpegurl");
  if (asked === "native" && native) return "native";
  if (canHlsJs) return "hlsjs";
  return native ? "native" : "none";
}

const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 5000;

class Player {
  constructor(video, url) {
    this.video = video;
    this.url = url;
    this.retryMs = RETRY_FIRST_MS;
    this.retryTimer = 0;
    this.destroyed = false;
    /// The window: [{start, duration, date, jump}], times in media seconds, dates in ms.
    this.entries = [];
    this.onPlaying = () => { this.retryMs = RETRY_FIRST_MS; };
    video.addEventListener("playing", this.onPlaying);
  }

  retry() {
    if (this.destroyed || this.retryTimer) return;
    this.stop();
    this.retryTimer = setTimeout(() => {
      this.retryTimer = 0;
      if (!this.destroyed) this.start();
    }, this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MOST_MS);
  }

  play() {
    // Refused only when the page may not play, or when the source changed meanwhile.
    this.video.play().catch(() => {});
  }

  destroy() {
    this.destroyed = true;
    clearTimeout(this.retryTimer);
    this.video.removeEventListener("playing", this.onPlaying);
    this.stop();
  }

  /// The instant that media time `time` shows, in ms since 1970; null when unknown.
  dateAt(time) {
    const entry = entryAt(this.entries, time);
    return entry && entry.date !== null ? entry.date + (time - entry.start) * 1000 : null;
  }

  window() {
    const first = this.entries[0];
    const last = this.entries.at(-1);
    return first ? { start: first.start, end: last.start + last.duration } : null;
  }
}

/// The last entry that begins at or before `time`.
function entryAt(entries, time) {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle].start <= time + 0.001) low = middle + 1;
    else high = middle;
  }
  return entries[Math.max(low - 1, 0)] ?? null;
}

class HlsJsPlayer extends Player {
  constructor(video, url, options) {
    super(video, url);
    this.options = options;
    this.start();
  }

  start() {
    const hls = new Hls({
      enableWorker: false,
      lowLatencyMode: false,
      startFragPrefetch: true,
      // Close to the edge, with room for a segment that comes a little late.
      liveSyncDurationCount: 1.5,
      // hls.js jumps to the edge from farther back: right for a tile, wrong for looking back.
      liveMaxLatencyDurationCount: this.options.looksBack ? Infinity : 6,
      maxBufferLength: 30,
      backBufferLength: this.options.looksBack ? 120 : 10,
    });
    this.hls = hls;
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => this.take(details));
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.play());
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (!error.fatal || this.hls !== hls) return;
      if (error.type === Hls.ErrorTypes.MEDIA_ERROR && !this.recovered) {
        this.recovered = true;
        hls.recoverMediaError();
      } else {
        this.retry();
      }
    });
    hls.loadSource(this.url);
    hls.attachMedia(this.video);
  }

  take(details) {
    let before = null;
    this.entries = details.fragments.map((fragment) => {
      const jump = before !== null && fragment.cc !== before;
      before = fragment.cc;
      return {
        start: fragment.start,
        duration: fragment.duration,
        date: fragment.programDateTime ?? null,
        jump,
      };
    });
  }

  stop() {
    this.recovered = false;
    this.hls?.destroy();
    this.hls = null;
  }

  get live() {
    const edge = this.hls?.liveSyncPosition;
    if (edge === null || edge === undefined) return true;
    const target = this.hls.latestLevelDetails?.targetduration ?? 6;
    return this.video.currentTime > edge - 1.5 * target;
  }

  goLive() {
    const edge = this.hls?.liveSyncPosition;
    if (edge) this.video.currentTime = edge;
    this.play();
  }

  async seek(time) {
    this.video.currentTime = time;
  }
}

class NativePlayer extends Player {
  constructor(video, url) {
    super(video, url);
    this.live = true;
    this.onError = () => { if (video.src) this.retry(); };
    video.addEventListener("error", this.onError);
    this.start();
  }

  start() {
    this.live = true;
    this.liveEntriesAt = -Infinity;
    this.video.src = this.url;
    this.play();
  }

  stop() {
    this.video.removeAttribute("src");
    this.video.load();
  }

  destroy() {
    this.video.removeEventListener("error", this.onError);
    super.destroy();
  }

  dateAt(time) {
    if (!this.live) return super.dateAt(time);
    // Safari says when its time 0 is; others say nothing while live.
    const start = this.video.getStartDate?.().getTime();
    return Number.isFinite(start) ? start + time * 1000 : null;
  }

  /// The window as the server has it, for the bar: read again now and then while live.
  async refresh() {
    if (!this.live || performance.now() - this.liveEntriesAt < 5000) return;
    this.liveEntriesAt = performance.now();
    const text = await fetchText(this.url);
    if (this.live && text) this.entries = parse(text);
  }

  goLive() {
    if (!this.live) this.start();
    else this.play();
  }

  /// A live playlist cannot be sought natively: the window as it is now can.
  async seek(time) {
    if (this.live) {
      this.live = false;
      const date = super.dateAt(time);
      const url = `${this.url}?from=&to=`;
      const text = await fetchText(url);
      if (this.destroyed || !text) return;
      this.entries = parse(text);
      const entry = this.entries.findLast((e) => e.date !== null && e.date <= date);
      time = entry ? entry.start + (date - entry.date) / 1000 : 0;
      this.video.src = url;
      await new Promise((done) => {
        this.video.addEventListener("loadedmetadata", done, { once: true });
        this.video.addEventListener("error", done, { once: true });
      });
    }
    this.video.currentTime = time;
    this.play();
  }
}

async function fetchText(url) {
  try {
    const answer = await fetch(url);
    return answer.ok ? await answer.text() : null;
  } catch {
    return null;
  }
}

/// The entries of a media playlist, time counted from its first one.
function parse(text) {
  const entries = [];
  let start = 0;
  let duration = 0;
  let date = null;
  let jump = false;
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

/// Plays `url` in `video` until `destroy`. With `looksBack` it stays where it was sought to.
export function attach(video, url, mode, options = { looksBack: false }) {
  return mode === "native" ? new NativePlayer(video, url) : new HlsJsPlayer(video, url, options);
}
