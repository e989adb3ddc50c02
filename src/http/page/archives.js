// The archives of the camera that is open: listed newest first, a part at a time, and played.

import { askJson } from "./api.js";
import { dateTime, length, size } from "./words.js";

const PART = 50;
const id = (name) => document.getElementById(`viewer-${name}`);

export class Archives {
  /// `onplay(archive)`; null goes back to the stream.
  constructor(onplay) {
    this.onplay = onplay;
    this.list = id("archives");
    id("more").addEventListener("click", () => this.more());
    id("stream").addEventListener("click", () => this.onplay(null));
  }

  /// Lists those of another camera.
  async open(device) {
    this.device = device;
    this.archives = [];
    this.offset = 0;
    this.total = 0;
    this.playing = "";
    this.list.replaceChildren();
    id("stream").hidden = true;
    this.arrived = this.more();
    await this.arrived;
  }

  async more() {
    const { device } = this;
    id("archives-note").textContent = "Looking…";
    id("more").hidden = true;
    try {
      const params = { client: device.client, device: device.device, offset: this.offset, limit: PART };
      const answer = await askJson("/api/archives", params);
      if (device !== this.device) return;
      this.offset += PART;
      this.total = answer.total;
      this.archives.push(...answer.archives);
      this.list.append(...answer.archives.map((archive) => this.entry(archive)));
      id("archives-note").textContent = this.archives.length ? "" : "None so far. A session becomes one when it has ended.";
      id("more").hidden = this.offset >= this.total;
      this.mark();
    } catch (trouble) {
      if (device === this.device) id("archives-note").textContent = trouble.message;
    }
  }

  entry(archive) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "archive";
    button.dataset.session = archive.session;
    const when = document.createElement("strong");
    when.textContent = dateTime(Date.parse(archive.startedAt));
    const what = document.createElement("span");
    what.textContent = `${length(archive.durationSecs)}, ${archive.frameCount} pictures, ${size(archive.sizeBytes)}`;
    button.append(when, what);
    button.title = `Kept until ${dateTime(Date.parse(archive.expiresAt))}`;
    button.addEventListener("click", () => this.onplay(archive));
    item.append(button);
    return item;
  }

  /// Says which one plays; none: the stream does.
  show(session) {
    this.playing = session;
    id("stream").hidden = !session;
    this.mark();
  }

  mark() {
    for (const button of this.list.querySelectorAll("button")) {
      button.setAttribute("aria-current", String(button.dataset.session === this.playing));
    }
  }

  /// Waits for the first part of the list.
  async named(session) {
    await this.arrived;
    return this.archives.find((archive) => archive.session === session) ?? null;
  }

  /// One that has the instant.
  async of(date) {
    await this.arrived;
    const has = (archive) => Date.parse(archive.startedAt) <= date && date < Date.parse(archive.endedAt);
    return this.archives.find(has) ?? null;
  }
}
