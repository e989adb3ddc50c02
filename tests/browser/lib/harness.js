// Runs in the page: plays, watches the clock of the video, seeks.

const video = document.getElementById("video");
const samples = [];
const problems = [];
let hls = null;
let pictureTime = null;
let pictures = 0;

function watchPictures() {
  video.requestVideoFrameCallback((_, frame) => {
    pictureTime = frame.mediaTime;
    pictures += 1;
    watchPictures();
  });
}
watchPictures();
for (const name of ["waiting", "stalled"]) {
  video.addEventListener(name, () => problems.push({ event: name, at: video.currentTime }));
}
setInterval(() => samples.push([performance.now() / 1000, video.currentTime, video.readyState]), 100);

const harness = {
  start(url, player) {
    if (player === "native") {
      video.src = url;
    } else {
      hls = new Hls({ enableWorker: false });
      hls.on(Hls.Events.ERROR, (_, error) => {
        if (error.fatal) problems.push({ event: "fatal", at: video.currentTime, detail: error.details });
      });
      hls.loadSource(url);
      hls.attachMedia(video);
    }
    video.play().catch((error) => problems.push({ event: "play", detail: String(error) }));
  },

  now() {
    return {
      time: video.currentTime,
      pictureTime,
      pictures,
      readyState: video.readyState,
      error: video.error && `${video.error.code} ${video.error.message}`,
      fatal: problems.find((problem) => problem.event === "fatal")?.detail ?? null,
      latency: hls ? hls.latency : null,
    };
  },

  /// How long the browser says that it is; null while it is live.
  durationSecs() {
    return Number.isFinite(video.duration) ? Number(video.duration.toFixed(2)) : null;
  },

  /// What was seen: when the first picture moved, how far it played, and every time that the
  /// clock stood still for more than `stallSecs`.
  watched(stallSecs) {
    const first = samples.findIndex(([, time, ready]) => ready >= 3 && time > 0);
    const from = first < 0 ? samples.length : first;
    const stalls = [];
    let playedSecs = 0;
    let still = null;
    for (let i = from + 1; i < samples.length; i += 1) {
      const [wall, time] = samples[i];
      const moved = time - samples[i - 1][1];
      if (moved > 0) {
        playedSecs += moved;
        if (still !== null && wall - still > stallSecs) {
          stalls.push({ at: time, secs: Number((wall - still).toFixed(2)) });
        }
        still = null;
      } else {
        still ??= samples[i - 1][0];
      }
    }
    const last = samples.at(-1);
    if (still !== null && last[0] - still > stallSecs) {
      stalls.push({ at: last[1], secs: Number((last[0] - still).toFixed(2)) });
    }
    return { startedAfterSecs: samples[first]?.[0] ?? null, playedSecs, stalls, problems };
  },

  /// Where one can seek to now.
  range() {
    if (hls) {
      const fragments = hls.latestLevelDetails?.fragments ?? [];
      const last = fragments.at(-1);
      if (!last) return null;
      return { start: fragments[0].start, end: last.start + last.duration, live: hls.latestLevelDetails.live };
    }
    const { seekable } = video;
    if (!seekable.length) return null;
    return {
      start: seekable.start(0),
      end: seekable.end(seekable.length - 1),
      live: !Number.isFinite(video.duration),
    };
  },

  /// Seeks, waits for `seeked`, then for the clock to move on by half a second. Resolves with
  /// what was reached within `limitSecs`, never rejects.
  async seek(target, limitSecs) {
    const began = performance.now();
    const within = (condition) => new Promise((done) => {
      const look = () => {
        if (condition()) done(true);
        else if (performance.now() - began > limitSecs * 1000 || video.error) done(false);
        else setTimeout(look, 20);
      };
      look();
    });
    let isSeeked = false;
    video.addEventListener("seeked", () => { isSeeked = true; }, { once: true });
    const picturesBefore = pictures;
    video.currentTime = target;
    const result = { target, seeked: await within(() => isSeeked) };
    result.seekedAfterSecs = (performance.now() - began) / 1000;
    result.time = video.currentTime;
    const advanced = () => video.currentTime > result.time + 0.5;
    result.advanced = result.seeked && (await within(advanced));
    result.pictureShown = result.advanced && (await within(() => pictures > picturesBefore));
    result.pictureTime = pictureTime;
    result.endTime = video.currentTime;
    result.error = video.error && `${video.error.code} ${video.error.message}`;
    return result;
  },
};
window.harness = harness;
