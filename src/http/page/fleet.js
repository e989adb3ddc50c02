// The cameras that the viewer asks for: how many there are of each state, and those of the part
// of the list that is on screen. Ten thousand cameras are never fetched: a part is, again and
// again, for as long as it is looked at.

import { Trouble, askJson } from "./api.js";

const POLL_MS = 2000;
const POLL_STARTING_MS = 700;
const POLL_HIDDEN_MS = 30_000;
const AGAIN_AFTER_TROUBLE_MS = 3000;
/// Entries beside those on screen, so that a little scrolling finds them there.
const MARGIN = 12;

export class Fleet extends EventTarget {
  constructor() {
    super();
    this.asked = { q: "", state: "", of: "", sort: "name" };
    this.first = 0;
    this.count = 24;
    /// By their place in the list.
    this.devices = new Map();
    this.total = null;
    this.counts = {};
    this.clients = [];
    this.version = "";
    /// How far the server's clock is ahead of this one's, in ms.
    this.aheadMs = 0;
    this.timer = 0;
    this.flight = null;
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.poll(); });
  }

  now() {
    return Date.now() + this.aheadMs;
  }

  /// Asks for others from now on.
  ask(asked) {
    const isSame = Object.keys(this.asked).every((name) => this.asked[name] === asked[name]);
    if (isSame && this.total !== null) return;
    for (const name of Object.keys(this.asked)) this.asked[name] = asked[name];
    this.first = 0;
    this.isFresh = true;
    this.poll();
  }

  /// Says which part is on screen.
  show(first, count) {
    const isKnown = count > 0 && this.covers(first, count);
    this.first = first;
    this.count = count;
    if (!isKnown) this.soon(60);
  }

  covers(first, count) {
    const end = Math.min(first + count, this.total ?? Infinity);
    for (let index = first; index < end; index += 1) if (!this.devices.has(index)) return false;
    return true;
  }

  soon(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.poll(), ms);
  }

  async poll() {
    clearTimeout(this.timer);
    this.flight?.abort();
    const flight = new AbortController();
    this.flight = flight;
    const offset = Math.max(0, this.first - MARGIN);
    const limit = this.count + 2 * MARGIN;
    const { q, state, of, sort } = this.asked;
    let wait = document.hidden ? POLL_HIDDEN_MS : POLL_MS;
    try {
      const params = { query: q, state, client: of, sort, offset, limit };
      const listing = await askJson("/api/devices", params, flight.signal);
      this.take(listing, offset);
      const isStarting = (device) => device.state === "starting" && !device.segmentCount;
      if (listing.total < 50 && (!listing.total || listing.devices.some(isStarting))) {
        wait = Math.min(wait, POLL_STARTING_MS);
      }
    } catch (error) {
      if (flight.signal.aborted) return;
      if (!(error instanceof Trouble)) throw error;
      this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
      if (error.kind === "token") return;
      wait = AGAIN_AFTER_TROUBLE_MS;
    }
    this.soon(wait);
  }

  take(listing, offset) {
    this.aheadMs = Date.parse(listing.now) - Date.now();
    if (this.isFresh) this.devices.clear();
    this.isFresh = false;
    this.total = listing.total;
    this.counts = listing.counts;
    this.clients = listing.clients;
    this.version = listing.version;
    listing.devices.forEach((device, index) => {
      device.key = keyOf(device);
      this.devices.set(offset + index, device);
    });
    for (const index of this.devices.keys()) {
      if (index >= this.total) this.devices.delete(index);
    }
    this.dispatchEvent(new Event("change"));
  }

  /// What is known of a camera that is open, on screen or not; null when there is none.
  async find(client, device) {
    const key = keyOf({ client, device });
    for (const known of this.devices.values()) if (known.key === key) return known;
    for (let offset = 0; ; offset += 1000) {
      const params = { query: device.trim().split(/\s+/)[0] ?? "", client, offset, limit: 1000 };
      const listing = await askJson("/api/devices", params);
      const found = listing.devices.find((other) => other.device === device);
      if (found) return { ...found, key };
      if (offset + listing.devices.length >= listing.total || !listing.devices.length) return null;
    }
  }
}

/// Ids hold no line breaks, so no two cameras have one key.
export function keyOf({ client, device }) {
  return `${client}\n${device}`;
}
