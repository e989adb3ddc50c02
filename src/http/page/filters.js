// Which cameras are wanted: search, state, client, order, size; and how many there are of each.

import { STATE_WORDS } from "./tile.js";
import { number, plain } from "./words.js";

const SEARCH_AFTER_MS = 120;
const STATES = ["live", "late", "offline", "starting", "trouble"];
/// These are shown also when there is none.
const ALWAYS = ["live", "late", "offline"];

const id = (name) => document.getElementById(name);

export class Filters {
  /// `onchange` gets what has changed of the place.
  constructor(onchange) {
    this.onchange = onchange;
    this.search = id("search");
    this.states = id("states");
    this.client = id("client");
    this.sort = id("sort");
    this.sizes = [...document.querySelectorAll("#sizes input")];
    this.timer = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => onchange({ q: this.search.value }), SEARCH_AFTER_MS);
    });
    this.search.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      if (this.search.value) {
        this.search.value = "";
        onchange({ q: "" });
      } else {
        this.search.blur();
      }
    });
    this.client.addEventListener("change", () => onchange({ of: this.client.value }));
    this.sort.addEventListener("change", () => onchange({ sort: this.sort.value }));
    for (const size of this.sizes) {
      size.addEventListener("change", () => onchange({ size: size.value }));
    }
    this.chips = new Map(["", ...STATES].map((state) => [state, this.chip(state)]));
  }

  chip(state) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "chip";
    if (state) button.dataset.state = state;
    const word = document.createElement("span");
    word.textContent = state ? STATE_WORDS[state] : "All";
    const count = document.createElement("span");
    count.className = "count";
    button.append(word, count);
    button.addEventListener("click", () => this.onchange({ state }));
    this.states.append(button);
    return { button, count };
  }

  /// Shows what is asked for.
  show(place) {
    if (document.activeElement !== this.search) this.search.value = place.q;
    this.sort.value = place.sort;
    for (const size of this.sizes) size.checked = size.value === place.size;
    this.place = place;
    for (const [state, { button }] of this.chips) {
      button.setAttribute("aria-pressed", String(state === place.state));
    }
    this.offer(this.offered ?? []);
  }

  /// Shows what there is.
  take(fleet) {
    const { counts } = fleet;
    const all = counts.live + counts.late + counts.offline + counts.starting;
    for (const [state, { button, count }] of this.chips) {
      const found = state ? counts[state] : all;
      count.textContent = number(found);
      const isUsual = state === "" || ALWAYS.includes(state);
      button.hidden = !isUsual && found === 0 && this.place?.state !== state;
    }
    this.offer(fleet.clients);
    const { total } = fleet;
    id("found").textContent = total === all
      ? `${number(all)} ${all === 1 ? "camera" : "cameras"}`
      : `${number(total)} of ${number(all)} cameras`;
  }

  /// The clients to choose among.
  offer(clients) {
    this.offered = clients;
    const of = this.place?.of ?? "";
    const names = of && !clients.includes(of) ? [...clients, of] : clients;
    id("client-field").hidden = names.length < 2 && !of;
    const known = [...this.client.options].slice(1).map((option) => option.value);
    if (known.join("\n") !== names.join("\n")) {
      this.client.replaceChildren(new Option("All clients", ""), ...names.map((n) => new Option(plain(n), n)));
    }
    this.client.value = of;
  }
}
