// Saves a piece of what is shown: the picture as the camera took it, or a clip.

import { Trouble, ask } from "./api.js";
import { fromField, length, size, toField } from "./words.js";

const id = (name) => document.getElementById(`viewer-${name}`);
const MOST_KEPT_MS = 60_000;
/// What is offered to begin with.
const FIRST_CLIP_MS = 60_000;

export class Save {
  /// `current()` says what is on screen: {device, date, first}, the instants null when unknown;
  /// `first` is the oldest that is kept.
  constructor(current) {
    this.current = current;
    this.maxClipSecs = Infinity;
    this.flight = null;
    id("still").addEventListener("click", () => this.still());
    id("clip").addEventListener("click", () => this.toggle());
    id("clip-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.clip();
    });
    id("clip-cancel").addEventListener("click", () => this.flight?.abort());
    for (const end of ["from", "to"]) {
      id(`clip-${end}`).addEventListener("input", () => this.judge());
      id(`clip-${end}-here`).addEventListener("click", () => this.set(end));
    }
  }

  reset() {
    this.flight?.abort();
    id("clip-form").hidden = true;
    id("clip").setAttribute("aria-expanded", "false");
    this.say("");
  }

  toggle() {
    const form = id("clip-form");
    form.hidden = !form.hidden;
    id("clip").setAttribute("aria-expanded", String(!form.hidden));
    if (form.hidden) return;
    const { date: shown, first } = this.current();
    const date = shown ?? Date.now();
    id("clip-from").value = toField(Math.max(date - FIRST_CLIP_MS, first ?? -Infinity));
    id("clip-to").value = toField(date);
    this.judge();
    id("clip-from").focus();
  }

  set(end) {
    const { date } = this.current();
    if (date !== null) id(`clip-${end}`).value = toField(date);
    this.judge();
  }

  /// What is to be cut out, in ms since 1970; null while the form is closed or makes no sense.
  chosen() {
    if (id("clip-form").hidden) return null;
    const [from, to] = [fromField(id("clip-from").value), fromField(id("clip-to").value)];
    return from !== null && to !== null && from < to ? { from, to } : null;
  }

  /// Says beforehand what the server would.
  judge() {
    const chosen = this.chosen();
    const secs = chosen ? (chosen.to - chosen.from) / 1000 : 0;
    const isTooLong = secs > this.maxClipSecs;
    id("clip-go").disabled = !chosen || isTooLong || this.flight !== null;
    if (!chosen) this.say("The end has to be after the beginning.", true);
    else if (isTooLong) {
      this.say(`That is ${length(secs)}. A clip is at most ${length(this.maxClipSecs)} long here: `
        + "choose a shorter time, or ask whoever runs this service to export it.", true);
    } else this.say(length(secs));
  }

  say(text, isTrouble = false) {
    const note = id("clip-note");
    note.textContent = text;
    note.classList.toggle("trouble", isTrouble);
  }

  async still() {
    const { device, date } = this.current();
    const message = id("save-note");
    message.textContent = "";
    const at = new Date(date ?? Date.now()).toISOString();
    id("still").disabled = true;
    try {
      const answer = await ask(`${device.path}/still.jpg?at=${encodeURIComponent(at)}&of=screen`);
      keep(await answer.blob(), nameOf(answer, "still.jpg"));
    } catch (trouble) {
      message.textContent = trouble.kind === "missing"
        ? "The picture of this instant is not kept any more."
        : trouble.message;
    } finally {
      id("still").disabled = false;
    }
  }

  async clip() {
    const chosen = this.chosen();
    if (!chosen || this.flight) return;
    const { device } = this.current();
    const flight = new AbortController();
    this.flight = flight;
    this.busy(true);
    this.say("It is being cut…");
    try {
      const [from, to] = [chosen.from, chosen.to].map((at) => new Date(at).toISOString());
      const query = new URLSearchParams({ from, to });
      const answer = await ask(`${device.path}/clip.mp4?${query}`, flight.signal);
      const bytes = await this.read(answer);
      keep(new Blob(bytes, { type: "video/mp4" }), nameOf(answer, "clip.mp4"));
      this.say("Saved.");
    } catch (error) {
      if (flight.signal.aborted) this.say("Cancelled.");
      else if (error instanceof Trouble) this.say(error.message, true);
      else this.say("The clip broke off: some of it may have been cleaned up meanwhile. Try again.", true);
    } finally {
      this.flight = null;
      this.busy(false);
    }
  }

  /// Reads the answer's body, and says how far it is.
  async read(answer) {
    const total = Number(answer.headers.get("content-length")) || 0;
    const progress = id("clip-progress");
    const parts = [];
    let had = 0;
    if (total) progress.max = total;
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return parts;
      parts.push(value);
      had += value.length;
      if (total) progress.value = had;
      this.say(`${size(had)}${total ? ` of ${size(total)}` : ""}`);
    }
  }

  busy(isBusy) {
    id("clip-progress").hidden = !isBusy;
    id("clip-progress").removeAttribute("value");
    id("clip-cancel").hidden = !isBusy;
    id("clip-go").disabled = isBusy;
  }
}

/// The name that the server gives the file: letters, digits and few signs.
function nameOf(answer, otherwise) {
  const given = answer.headers.get("content-disposition") ?? "";
  return /filename="([\w.-]+)"/.exec(given)?.[1] ?? otherwise;
}

function keep(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has begun to save it long before.
  setTimeout(() => URL.revokeObjectURL(link.href), MOST_KEPT_MS);
}
