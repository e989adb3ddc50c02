// One camera, large: play, look back along the window, return to live.

import { attach } from "/player.js";

const id = (name) => document.getElementById(`viewer-${name}`);

/// How often a drag seeks.
const SEEK_EVERY_MS = 120;
const SKIP_SECS = 10;
const MOST_GAPS = 300;

export class Viewer {
  constructor(mode) {
    this.mode = mode;
    this.dialog = document.getElementById("viewer");
    this.video = id("video");
    this.scrub = id("scrub");
    this.player = null;
    this.dragging = false;
    this.seekTimer = 0;
    this.listen();
  }

  listen() {
    id("close").onclick = () => this.dialog.close();
    id("play").onclick = () => this.toggle();
    id("live").onclick = () => this.goLive();
    id("speed").onchange = (event) => { this.video.playbackRate = Number(event.target.value); };
    this.dialog.addEventListener("close", () => this.shut());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener("keydown", (event) => this.keyed(event));
    this.scrub.addEventListener("input", () => {
      this.dragging = true;
      this.seekSoon();
    });
    this.scrub.addEventListener("change", () => { this.dragging = false; });
    this.scrub.addEventListener("pointermove", (event) => this.tip(event));
    this.scrub.addEventListener("pointerleave", () => { id("tip").hidden = true; });
    this.video.addEventListener("click", () => this.toggle());
    for (const name of ["play", "pause"]) this.video.addEventListener(name, () => this.button());
  }

  open(device) {
    this.name = device.name;
    id("name").textContent = device.name;
    this.show(device);
    id("speed").value = "1";
    id("gaps").replaceChildren();
    this.drawn = "";
    this.player = attach(this.video, device.playlist, this.mode, { looksBack: true });
    this.dialog.showModal();
    this.timer = setInterval(() => this.tick(), 250);
    this.tick();
  }

  shut() {
    clearInterval(this.timer);
    clearTimeout(this.seekTimer);
    this.seekTimer = 0;
    this.player?.destroy();
    this.player = null;
    this.key = null;
    this.onclose?.();
  }

  /// What the server says of the camera that is shown.
  show(device) {
    this.key = `${device.client}/${device.device}`;
    const badge = id("state");
    badge.textContent = device.state;
    badge.dataset.state = device.state;
    this.error = device.error;
  }

  shows(device) {
    return this.key === `${device.client}/${device.device}`;
  }

  toggle() {
    if (this.video.paused) this.player?.play();
    else this.video.pause();
  }

  goLive() {
    id("speed").value = "1";
    this.video.playbackRate = 1;
    this.player?.goLive();
  }

  keyed(event) {
    if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const skip = { ArrowLeft: -SKIP_SECS, ArrowRight: SKIP_SECS }[event.key];
    if (skip) {
      this.scrub.value = Number(this.scrub.value) + skip;
      this.seekSoon();
    } else if (event.key === " " && event.target.tagName !== "BUTTON") this.toggle();
    else if (event.key === "l" || event.key === "L") this.goLive();
    else return;
    event.preventDefault();
  }

  seekSoon() {
    if (this.seekTimer) return;
    this.seekTimer = setTimeout(async () => {
      const wanted = Number(this.scrub.value);
      try {
        await this.player?.seek(wanted);
      } finally {
        this.seekTimer = 0;
      }
      // A drag may have gone on meanwhile; the bar of a snapshot has moved on its own.
      if (this.dragging && Number(this.scrub.value) !== wanted) this.seekSoon();
    }, SEEK_EVERY_MS);
  }

  tick() {
    const player = this.player;
    if (!player) return;
    player.refresh?.();
    const range = player.window();
    const ready = this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    id("message").textContent = ready ? this.error ?? "" : "Loading…";
    id("live").setAttribute("aria-pressed", String(player.live));
    const date = player.dateAt(this.video.currentTime);
    const unknown = ready && player.live ? "live" : "–";
    id("clock").textContent = date === null || !ready ? unknown : dateTime(date);
    this.scrub.disabled = !range;
    if (!range) return;
    this.scrub.min = range.start;
    this.scrub.max = range.end;
    if (!this.dragging && !this.seekTimer) {
      const atEdge = player.live && this.mode === "native";
      this.scrub.value = atEdge ? range.end : this.video.currentTime;
    }
    this.scrub.setAttribute("aria-valuetext", date === null ? "live" : dateTime(date));
    this.fill(range);
    id("start").textContent = edgeTime(player.entries[0]?.date, 0);
    const last = player.entries.at(-1);
    id("end").textContent = edgeTime(last?.date, last?.duration);
    id("length").textContent = `${length(range.end - range.start)} to look back`;
    this.gaps(range);
  }

  fill(range) {
    const part = (Number(this.scrub.value) - range.start) / (range.end - range.start || 1);
    this.scrub.style.setProperty("--played", `${(part * 100).toFixed(2)}%`);
  }

  /// Marks where time jumps: the camera was silent.
  gaps(range) {
    const jumps = this.player.entries.filter((entry) => entry.jump).slice(-MOST_GAPS);
    const drawn = `${range.start} ${range.end} ${jumps.length}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    id("gaps").replaceChildren(...jumps.map((entry) => {
      const mark = document.createElement("i");
      mark.style.left = `${(100 * (entry.start - range.start)) / (range.end - range.start)}%`;
      return mark;
    }));
  }

  tip(event) {
    const range = this.player?.window();
    const tip = id("tip");
    if (!range) return;
    const box = this.scrub.getBoundingClientRect();
    const part = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const entries = this.player.entries;
    const time = range.start + part * (range.end - range.start);
    const entry = entries.findLast((e) => e.start <= time) ?? entries[0];
    if (!entry || entry.date === null) return;
    tip.textContent = dateTime(entry.date + (time - entry.start) * 1000);
    tip.style.left = `${part * 100}%`;
    tip.hidden = false;
  }

  button() {
    const paused = this.video.paused;
    id("play").textContent = paused ? "▶" : "❚❚";
    id("play").setAttribute("aria-label", paused ? "Play" : "Pause");
  }
}

function edgeTime(date, plusSecs) {
  return typeof date === "number" ? clock(date + (plusSecs ?? 0) * 1000) : "";
}

function length(secs) {
  const whole = Math.max(0, Math.round(secs));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/// The time of day, in the viewer's zone.
export function clock(date) {
  return new Date(date).toLocaleTimeString([], { hour12: false });
}

function dateTime(date) {
  const day = new Date(date);
  const today = day.toDateString() === new Date().toDateString();
  return today ? clock(date) : `${day.toLocaleDateString()} ${clock(date)}`;
}
