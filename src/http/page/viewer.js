// One camera, large: play, look back, jump to an instant, archives, pieces to save.

import { Archives } from "./archives.js";
import { runs } from "./moments.js";
import { attach } from "./player.js";
import { Save } from "./save.js";
import { STATE_WORDS } from "./tile.js";
import { Timeline } from "./timeline.js";
import { ago, dateTime, fromField, length, plain, toField, zone } from "./words.js";

const id = (name) => document.getElementById(`viewer-${name}`);
const SKIP_SECS = 10;
const LONG_SKIP_SECS = 60;
/// How long a note about what was done stays.
const NOTE_MS = 6000;
const MOVED_AFTER_MS = 300;

export class Viewer extends EventTarget {
  /// `now()` is the server's time. Tells with `moved` and `closed` when its place changes.
  constructor(mode, now) {
    super();
    this.mode = mode;
    this.now = now;
    this.dialog = document.getElementById("viewer");
    this.video = id("video");
    this.player = null;
    this.device = null;
    this.archive = null;
    this.pending = null;
    this.timeline = new Timeline((date) => this.seek(date));
    this.archives = new Archives((archive) => this.playArchive(archive));
    this.runs = [];
    this.save = new Save(() => ({
      device: this.device,
      date: this.player?.date() ?? null,
      first: this.runs[0]?.from ?? null,
    }));
    id("zone").textContent = zone();
    this.listen();
  }

  listen() {
    id("close").addEventListener("click", () => this.dialog.close());
    id("play").addEventListener("click", () => this.toggle());
    id("back").addEventListener("click", () => this.timeline.step(-SKIP_SECS));
    id("forth").addEventListener("click", () => this.timeline.step(SKIP_SECS));
    id("live").addEventListener("click", () => this.goLive());
    id("share").addEventListener("click", () => this.share());
    id("speed").addEventListener("change", () => this.setSpeed());
    id("jump").addEventListener("submit", (event) => {
      event.preventDefault();
      const date = fromField(id("jump-at").value);
      if (date !== null) this.jump(date);
    });
    this.dialog.addEventListener("close", () => this.shut());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener("keydown", (event) => this.keyed(event));
    this.video.addEventListener("click", () => this.toggle());
    for (const name of ["play", "pause"]) this.video.addEventListener(name, () => this.button());
  }

  get isOpen() {
    return this.device !== null;
  }

  /// Opens a camera; at an instant, or in an archive, if one is given.
  async open(device, { at = null, archive = "" } = {}) {
    this.stopPlaying();
    this.device = device;
    this.archive = null;
    id("name").textContent = plain(device.name);
    id("client").textContent = plain(device.client);
    this.show(device);
    this.save.reset();
    this.note("");
    id("save-note").textContent = "";
    id("speed").value = "1";
    id("jump-at").value = toField(at ?? this.now());
    id("link").hidden = true;
    if (!this.dialog.open) this.dialog.showModal();
    this.button();
    this.timer = setInterval(() => this.tick(), 250);
    const listed = this.archives.open(device);
    if (archive) {
      await listed;
      const found = await this.archives.named(archive);
      if (this.device !== device) return;
      if (found) {
        this.start(found, at);
        return;
      }
      this.note("That archive is not kept any more.");
    }
    this.start(null, at);
  }

  /// Plays the stream, or an archive, from an instant on.
  start(archive, at) {
    this.player?.destroy();
    this.archive = archive;
    this.pending = at;
    this.seen = null;
    this.runs = [];
    this.timeline.reset();
    this.archives.show(archive?.session ?? "");
    id("live").hidden = archive !== null;
    const { playlist, link } = this.device;
    const source = { path: archive?.playlist ?? playlist, link, ended: archive !== null };
    this.player = attach(this.video, source, this.mode, { looksBack: true });
    this.setSpeed();
    this.tick();
  }

  playArchive(archive) {
    this.start(archive, null);
    this.moved();
  }

  stopPlaying() {
    clearInterval(this.timer);
    this.player?.destroy();
    this.player = null;
    this.pending = null;
    this.timeline.reset();
  }

