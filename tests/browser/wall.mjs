#!/usr/bin/env node
// Uses the page as people do, on a desk and on a phone, and judges what they would see. The
// fleets are those of tests/serve/footage.rs.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { withPage } from "./lib/browser.mjs";
import { judged, readArgs } from "./lib/cli.mjs";
import { check, complaints, frameShown, place, until } from "./lib/page.mjs";

const USAGE = "wall.mjs wall|camera|login URL GALLERY [--cameras N --late N --offline N --names JSON] "
  + "[--start-millis MS] [--token TOKEN]";
const args = readArgs(USAGE, 3, {
  cameras: 4, late: 0, offline: 0, names: "[]", "start-millis": 0, token: "",
});
const [of, url, gallery] = args.given;
const MOST_PLAYERS = 12;
const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const INTERVAL_MILLIS = 5000;
const IN_A_ROW = 60;

const photograph = (page, name) => page.screenshot({ path: join(gallery, `${name}.png`) });
const players = (page) => page.evaluate(() => [...document.querySelectorAll(".tile video")]
  .filter((video) => video.src || video.readyState > 0).length);
const counts = (page) => page.evaluate(() => Object.fromEntries(
  [...document.querySelectorAll(".chip")].map((chip) => [
    chip.dataset.state ?? "all", Number(chip.querySelector(".count").textContent.replace(/\D/g, "")),
  ]),
));
const isFound = (page, text) => until(
  page, (t) => document.getElementById("found").textContent === t, text, `it does not say "${text}"`,
);

const verdict = { check: `page ${of}`, url };
const looks = { wall, camera, login };
await judged(verdict, () => withPage(DESK, async (page) => {
  check(of in looks, USAGE);
  page.setDefaultTimeout(20_000);
  const found = complaints(page, of === "login" ? / 401 / : null);
  await looks[of](page);
  check(!found.length, `the page complains: ${found.join("; ")}`);
}));

