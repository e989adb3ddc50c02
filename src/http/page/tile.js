// One camera on the wall: its picture, still or playing, and what is to be known of it.

import { attach } from "./player.js";
import { draw, noStill } from "./stills.js";
import { ago, clock, plain } from "./words.js";

const template = document.getElementById("tile");
/// After so many failures in a row a camera's turn goes to another for a while.
const HOPELESS_AFTER = 4;
const HOPELESS_MS = 60_000;

export const STATE_WORDS = {
  live: "Live", late: "Late", offline: "Offline", starting: "Starting", trouble: "Trouble",
};

export class Tile {
  constructor(device, mode, onopen) {
    this.device = device;
    this.mode = mode;
    this.player = null;
    this.still = noStill();
    this.hopelessUntil = 0;
    /// Since when it is on screen; null while it is not.
    this.seenAt = null;
    this.root = template.content.firstElementChild.cloneNode(true);
    this.video = this.root.querySelector("video");
    this.canvas = this.root.querySelector("canvas");
    const part = (name) => this.root.querySelector(`.${name}`);
    this.parts = {
      open: part("open"), name: part("name"), client: part("client"),
      clock: part("clock"), badge: part("badge"), lag: part("lag"), error: part("error"),
    };
    this.parts.open.addEventListener("click", () => onopen(this.device));
    this.video.addEventListener("loadeddata", () => this.root.classList.add("shown"));
  }

  /// What the server says of it by now, and its place among how many.
  take(device, place, total) {
    this.device = device;
    const { parts } = this;
    parts.name.textContent = plain(device.name);
    parts.client.textContent = plain(device.client);
    parts.badge.textContent = STATE_WORDS[device.state];
    parts.badge.dataset.state = device.state;
    parts.error.textContent = device.error ?? "";
    this.root.dataset.state = device.state;
    this.root.setAttribute("aria-posinset", place + 1);
    this.root.setAttribute("aria-setsize", total);
    const behind = device.lagSecs === null ? "" : `, last picture ${ago(device.lagSecs)} ago`;
    const error = device.error ? `, ${device.error}` : "";
    parts.open.setAttribute(
      "aria-label",
      `${plain(device.name)}, ${STATE_WORDS[device.state]}${behind}${error}. Open.`,
    );
  }

  /// Whether there is anything to play.
  isPlayable() {
    return this.mode !== "none" && this.device.segmentCount > 0 && this.device.state !== "offline"
      && performance.now() >= this.hopelessUntil;
  }

  play() {
    if (this.player) return;
    const { playlist, link } = this.device;
    this.player = attach(this.video, { path: playlist, link, ended: false }, this.mode);
  }

  stop() {
    if (!this.player) return;
    if (this.root.classList.contains("shown")) {
      // What was seen last stays, until a newer still comes.
      draw(this.canvas, this.video, this.video.videoWidth, this.video.videoHeight);
      this.root.classList.add("pictured");
    }
    this.player.destroy();
    this.player = null;
    this.root.classList.remove("shown");
  }

  tick(now) {
    if (this.player && this.player.failures >= HOPELESS_AFTER) {
      this.hopelessUntil = performance.now() + HOPELESS_MS;
      this.stop();
    }
    const { parts } = this;
    const isShown = this.player && this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    const date = isShown ? this.player.date() : null;
    const { lastFrameAt } = this.device;
    parts.clock.textContent = date === null ? "" : clock(date);
    if (date !== null) parts.lag.textContent = `${ago((now - date) / 1000)} behind`;
    else if (lastFrameAt) parts.lag.textContent = `${ago((now - Date.parse(lastFrameAt)) / 1000)} ago`;
    else parts.lag.textContent = "no picture yet";
  }
}
