// The time line: what is kept, where the camera was silent, where the viewer is. It goes by
// capture time, so that a silence is as wide as it was long.

import { clock, dateTime } from "./words.js";

const MOST_BANDS = 400;
/// Steps of the labels, in seconds.
const STEPS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];
/// Room for a label, in pixels.
const LABEL_PIXELS = 92;
const SEEK_EVERY_MS = 120;

const id = (name) => document.getElementById(`viewer-${name}`);

export class Timeline {
  /// `onseek(date)` may take its time; while it does, no other is asked for.
  constructor(onseek) {
    this.onseek = onseek;
    this.root = id("timeline");
    this.scrub = id("scrub");
    this.tip = id("tip");
    this.zoom = id("zoom");
    this.reset();
    this.scrub.addEventListener("input", () => {
      this.isDragging = true;
      this.seekSoon();
    });
    this.scrub.addEventListener("change", () => { this.isDragging = false; });
    this.scrub.addEventListener("pointermove", (event) => this.point(event));
    this.scrub.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    this.zoom.addEventListener("change", () => { this.view = null; });
    new ResizeObserver(() => { this.drawn = ""; }).observe(this.root);
  }

  reset() {
    this.runs = [];
    this.view = null;
    this.drawn = "";
    this.at = null;
    this.isDragging = false;
    this.seekTimer = 0;
    this.zoom.value = "0";
    this.scrub.disabled = true;
    for (const part of ["bands", "ticks"]) id(part).replaceChildren();
    id("chosen").hidden = true;
  }

  /// Shows `runs` of capture time ([{from, to}] in ms), the instant `at` (null when unknown), and
  /// a `chosen` span, if there is one.
  show(runs, at, chosen) {
    this.runs = runs;
    const [first, last] = [runs[0], runs.at(-1)];
    this.scrub.disabled = !first;
    if (!first) return;
    // While it loads, what was last known stays.
    const shown = at ?? this.at ?? last.to;
    this.follow(first.from, last.to, shown);
    const { from, to } = this.view;
    this.scrub.min = 0;
    this.scrub.max = (to - from) / 1000;
    if (!this.isDragging && !this.seekTimer) {
      this.at = shown;
      this.scrub.value = (shown - from) / 1000;
    }
    this.scrub.setAttribute("aria-valuetext", at === null ? "live" : dateTime(at));
    this.draw();
    this.choose(chosen);
  }

  /// The part that is in view: all, or so much around the instant that is shown.
  follow(from, to, at) {
    const span = Number(this.zoom.value) * 1000;
    if (!span || span >= to - from) {
      this.view = { from, to: Math.max(to, from + 1000) };
      return;
    }
    const isInside = this.view && at >= this.view.from && at <= this.view.to
      && this.view.to - this.view.from === span;
    if (isInside) return;
    const begin = Math.min(Math.max(at - span / 2, from), to - span);
    this.view = { from: begin, to: begin + span };
  }

  place(date) {
    const { from, to } = this.view;
    return Math.min(Math.max((date - from) / (to - from), 0), 1) * 100;
  }

  draw() {
    const { from, to } = this.view;
    const seen = this.runs.filter((run) => run.to > from && run.from < to);
    // So few pixels are not worth an element.
    const least = (to - from) / (MOST_BANDS * 2);
    const bands = [];
    for (const run of seen) {
      const last = bands.at(-1);
      if (last && seen.length > MOST_BANDS && run.from - last.to < least) last.to = run.to;
      else bands.push({ ...run });
    }
    const width = this.root.clientWidth;
    const drawn = [from, to, width, bands.length, bands.at(-1)?.to, bands[0]?.from].join();
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    id("bands").replaceChildren(...bands.map((run) => {
      const band = document.createElement("i");
      band.style.left = `${this.place(run.from)}%`;
      band.style.width = `${this.place(run.to) - this.place(run.from)}%`;
      return band;
    }));
    this.root.dataset.gaps = Math.max(0, this.runs.length - 1);
    id("ticks").replaceChildren(...this.ticks(width));
  }

  ticks(width) {
    const { from, to } = this.view;
    const most = Math.max(2, Math.floor(width / LABEL_PIXELS));
    const secs = (to - from) / 1000;
    const step = (STEPS.find((candidate) => secs / candidate <= most) ?? 86_400) * 1000;
    const offset = new Date(from).getTimezoneOffset() * 60_000;
    const found = [];
    for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) {
      const part = this.place(at);
      // A label at the very edge would be cut.
      if (part < 3 || part > 97) continue;
      const tick = document.createElement("span");
      tick.style.left = `${part}%`;
      tick.textContent = step >= 60_000 ? clock(at).slice(0, 5) : clock(at);
      found.push(tick);
      if (found.length > 40) break;
    }
    return found;
  }

  choose(chosen) {
    const mark = id("chosen");
    mark.hidden = !chosen;
    if (!chosen) return;
    mark.style.left = `${this.place(chosen.from)}%`;
    mark.style.width = `${this.place(chosen.to) - this.place(chosen.from)}%`;
  }

  /// The instant where the handle is.
  wanted() {
    return this.view.from + Number(this.scrub.value) * 1000;
  }

  /// Goes so many seconds on from where the handle is.
  step(secs) {
    if (!this.view) return;
    const date = this.wanted() + secs * 1000;
    const { from, to } = this.view;
    if (date < from || date > to) {
      this.at = date;
      this.onseek(date);
      return;
    }
    this.scrub.value = (date - from) / 1000;
    this.seekSoon();
  }

  seekSoon() {
    if (this.seekTimer || !this.view) return;
    this.seekTimer = setTimeout(async () => {
      const wanted = this.wanted();
      this.at = wanted;
      try {
        await this.onseek(wanted);
      } finally {
        this.seekTimer = 0;
      }
      // A drag may have gone on meanwhile.
      if (this.isDragging && this.wanted() !== wanted) this.seekSoon();
    }, SEEK_EVERY_MS);
  }

  point(event) {
    if (!this.view) return;
    const box = this.scrub.getBoundingClientRect();
    const part = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const date = this.view.from + part * (this.view.to - this.view.from);
    const isKept = this.runs.some((run) => date >= run.from && date <= run.to);
    this.tip.textContent = isKept ? dateTime(date) : `${dateTime(date)} – no pictures`;
    this.tip.style.left = `${part * 100}%`;
    this.tip.hidden = false;
  }
}
