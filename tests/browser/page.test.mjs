// What of the page is reckoning alone: instants, turns, addresses, words.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

/// A module of the page that imports none, whatever this version of Node takes a .js file for.
async function part(name) {
  const source = await readFile(new URL(`../../src/http/page/${name}.js`, import.meta.url), "utf8");
  return import(`data:text/javascript;base64,${Buffer.from(source).toString("base64")}`);
}

const { dateAt, parse, runs, timeAt } = await part("moments");
const { turns } = await part("turns");
const { readPlace, withoutCamera, writePlace } = await part("place");
const { ago, fromField, length, plain, size, toField } = await part("words");

const START = Date.parse("2026-01-31T08:00:00Z");
const PLAYLIST = `#EXTM3U
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:00:00.000Z
#EXTINF:30.000,
a.ts
#EXTINF:30.000,
b.ts
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T08:05:00.000Z
#EXTINF:30.000,
c.ts
`;

test("instants and media time follow from each other, and a silence is none of either", () => {
  const entries = parse(PLAYLIST);
  assert.equal(dateAt(entries, 45), START + 45_000);
  assert.equal(dateAt(entries, 61), START + 301_000);
  assert.deepEqual(timeAt(entries, START + 45_000), { time: 45, isThere: true });
  assert.deepEqual(timeAt(entries, START + 301_000), { time: 61, isThere: true });
  assert.deepEqual(timeAt(entries, START + 200_000), { time: 60, isThere: false });
  assert.deepEqual(timeAt(entries, START - 1000), { time: 0, isThere: false });
  assert.deepEqual(timeAt(entries, START + 999_000), { time: 90, isThere: false });
  assert.deepEqual(runs(entries), [
    { from: START, to: START + 60_000 },
    { from: START + 300_000, to: START + 330_000 },
  ]);
  assert.equal(dateAt([], 3), null);
  assert.equal(timeAt([], START), null);
});

test("a time lapse stands for more time than it lasts", () => {
  const entries = [0, 1, 2].map((i) => ({ start: i * 3, duration: 3, date: START + i * 30_000, jump: false }));
  assert.equal(dateAt(entries, 1.5), START + 15_000);
  assert.deepEqual(timeAt(entries, START + 45_000), { time: 4.5, isThere: true });
  assert.equal(runs(entries).length, 1);
});

test("never more play than may, who plays stays, who is pointed at comes first", () => {
  const visible = Array.from({ length: 30 }, (_, index) => `c${index}`);
  assert.equal(turns(visible, new Set(), null).size, 12);
  const playing = new Set(["c20", "c21"]);
  const chosen = turns(visible, playing, "c29", 3);
  assert.deepEqual([...chosen], ["c29", "c20", "c21"]);
  assert.deepEqual([...turns(visible.slice(0, 2), playing, "c29", 3)], ["c0", "c1"]);
  assert.equal(turns([], playing, null).size, 0);
});

test("a place is read back from its address, whatever a camera is called", () => {
  for (const device of ["cam 1", "<img src=x>", "a&b=c#d?e", "📷", "\u202eבא"]) {
    const place = { ...readPlace(""), q: "gate & yard", client: "acme", device, at: START + 250 };
    assert.deepEqual(readPlace(writePlace(place)), place);
  }
  assert.equal(writePlace(readPlace("#size=huge&sort=odd&at=soon&device=x&unknown=1")), "");
  assert.equal(writePlace(withoutCamera(readPlace("#client=a&device=b&archive=c&q=d"))), "#q=d");
});

test("lengths, sizes and fields are said as people say them", () => {
  assert.deepEqual([ago(-3), ago(119.4), ago(3600), ago(90_000)], ["0 s", "119 s", "60 min", "25 h"]);
  assert.deepEqual([length(59), length(60), length(3700), length(90_000)], ["59 s", "1 min", "1 h 1 min", "1 d 1 h"]);
  assert.deepEqual([size(512), size(1536), size(200 * 1024)], ["512 B", "1.5 KiB", "200 KiB"]);
  assert.equal(fromField(toField(START)), START);
  assert.equal(fromField(""), null);
  assert.equal(plain("Küche 📷 שער <b>"), "Küche 📷 שער <b>");
  assert.equal(plain("\u202egnp.yad\u0007"), "\ufffdgnp.yad\ufffd");
});