  shut() {
    this.stopPlaying();
    this.save.reset();
    this.device = null;
    this.archive = null;
    this.dispatchEvent(new Event("closed"));
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  /// What the server says of the camera by now.
  show(device) {
    Object.assign(this.device, device);
    const badge = id("state");
    badge.textContent = STATE_WORDS[device.state];
    badge.dataset.state = device.state;
  }

  /// Where it is, for the address.
  place() {
    const { client, device } = this.device;
    const isLive = !this.archive && (this.player?.live ?? true) && this.pending === null;
    const at = isLive ? null : this.pending ?? this.player?.date() ?? null;
    return { client, device, archive: this.archive?.session ?? "", at };
  }

  /// Soon, and once for many: browsers refuse an address that changes all the time.
  moved() {
    clearTimeout(this.movedTimer);
    this.movedTimer = setTimeout(() => this.dispatchEvent(new Event("moved")), MOVED_AFTER_MS);
  }

  toggle() {
    if (this.video.paused) this.player?.play();
    else this.video.pause();
  }

  setSpeed() {
    this.video.playbackRate = Number(id("speed").value);
  }

  goLive() {
    id("speed").value = "1";
    this.setSpeed();
    this.pending = null;
    this.note("");
    if (this.archive) this.start(null, null);
    else this.player?.goLive();
    this.moved();
  }

  /// Goes to an instant of what is played.
  async seek(date) {
    this.pending = null;
    this.timeline.at = date;
    await this.player?.seek(date);
    this.moved();
  }

  /// Goes to an instant wherever it is kept: in the window, or in an archive.
  async jump(date) {
    const { device } = this;
    const isIn = (run) => date >= run.from && date <= run.to;
    if (!this.runs.some(isIn)) {
      const archive = this.archive ? null : await this.archives.of(date);
      if (this.device !== device) return;
      const isInWindow = this.archive !== null;
      if (archive || isInWindow) {
        this.start(archive, date);
        this.moved();
        return;
      }
      this.note(`No picture of ${dateTime(date)} is kept: this is what comes next to it.`);
    }
    await this.seek(date);
  }

  keyed(event) {
    const { tagName, type } = event.target;
    const isField = tagName === "SELECT" || (tagName === "INPUT" && type !== "range");
    if (isField || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = event.shiftKey ? LONG_SKIP_SECS : SKIP_SECS;
    const skip = { ArrowLeft: -by, ArrowRight: by }[event.key];
    if (skip) this.timeline.step(skip);
    else if ((event.key === " " && tagName !== "BUTTON") || event.key === "k") this.toggle();
    else if (event.key.toLowerCase() === "l") this.goLive();
    else return;
    event.preventDefault();
  }

  tick() {
    const { player } = this;
    if (!player) return;
    player.refresh?.();
    if (player.entries !== this.seen) {
      this.seen = player.entries;
      this.runs = runs(player.entries);
    }
    if (this.pending !== null && this.runs.length) {
      const date = this.pending;
      this.pending = null;
      this.jump(date);
    }
    const isReady = this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    const date = isReady ? player.date() : null;
    id("message").textContent = this.message(isReady, player);
    id("live").setAttribute("aria-pressed", String(player.live));
    id("clock").textContent = date === null ? (isReady && player.live ? "live" : "–") : dateTime(date);
    const behind = date !== null && !this.archive ? (this.now() - date) / 1000 : null;
    id("behind").textContent = behind === null ? "" : `${ago(behind)} behind`;
    if (!this.runs.length) return;
    this.timeline.show(this.runs, date, this.save.chosen());
    const [first, last] = [this.runs[0], this.runs.at(-1)];
    id("start").textContent = dateTime(first.from);
    id("end").textContent = dateTime(last.to);
    const silent = this.runs.length - 1;
    const gaps = silent ? `, ${silent} ${silent === 1 ? "gap" : "gaps"}` : "";
    id("length").textContent = `${length((last.to - first.from) / 1000)}${gaps}`;
  }

  message(isReady, player) {
    if (this.noteUntil > performance.now()) return this.noted;
    if (isReady) return this.device.error ?? "";
    if (this.mode === "none") return "This browser can play neither hls.js nor HLS of its own.";
    if (!this.archive && !this.device.segmentCount) return "Nothing has been recorded yet.";
    return player.failures > 1 ? "It cannot be played at the moment. Trying again…" : "Loading…";
  }

  note(text) {
    this.noted = text;
    this.noteUntil = text ? performance.now() + NOTE_MS : 0;
  }

  /// Copies the address of what is shown; where a page may not, shows it to be copied.
  async share() {
    this.dispatchEvent(new Event("moved"));
    const field = id("link");
    try {
      await navigator.clipboard.writeText(location.href);
      this.note("The link is copied.");
    } catch {
      field.value = location.href;
      field.hidden = false;
      field.focus();
      field.select();
    }
  }

  button() {
    const isPaused = this.video.paused;
    id("play").dataset.icon = isPaused ? "play" : "pause";
    id("play").setAttribute("aria-label", isPaused ? "Play" : "Pause");
  }
}
