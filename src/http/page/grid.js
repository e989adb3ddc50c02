// The wall: as many tiles as fit on screen, whatever the number of cameras. Only what is on
// screen exists; only so much of it plays.

import { Tile } from "./tile.js";
import { fetchStills } from "./stills.js";
import { turns } from "./turns.js";

const GAP = 12;
const LEAST_WIDTH = { s: 168, m: 288, l: 440 };
/// Rows beside those on screen.
const OVERSCAN = 1;
/// Who scrolls by is not kept up by players.
const SEEN_FOR_MS = 250;
/// A few cameras fill the window; more are laid out by size.
const FEW = 9;

export class Grid {
  constructor(root, fleet, mode, onopen) {
    this.root = root;
    this.fleet = fleet;
    this.mode = mode;
    this.onopen = onopen;
    this.size = "m";
    /// Whether tiles play at all.
    this.plays = true;
    /// Set while a camera is open: what is behind it does not play.
    this.isCovered = false;
    this.tiles = new Map();
    this.visible = [];
    this.wanted = null;
    /// Where the focus goes as soon as there is a tile; null when it is where it should be.
    this.awaited = null;
    this.shape = { columns: 1, width: 1, height: 1, left: 0 };
    this.frame = 0;
    const soon = () => this.renderSoon();
    window.addEventListener("scroll", soon, { passive: true });
    new ResizeObserver(soon).observe(root);
    window.addEventListener("resize", soon);
    root.addEventListener("keydown", (event) => this.keyed(event));
    fleet.addEventListener("change", soon);
    setInterval(() => this.tick(), 500);
  }

  renderSoon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  /// The columns, and how large a tile is: a wall of a few cameras is as large as the window.
  measure() {
    const total = this.fleet.total ?? 0;
    const room = this.root.clientWidth;
    const least = Math.min(LEAST_WIDTH[this.size], room);
    let columns = Math.max(1, Math.floor((room + GAP) / (least + GAP)));
    let width = (room - GAP * (columns - 1)) / columns;
    if (total > 0 && total <= FEW) {
      const high = Math.max(180, window.innerHeight - this.root.offsetTop - 56);
      for (let tried = 1; tried <= total; tried += 1) {
        const rows = Math.ceil(total / tried);
        const byWidth = (room - GAP * (tried - 1)) / tried;
        const byHeight = ((high - GAP * (rows - 1)) / rows) * (16 / 9);
        const fits = Math.min(byWidth, byHeight);
        if (fits > width || (tried === 1 && columns > total)) [columns, width] = [tried, fits];
      }
    }
    const left = Math.max(0, (room - columns * width - GAP * (columns - 1)) / 2);
    this.shape = { columns, width, height: (width * 9) / 16, left };
  }

  render() {
    const { total } = this.fleet;
    if (total === null) return;
    this.measure();
    const { columns, height } = this.shape;
    const row = height + GAP;
    const rows = Math.ceil(total / columns);
    this.root.style.height = `${Math.max(0, rows * row - GAP)}px`;
    const top = window.scrollY - this.root.offsetTop;
    const firstSeen = Math.max(0, Math.floor(top / row));
    const endSeen = Math.min(rows, Math.max(0, Math.ceil((top + window.innerHeight) / row)));
    const first = Math.max(0, firstSeen - OVERSCAN) * columns;
    const end = Math.min(total, (endSeen + OVERSCAN) * columns);
    this.fleet.show(first, Math.max(0, end - first));
    this.place(first, end, firstSeen * columns, endSeen * columns);
    this.decide();
  }

  place(first, end, firstSeen, endSeen) {
    const { fleet } = this;
    const kept = new Set();
    this.visible = [];
    const focused = this.focused();
    let before = null;
    for (let index = first; index < end; index += 1) {
      const device = fleet.devices.get(index);
      if (!device || kept.has(device.key)) continue;
      kept.add(device.key);
      let tile = this.tiles.get(device.key);
      if (!tile) {
        tile = new Tile(device, this.mode, this.onopen);
        this.tiles.set(device.key, tile);
      }
      tile.index = index;
      tile.take(device, index, fleet.total);
      this.position(tile);
      // In the order of the list, for who reads or tabs through it; what is in place stays.
      const next = before ? before.nextSibling : this.root.firstChild;
      if (next !== tile.root) this.root.insertBefore(tile.root, next);
      before = tile.root;
      const isSeen = index >= firstSeen && index < endSeen;
      if (isSeen) this.visible.push(device.key);
      tile.seenAt = isSeen ? tile.seenAt ?? performance.now() : null;
    }
    for (const [key, tile] of this.tiles) {
      if (kept.has(key)) continue;
      tile.stop();
      // Who scrolls away and then uses an arrow goes on from here.
      if (tile === focused && fleet.devices.get(tile.index)?.key === key) {
        this.position(tile);
        continue;
      }
      tile.root.remove();
      this.tiles.delete(key);
    }
    this.settleFocus(focused);
  }

