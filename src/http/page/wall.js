// The wall: a tile for each camera; those in view play.

import { attach, chosenMode } from "/player.js";
import { Viewer, clock } from "/viewer.js";

const POLL_STARTING_MS = 700;
const POLL_MS = 2000;
const STATES = ["live", "late", "offline", "starting"];

const mode = chosenMode();
const tiles = new Map();
const viewer = new Viewer(mode);
const wall = document.getElementById("wall");
const notice = document.getElementById("notice");
/// How far the server's clock is ahead of this one's, in ms.
let serverAheadMs = 0;

class Tile {
  constructor(device) {
    this.device = device;
    this.inView = false;
    this.player = null;
    this.root = document.getElementById("tile").content.firstElementChild.cloneNode(true);
    this.video = this.root.querySelector("video");
    this.parts = Object.fromEntries(
      ["name", "clock", "badge", "lag", "error", "open"].map((part) => [
        part,
        this.root.querySelector(`.${part}`),
      ]),
    );
    this.parts.open.onclick = () => viewer.open(this.device);
    this.video.addEventListener("loadeddata", () => this.root.classList.add("shown"));
  }

  take(device) {
    this.device = device;
    this.parts.name.textContent = device.name;
    this.parts.badge.textContent = device.state;
    this.parts.badge.dataset.state = device.state;
    this.parts.error.textContent = device.error ?? "";
    this.root.dataset.state = device.state;
    const behind = device.lagSecs === null ? "" : `, last picture ${secs(device.lagSecs)} ago`;
    this.parts.open.setAttribute("aria-label", `${device.name}, ${device.state}${behind}. Open.`);
    this.decide();
  }

  /// Plays when there is something to play and somebody to see it.
  decide() {
    const wanted = this.inView && mode !== "none" && this.device.segmentCount > 0;
    if (wanted && !this.player) {
      this.player = attach(this.video, this.device.playlist, mode);
    } else if (!wanted && this.player) {
      this.player.destroy();
      this.player = null;
    }
  }

  tick(now) {
    const shown = this.player && this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    const date = shown ? this.player.dateAt(this.video.currentTime) : null;
    this.parts.clock.textContent = date === null ? "" : clock(date);
    if (date !== null) {
      this.parts.lag.textContent = `${secs((now - date) / 1000)} behind`;
    } else if (this.device.lastFrameAt) {
      const last = (now - Date.parse(this.device.lastFrameAt)) / 1000;
      this.parts.lag.textContent = `last picture ${secs(last)} ago`;
    } else {
      this.parts.lag.textContent = "first picture is on its way";
    }
  }
}

function secs(value) {
  const whole = Math.max(0, Math.round(value));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.round(whole / 60)} min`;
  return `${Math.round(whole / 3600)} h`;
}

const watcher = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    const tile = tiles.get(target.dataset.key);
    if (!tile) continue;
    tile.inView = isIntersecting;
    tile.decide();
  }
}, { rootMargin: "120px" });

function takeAll(listing) {
  serverAheadMs = Date.parse(listing.now) - Date.now();
  document.getElementById("version").textContent = listing.version;
  const seen = new Set();
  for (const device of listing.devices) {
    const key = `${device.client}/${device.device}`;
    seen.add(key);
    let tile = tiles.get(key);
    if (!tile) {
      tile = new Tile(device);
      tile.root.dataset.key = key;
      tiles.set(key, tile);
      wall.append(tile.root);
      watcher.observe(tile.root);
    }
    tile.take(device);
    if (viewer.shows(device)) viewer.show(device);
  }
  for (const [key, tile] of tiles) {
    if (seen.has(key)) continue;
    watcher.unobserve(tile.root);
    tile.inView = false;
    tile.decide();
    tile.root.remove();
    tiles.delete(key);
  }
  document.getElementById("empty").hidden = tiles.size > 0;
  counts(listing.devices);
}

function counts(devices) {
  const items = STATES.map((state) => {
    const number = devices.filter((device) => device.state === state).length;
    if (!number) return null;
    const item = document.createElement("li");
    item.dataset.state = state;
    item.textContent = `${number} ${state}`;
    return item;
  });
  document.getElementById("counts").replaceChildren(...items.filter(Boolean));
}

function say(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

async function poll() {
  let wait = POLL_MS;
  try {
    const answer = await fetch("/api/devices", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const listing = await answer.json();
    takeAll(listing);
    say(mode === "none" ? "This browser can play neither hls.js nor HLS of its own." : "");
    const waiting = !listing.devices.length || listing.devices.some((d) => !d.segmentCount);
    if (waiting) wait = POLL_STARTING_MS;
  } catch {
    say("The server does not answer. Trying again…");
  }
  setTimeout(poll, wait);
}

document.getElementById(`use-${mode}`)?.setAttribute("aria-current", "true");
setInterval(() => {
  const now = Date.now() + serverAheadMs;
  for (const tile of tiles.values()) tile.tick(now);
}, 500);
poll();
