// Where the viewer is, as the part of the address behind the "#": which cameras are shown, which
// one is open, and at which instant. Pure: text in, text out.

/// What is left out of the address, because it is so without being said.
const USUAL = { q: "", state: "", of: "", sort: "name", size: "m", client: "", device: "", archive: "", at: null };

/// Reads an address' hash. What it does not know is ignored.
export function readPlace(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const place = { ...USUAL };
  for (const name of Object.keys(USUAL)) {
    if (given.has(name)) place[name] = given.get(name);
  }
  if (!["s", "m", "l"].includes(place.size)) place.size = USUAL.size;
  if (!["name", "worst"].includes(place.sort)) place.sort = USUAL.sort;
  const at = place.at === null ? NaN : Date.parse(place.at);
  place.at = Number.isFinite(at) ? at : null;
  if (!place.client || !place.device) place.client = place.device = place.archive = "";
  return place;
}

/// The hash of a place, without what is usual.
export function writePlace(place) {
  const said = new URLSearchParams();
  for (const [name, usual] of Object.entries(USUAL)) {
    const value = place[name];
    if (value === usual || value === null || value === undefined || value === "") continue;
    said.set(name, name === "at" ? new Date(value).toISOString() : value);
  }
  const text = said.toString();
  return text ? `#${text}` : "";
}

/// The place without a camera.
export function withoutCamera(place) {
  return { ...place, client: "", device: "", archive: "", at: null };
}
