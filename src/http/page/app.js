// The page: brings list, wall, camera and address together.

import { Trouble, askJson, token } from "./api.js";
import { Filters } from "./filters.js";
import { Fleet, keyOf } from "./fleet.js";
import { Grid } from "./grid.js";
import { askForToken, showWhetherIn } from "./login.js";
import { readPlace, withoutCamera, writePlace } from "./place.js";
import { chosenMode } from "./player.js";
import { Viewer } from "./viewer.js";
import { plain } from "./words.js";

const id = (name) => document.getElementById(name);
const TITLE = document.title;

const mode = chosenMode();
const fleet = new Fleet();
const viewer = new Viewer(mode, () => fleet.now());
const grid = new Grid(id("wall"), fleet, mode, (device) => openCamera(device));
const filters = new Filters((changed) => go({ ...place, ...changed }, { replace: true }));
let place = readPlace(location.hash);

/// Changes the address and what is shown.
function go(next, { replace = false } = {}) {
  place = next;
  const address = location.pathname + location.search + writePlace(place);
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  apply();
}

/// Shows what the address says, but for the camera.
function apply() {
  filters.show(place);
  if (grid.size !== place.size) {
    grid.size = place.size;
    grid.renderSoon();
  }
  const before = JSON.stringify(fleet.asked);
  fleet.ask(place);
  if (JSON.stringify(fleet.asked) !== before) grid.toTop();
}

function openCamera(device) {
  go({ ...place, client: device.client, device: device.device, archive: "", at: null });
  show(device, place);
}

function show(device, { at, archive }) {
  grid.isCovered = true;
  grid.decide();
  document.title = `${plain(device.name)} – ${TITLE}`;
  viewer.open({ ...device }, { at, archive });
}

/// Opens or closes the camera as the address says.
async function applyCamera() {
  if (!place.device) {
    viewer.close();
    return;
  }
  try {
    const device = await fleet.find(place.client, place.device);
    if (device) show(device, place);
    else say(`There is no camera ${plain(place.device)} of ${plain(place.client)}, or it is not for you to see.`);
  } catch (error) {
    if (error instanceof Trouble) troubled(error, applyCamera);
    else throw error;
  }
}

viewer.addEventListener("closed", () => {
  grid.isCovered = false;
  document.title = TITLE;
  if (place.device) go(withoutCamera(place));
  grid.decide();
});
viewer.addEventListener("moved", () => {
  if (viewer.isOpen) go({ ...place, ...viewer.place() }, { replace: true });
});
window.addEventListener("popstate", () => {
  place = readPlace(location.hash);
  apply();
  applyCamera();
});

fleet.addEventListener("change", () => {
  filters.take(fleet);
  id("version").textContent = fleet.version;
  if (mode !== "none") say("");
  else say("This browser can play neither hls.js nor HLS of its own: there are stills only.");
  const isAny = ["q", "state", "of"].some((name) => place[name]);
  id("empty").hidden = fleet.total > 0;
  id("empty").textContent = isAny ? "No camera is like that." : "Waiting for the first camera…";
  if (!viewer.isOpen) return;
  for (const device of fleet.devices.values()) {
    if (device.key === keyOf(viewer.device)) viewer.show(device);
  }
});
fleet.addEventListener("trouble", ({ detail }) => troubled(detail, () => fleet.poll()));

async function troubled(trouble, again) {
  if (trouble.kind !== "token") {
    say(trouble.message);
    return;
  }
  await askForToken(trouble.message);
  again();
}

function say(text) {
  const notice = id("notice");
  if (notice.textContent === text) return;
  notice.textContent = text;
  notice.hidden = !text;
}

for (const event of ["pointerover", "focusin"]) {
  id("wall").addEventListener(event, ({ target }) => grid.want(target));
}
id("wall").addEventListener("pointerleave", () => grid.want(null));

const playing = id("playing");
playing.addEventListener("click", () => setPlaying(!grid.plays));
function setPlaying(plays) {
  grid.plays = plays;
  playing.setAttribute("aria-pressed", String(plays));
  grid.decide();
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]") || event.target.closest("input, select")) return;
  event.preventDefault();
  id("search").focus();
  id("search").select();
});

async function begin() {
  showWhetherIn();
  setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  filters.show(place);
  grid.size = place.size;
  try {
    const about = await askJson("/api/about");
    viewer.save.maxClipSecs = about.maxClipSecs;
    if (about.asksForToken && !token()) await askForToken("A token is needed to see these cameras.");
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    say(error.message);
    setTimeout(begin, 3000);
    return;
  }
  fleet.ask(place);
  applyCamera();
}

begin();
