// Plays one stream in one video element, by hls.js or by the browser itself, and knows which
// instant the picture shows. It mends itself: a stream that is not there yet, or breaks off,
// is tried again until `destroy`.

import { ask, authorization } from "./api.js";
import { dateAt, parse, timeAt } from "./moments.js";

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
const RETRY_MOST_MS = 30_000;
/// Who goes so near to the end of a live window means its edge.
const AT_THE_END_SECS = 2;

/// What to play: {path, link, ended}. `link` is what to put before the path for who cannot send
/// a token; `ended` is true of an archive.
class Player {
  constructor(video, source) {
    this.video = video;
    this.source = source;
    this.retryMs = RETRY_FIRST_MS;
    this.retryTimer = 0;
    this.failures = 0;
    this.destroyed = false;
    /// The window: see moments.js.
    this.entries = [];
    this.onPlaying = () => {
      this.retryMs = RETRY_FIRST_MS;
      this.failures = 0;
    };
    video.addEventListener("playing", this.onPlaying);
  }

  retry() {
    if (this.destroyed || this.retryTimer) return;
    this.stop();
    this.failures += 1;
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

  /// The instant that is on screen, in ms since 1970; null when unknown.
  date() {
    return dateAt(this.entries, this.video.currentTime);
  }
}

class HlsJsPlayer extends Player {
  constructor(video, source, options) {
    super(video, source);
    this.options = options;
    /// Whether the viewer has gone back from the edge.
    this.isBack = false;
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
      xhrSetup: (request) => {
        for (const [name, value] of Object.entries(authorization())) {
          request.setRequestHeader(name, value);
        }
      },
    });
    this.hls = hls;
    this.isAttached = false;
    hls.on(Hls.Events.MEDIA_ATTACHED, () => { this.isAttached = true; });
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
    hls.loadSource(this.source.path);
    hls.attachMedia(this.video);
  }

  take(details) {
    let before = null;
    this.entries = details.fragments.map((fragment) => {
      const jump = before !== null && fragment.cc !== before;
      before = fragment.cc;
      const { start, duration } = fragment;
      return { start, duration, date: fragment.programDateTime ?? null, jump };
    });
  }

  stop() {
    this.recovered = false;
    if (this.hls && !this.isAttached) {
      // The element is still opening what hls.js is about to take away, and would complain.
      this.video.removeAttribute("src");
      this.video.load();
    }
    this.hls?.destroy();
    this.hls = null;
  }

  get live() {
    if (this.source.ended) return false;
    const edge = this.hls?.liveSyncPosition;
    if (this.isBack) return false;
    if (edge === null || edge === undefined) return true;
    const target = this.hls.latestLevelDetails?.targetduration ?? 6;
    return this.video.currentTime > edge - 1.5 * target;
  }

  goLive() {
    this.isBack = false;
    const edge = this.hls?.liveSyncPosition;
    if (edge) this.video.currentTime = edge;
    this.play();
  }

  /// Goes to an instant; null while none is known, else whether there is a picture of it.
  async seek(date) {
    const place = timeAt(this.entries, date);
    if (!place) return null;
    const last = this.entries.at(-1);
    this.isBack = place.time < last.start + last.duration - AT_THE_END_SECS;
    if (this.source.ended || this.isBack) this.video.currentTime = place.time;
    else this.goLive();
    return place.isThere;
  }
}

class NativePlayer extends Player {
  constructor(video, source) {
    super(video, source);
    this.live = !source.ended;
    this.onError = () => { if (video.src) this.retry(); };
    video.addEventListener("error", this.onError);
    this.start();
  }

  start() {
    this.live = !this.source.ended;
    this.entriesAt = -Infinity;
    this.video.src = this.source.link + this.source.path;
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

  date() {
    if (!this.live) return super.date();
    // Safari says when its time 0 is; others say nothing while live.
    const start = this.video.getStartDate?.().getTime();
    return Number.isFinite(start) ? start + this.video.currentTime * 1000 : null;
  }

  /// The window as the server has it, for the time line: read again now and then while live.
  async refresh() {
    const isKnown = this.source.ended && this.entries.length;
    if (isKnown || (!this.source.ended && !this.live)) return;
    if (performance.now() - this.entriesAt < 5000) return;
    this.entriesAt = performance.now();
    const text = await textOf(this.source.path);
    if (text && (this.live || this.source.ended)) this.entries = parse(text);
  }

  goLive() {
    if (!this.live) this.start();
    else this.play();
  }

  /// A live playlist cannot be sought natively: the window as it is now can.
  async seek(date) {
    if (this.live) {
      const query = "?from=&to=";
      const text = await textOf(this.source.path + query);
      if (this.destroyed || !text) return null;
      this.live = false;
      this.entries = parse(text);
      this.video.src = this.source.link + this.source.path + query;
      await new Promise((done) => {
        this.video.addEventListener("loadedmetadata", done, { once: true });
        this.video.addEventListener("error", done, { once: true });
      });
    }
    const place = timeAt(this.entries, date);
    if (!place) return null;
    this.video.currentTime = place.time;
    this.play();
    return place.isThere;
  }
}

async function textOf(path) {
  return ask(path).then((answer) => answer.text(), () => null);
}

/// Plays `source` in `video` until `destroy`. With `looksBack` it stays where it was sought to.
export function attach(video, source, mode, options = { looksBack: false }) {
  return mode === "native" ? new NativePlayer(video, source) : new HlsJsPlayer(video, source, options);
}