  focused() {
    return [...this.tiles.values()].find((tile) => tile.root.contains(document.activeElement));
  }

  at(index) {
    return [...this.tiles.values()].find((tile) => tile.index === index);
  }

  /// The focus stays with its camera, though its tile is moved; the camera that takes the place of
  /// one that is gone gets it too. Who has gone elsewhere is left there.
  settleFocus(focused) {
    const isElsewhere = document.activeElement !== document.body && !this.focused();
    if (isElsewhere) this.awaited = null;
    else if (this.awaited === null && focused && !this.focused()) {
      this.awaited = Math.max(0, Math.min(focused.index, this.fleet.total - 1));
    }
    if (this.awaited === null) return;
    const tile = this.at(this.awaited);
    if (!tile) return;
    this.awaited = null;
    tile.parts.open.focus({ preventScroll: true });
  }

  position(tile) {
    const { columns, width, height, left } = this.shape;
    const x = left + (tile.index % columns) * (width + GAP);
    const y = Math.floor(tile.index / columns) * (height + GAP);
    const { style } = tile.root;
    style.width = `${width}px`;
    style.height = `${height}px`;
    style.transform = `translate(${x}px, ${y}px)`;
  }

  /// Who plays, by turns.js; the others get stills.
  decide() {
    const canPlay = this.plays && !this.isCovered && !document.hidden;
    const since = performance.now() - SEEN_FOR_MS;
    const isDue = (tile) => tile && tile.seenAt !== null && tile.seenAt <= since && tile.isPlayable();
    const playable = canPlay ? this.visible.filter((key) => isDue(this.tiles.get(key))) : [];
    const playing = new Set();
    for (const [key, tile] of this.tiles) if (tile.player) playing.add(key);
    const chosen = turns(playable, playing, this.wanted);
    for (const [key, tile] of this.tiles) if (!chosen.has(key)) tile.stop();
    for (const key of chosen) this.tiles.get(key).play();
  }

  tick() {
    const now = this.fleet.now();
    for (const tile of this.tiles.values()) tile.tick(now);
    this.decide();
    if (this.isCovered || document.hidden) return;
    const waiting = this.visible.map((key) => this.tiles.get(key));
    fetchStills(waiting.filter((tile) => tile && !tile.root.classList.contains("shown")));
  }

  /// A pointer or the focus on a tile lets it play before others.
  want(target) {
    const root = target?.closest?.(".tile");
    this.wanted = null;
    if (!root) return;
    for (const [key, tile] of this.tiles) if (tile.root === root) this.wanted = key;
    this.decide();
  }

  /// Arrows go from tile to tile, also to those that are not on screen yet.
  keyed(event) {
    const { columns } = this.shape;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const step = steps[event.key];
    const root = event.target.closest(".tile");
    if (!step || !root || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const from = this.awaited ?? this.focused().index;
    this.focus(Math.min(Math.max(from + step, 0), this.fleet.total - 1));
  }

  focus(index) {
    const row = Math.floor(index / this.shape.columns) * (this.shape.height + GAP);
    const top = this.root.offsetTop + row;
    const bar = this.root.offsetTop;
    if (top - bar < window.scrollY) window.scrollTo({ top: top - bar });
    const bottom = top + this.shape.height + GAP;
    if (bottom > window.scrollY + window.innerHeight) {
      window.scrollTo({ top: bottom - window.innerHeight });
    }
    this.awaited = index;
    this.render();
  }

  /// Looks at the list from its beginning again.
  toTop() {
    window.scrollTo({ top: 0 });
  }
}