async function wall(page) {
  const { cameras, late, offline } = args;
  await page.goto(url);
  const live = cameras - late - offline;
  const isCounted = ([l, o]) => {
    const of = (state) => document.querySelector(`.chip[data-state=${state}] .count`)?.textContent;
    return of("late") === String(l) && of("offline") === String(o);
  };
  await until(page, isCounted, [late, offline], "the states are not counted", 30);
  verdict.counts = await counts(page);
  check(verdict.counts.live === live && verdict.counts.all === cameras, `counts ${JSON.stringify(verdict.counts)}`);
  await until(page, () => [...document.querySelectorAll(".tile video")].some((v) => v.currentTime > 0 && v.videoWidth > 0), null, "nothing plays");
  await until(page, () => document.querySelectorAll(".tile.pictured, .tile.shown").length > 8, null, "there are few pictures");
  await page.waitForTimeout(2500);
  verdict.tiles = await page.locator(".tile").count();
  check(verdict.tiles < 80, `${verdict.tiles} tiles exist at once`);
  await photograph(page, `wall-${cameras}`);

  // Scrolled through, there are never more players than there may be.
  verdict.players = 0;
  for (let step = 0; step < 12; step += 1) {
    await page.mouse.wheel(0, step < 6 ? 700 : -900);
    await page.waitForTimeout(250);
    verdict.players = Math.max(verdict.players, await players(page));
  }
  check(verdict.players > 2 && verdict.players <= MOST_PLAYERS, `${verdict.players} players at once`);
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await until(page, (last) => [...document.querySelectorAll(".tile")].some((t) => t.getAttribute("aria-posinset") === last), String(cameras), "the last camera is not there");
  await page.locator(".sizes label", { hasText: "S" }).click();
  await page.evaluate(() => scrollTo(0, 0));
  await page.waitForTimeout(1500);
  check(await players(page) <= MOST_PLAYERS, "more players with small tiles");
  await photograph(page, `wall-${cameras}-small`);
  await page.locator(".sizes label", { hasText: "M" }).click();

  // The states.
  await page.locator(".chip[data-state=late]").click();
  await isFound(page, `${late} of ${cameras.toLocaleString("en-US")} cameras`);
  const states = await page.locator(".tile").evaluateAll((tiles) => tiles.map((t) => t.dataset.state));
  check(states.length > 0 && states.every((state) => state === "late"), `late shows ${states}`);
  check((await place(page)).state === "late", "the address does not say the state");
  await page.locator(".chip", { hasText: "All" }).click();

  // Search as one types, with the keyboard alone.
  await page.keyboard.press("/");
  await page.keyboard.type("camera 0017");
  await isFound(page, "1 camera");
  check(await page.locator(".tile .name").innerText() === "camera 0017", "another camera is found");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await isFound(page, `${cameras.toLocaleString("en-US")} cameras`);
  await page.keyboard.press("/");
  await page.keyboard.type("nobody's");
  await until(page, () => !document.getElementById("empty").hidden, null, "it does not say that there is none");
  await page.keyboard.press("Escape");
  await hostile(page, JSON.parse(args.names));

  await page.locator("#client").selectOption("south");
  await until(page, () => [...document.querySelectorAll(".tile .client")].every((c) => c.textContent === "south"), null, "cameras of another client are shown");
  // Whose list is taken away has the focus at the same place of the next one.
  await page.locator(".tile .open").first().focus();
  await page.locator("#client").evaluate((clients) => {
    clients.value = "";
    clients.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await isFound(page, `${cameras.toLocaleString("en-US")} cameras`);
  await until(page, () => document.activeElement.closest(".tile")?.getAttribute("aria-posinset") === "1", null, "the focus went with the list");

  // From camera to camera by arrows.
  const focusedAt = () => page.evaluate(() => Number(document.activeElement.closest(".tile").getAttribute("aria-posinset")));
  const columns = await page.evaluate(() => new Set([...document.querySelectorAll(".tile")].map((tile) => Math.round(tile.getBoundingClientRect().left))).size);
  for (let step = 0; step < 8; step += 1) await page.keyboard.press("ArrowDown");
  await until(page, (at) => document.activeElement.closest(".tile")?.getAttribute("aria-posinset") === String(at), 8 * columns + 1, "the arrows lead elsewhere");
  verdict.focusedAt = await focusedAt();

  // Who scrolls far away goes on from the same camera.
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await until(page, (last) => [...document.querySelectorAll(".tile")].some((t) => t.getAttribute("aria-posinset") === last), String(cameras), "the last camera is not there");
  check(await focusedAt() === verdict.focusedAt, `scrolling leads the focus to camera ${await focusedAt()}`);
  await page.keyboard.press("ArrowRight");
  await until(page, (at) => document.activeElement.closest(".tile")?.getAttribute("aria-posinset") === String(at), verdict.focusedAt + 1, "the arrow does not go on from there");

  await page.setViewportSize(PHONE);
  await page.evaluate(() => scrollTo(0, 0));
  await page.waitForTimeout(1500);
  const isWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  check(!isWide, "the page is wider than the phone");
  await photograph(page, `wall-${cameras}-phone`);
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(DESK);
  await page.waitForTimeout(1500);
  await photograph(page, `wall-${cameras}-light`);
}

/// Names are shown as they are, and do nothing.
async function hostile(page, names) {
  if (!names.length) return;
  await page.locator("#client").selectOption("hostile");
  await isFound(page, `${names.length} cameras`);
  await until(page, (n) => document.querySelectorAll(".tile.pictured, .tile.shown").length === n, names.length, "not all of them have pictures");
  await photograph(page, "wall-hostile");
  const shown = await page.locator(".tile .name").allTextContents();
  // What turns letters around is not obeyed but shown.
  const plain = (name) => name.replace(/\u202e/g, "\ufffd");
  check(JSON.stringify(shown.sort()) === JSON.stringify(names.map(plain).sort()), `the names are ${shown}`);
  for (const name of names) {
    await page.locator(".tile", { has: page.getByText(plain(name), { exact: true }) }).locator(".open").click();
    await until(page, (n) => document.getElementById("viewer-name").textContent === n, plain(name), `${name} is not opened`);
    check((await place(page)).device === name, `the address of ${name} is ${page.url()}`);
    await page.keyboard.press("Escape");
    await until(page, () => !document.getElementById("viewer").open, null, "it is not closed");
  }
  check(await page.evaluate(() => window.hacked === undefined), "a name was run");
  check(await page.locator(".tile img, .tile script").count() === 0, "a name became an element");
  await page.locator("#client").selectOption("");
}

/// Which frame was on screen at an instant, in ms since the first one.
function frameAt(millis) {
  const silence = IN_A_ROW * INTERVAL_MILLIS;
  return millis < silence
    ? Math.floor(millis / INTERVAL_MILLIS)
    : IN_A_ROW + Math.floor((millis - 2 * silence) / INTERVAL_MILLIS);
}

async function camera(page) {
  const start = args["start-millis"];
  const at = (secs) => new Date(start + secs * 1000);
  await page.goto(url);
  await until(page, () => document.querySelectorAll(".tile.shown").length === 4, null, "not all four play", 30);
  await page.waitForTimeout(2000);
  await photograph(page, "wall-4");
  await page.emulateMedia({ colorScheme: "light" });
  await photograph(page, "wall-4-light");
  await page.emulateMedia({ colorScheme: "dark" });

  await page.locator(".tile", { hasText: "camera 0000" }).locator(".open").click();
  await until(page, () => document.getElementById("viewer-video").readyState >= 2, null, "it does not play");
  await page.waitForTimeout(1500);
  await photograph(page, "camera");
  await page.setViewportSize(PHONE);
  await page.waitForTimeout(500);
  await photograph(page, "camera-phone");
  await page.setViewportSize(DESK);
  await page.keyboard.press("Escape");
  await until(page, () => !document.getElementById("viewer").open, null, "it is not closed");

  await page.locator(".tile", { hasText: "telling" }).locator(".open").click();
  await until(page, () => document.getElementById("viewer-timeline").dataset.gaps === "1", null, "the silence is not shown");
  await until(page, () => document.getElementById("viewer-live").getAttribute("aria-pressed") === "true", null, "it is not live");
  check(await players(page) === 0, "tiles play behind the camera");

  // Instants, on both sides of the silence: the right picture, by what is on it.
  verdict.instants = [];
  for (const secs of [32.5, 171, 298, 602.5, 777.7]) {
    await jump(page, at(secs));
    const shown = await settled(page);
    const expected = frameAt(shown.date - start);
    verdict.instants.push({ secs, frame: shown.frame, expected });
    check(shown.frame === expected, `${secs} s shows frame ${shown.frame}, not ${expected}`);
    check(Math.abs(shown.date - at(secs)) < 2500, `${secs} s leads to ${new Date(shown.date).toISOString()}`);
  }
  const told = Date.parse((await place(page)).at);
  check(Math.abs(told - at(777.7)) < 5000, "the address does not say the instant");

  // In the silence: what comes next, and a word about it.
  await jump(page, at(450));
  check(/No picture/.test(await page.locator("#viewer-message").innerText()), "the silence is not told");
  const after = await settled(page);
  check(after.frame === IN_A_ROW, `behind the silence comes frame ${after.frame}`);

  // Dragging and keys.
  await page.locator("#viewer-scrub").focus();
  const box = await page.locator("#viewer-scrub").boundingBox();
  await page.mouse.click(box.x + box.width * 0.1, box.y + box.height / 2);
  await page.waitForTimeout(700);
  const dragged = await settled(page);
  check(dragged.frame === frameAt(dragged.date - start), `the time line leads to frame ${dragged.frame}`);
  check(Math.abs(dragged.date - at(90)) < 15_000, "the time line leads elsewhere");
  await page.keyboard.press("ArrowRight");
  await page.waitForTimeout(700);
  const on = await settled(page);
  check(Math.abs(on.date - dragged.date - 10_000) < 2500, "an arrow is not ten seconds");
  check(await page.locator("#viewer-live").getAttribute("aria-pressed") === "false", "it is said to be live");
  verdict.still = await still(page);
  verdict.clip = await clip(page, at);
  await photograph(page, "camera-clip");
  await page.locator("#viewer-clip").click();
  await archive(page, start);
  await page.locator("#viewer-name").click();
  await page.keyboard.press("l");
  await until(page, () => document.getElementById("viewer-live").getAttribute("aria-pressed") === "true", null, "L does not lead to live");
  await page.waitForTimeout(500);
  check(!(await place(page)).at, "the address still says an instant");

  // A link leads to the instant.
  const link = `${url}#client=north&device=telling&at=${encodeURIComponent(at(200).toISOString())}`;
  await page.goto("about:blank");
  await page.goto(link);
  await until(page, () => document.getElementById("viewer-timeline").dataset.gaps === "1", null, "the link opens no camera");
  const linked = await settled(page);
  check(linked.frame === frameAt(linked.date - start) && Math.abs(linked.date - at(200)) < 4000, `the link leads to frame ${linked.frame}`);
  await page.goBack();
}

async function jump(page, date) {
  const local = await page.evaluate((at) => {
    const day = new Date(at);
    return new Date(at - day.getTimezoneOffset() * 60_000).toISOString().slice(0, 23);
  }, date.getTime());
  await page.locator("#viewer-jump-at").evaluate((field, value) => { field.step = "any"; field.value = value; }, local);
  await page.locator("#viewer-jump button").click();
  await page.waitForTimeout(400);
}

/// Stops the picture and says which one it is, and of which instant by the page's own reckoning.
async function settled(page) {
  await until(page, () => {
    const video = document.getElementById("viewer-video");
    return !video.seeking && video.readyState >= 3;
  }, null, "the picture does not come");
  await page.locator("#viewer-video").evaluate((video) => video.pause());
  await page.waitForTimeout(600);
  // The time line shows all of it, from the first frame on.
  const secs = await page.locator("#viewer-scrub").evaluate((scrub) => Number(scrub.value));
  const result = { frame: await frameShown(page), date: args["start-millis"] + secs * 1000 };
  await page.locator("#viewer-video").evaluate((video) => video.play());
  return result;
}

async function still(page) {
  await page.locator("#viewer-video").evaluate((video) => video.pause());
  await page.waitForTimeout(400);
  const frame = await frameShown(page);
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#viewer-still").click()]);
  check(/^telling_.*\.jpg$/.test(download.suggestedFilename()), download.suggestedFilename());
  return { frame, sha256: sha256(await readFile(await download.path())) };
}

async function clip(page, at) {
  await page.locator("#viewer-clip").click();
  const set = async (end, secs) => {
    const local = await page.evaluate((ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 19), at(secs).getTime());
    await page.locator(`#viewer-clip-${end}`).fill(local);
  };
  await set("from", 0);
  await set("to", 899);
  const note = page.locator("#viewer-clip-note");
  check(/at most 10 min/.test(await note.innerText()), `too long, and it says: ${await note.innerText()}`);
  check(await page.locator("#viewer-clip-go").isDisabled(), "what is too long can be asked for");
  await set("from", 60);
  await set("to", 90);
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#viewer-clip-go").click()]);
  const bytes = await readFile(await download.path());
  const query = new URLSearchParams({ from: at(60).toISOString(), to: at(90).toISOString() });
  const direct = await fetch(new URL(`/client_ids/north/device_id/telling/clip.mp4?${query}`, url));
  check(sha256(bytes) === sha256(Buffer.from(await direct.arrayBuffer())), "the clip is another one");
  check(/^telling_.*\.mp4$/.test(download.suggestedFilename()), download.suggestedFilename());
  await until(page, () => document.getElementById("viewer-clip-note").textContent === "Saved.", null, "it is not said to be saved");
  return { bytes: bytes.length };
}

async function archive(page, start) {
  await until(page, () => document.querySelectorAll("#viewer-archives button").length === 1, null, "the archive is not listed");
  await page.locator("#viewer-archives button").click();
  await until(page, () => document.getElementById("viewer-timeline").dataset.gaps === "0", null, "the archive has a gap");
  const shown = await settled(page);
  check(shown.frame === frameAt(shown.date - start), `the archive shows frame ${shown.frame}`);
  await page.waitForTimeout(500);
  check((await place(page)).archive, "the address does not say the archive");
  await photograph(page, "archive");
  await page.locator("#viewer-stream").click();
  await until(page, () => document.getElementById("viewer-timeline").dataset.gaps === "1", null, "there is no way back to the stream");
}

async function login(page) {
  await page.goto(url);
  await until(page, () => document.getElementById("login").open, null, "nobody is asked for a token");
  await photograph(page, "login");
  await page.keyboard.press("Escape");
  check(await page.locator("#login").evaluate((dialog) => dialog.open), "the login can be left");
  await page.keyboard.type("not-a-token-that-is-known");
  await page.keyboard.press("Enter");
  await until(page, () => /not known/.test(document.getElementById("login-reason").textContent), null, "a wrong token is not told");
  await page.locator("#login-token").fill(args.token);
  await page.keyboard.press("Enter");
  await until(page, () => document.querySelectorAll(".tile.shown").length === 4, null, "not all four play", 30);
  const kept = await page.evaluate(() => [Object.keys(localStorage).length, document.cookie, Object.values(sessionStorage).length]);
  check(JSON.stringify(kept) === '[0,"",1]', `the token is kept in ${JSON.stringify(kept)}`);
  await page.locator(".tile", { hasText: "telling" }).locator(".open").click();
  await until(page, () => document.getElementById("viewer-video").readyState >= 2, null, "it does not play");
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#viewer-still").click()]);
  check((await readFile(await download.path())).length > 100, "no still with a token");
  await page.keyboard.press("Escape");
  await until(page, () => !location.hash, null, "the address still says the camera");
  await page.reload();
  await until(page, () => document.querySelectorAll(".tile.shown").length === 4, null, "a reload loses the token", 30);
  await page.locator("#leave").click();
  await until(page, () => document.getElementById("login").open, null, "the token cannot be forgotten");
}

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}
