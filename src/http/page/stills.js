// Pictures for the cameras on screen that do not play: the newest frame, fetched gently.

/// Pictures that are fetched at the same time.
const AT_ONCE = 4;
/// How long a picture stays before a newer one is fetched.
const REFRESH_MS = 30_000;
/// After a picture that was not to be had.
const AGAIN_MS = 60_000;
/// No tile is wider: a frame in full would take megabytes of memory for each.
const MOST_PIXELS = 640;

let underWay = 0;
let waiting = [];

/// Fetches for `tiles`, in their order, as far as there is room: those without a picture first.
/// The others follow as there is, or are forgotten when it is asked again.
export function fetchStills(tiles) {
  const now = performance.now();
  waiting = tiles.filter(({ device, still }) => device.lastFrameAt && !still.isLoading
    && still.frame !== device.lastFrameAt && now >= still.dueAt);
  waiting.sort((a, b) => Number(a.still.frame !== null) - Number(b.still.frame !== null));
  next();
}

function next() {
  while (underWay < AT_ONCE && waiting.length) load(waiting.shift());
}

/// What a tile knows of its still.
export function noStill() {
  return { frame: null, dueAt: 0, isLoading: false };
}

function load(tile) {
  const { device, still } = tile;
  const frame = device.lastFrameAt;
  const image = new Image();
  const done = (isThere) => {
    underWay -= 1;
    still.isLoading = false;
    still.dueAt = performance.now() + (isThere ? REFRESH_MS : AGAIN_MS);
    if (isThere) {
      still.frame = frame;
      draw(tile.canvas, image, image.naturalWidth, image.naturalHeight);
      tile.root.classList.add("pictured");
    }
    next();
  };
  underWay += 1;
  still.isLoading = true;
  image.onload = () => done(image.naturalWidth > 0);
  image.onerror = () => done(false);
  // An image cannot send a token: the link in front of the path does.
  image.src = `${device.link}${device.path}/still.jpg?at=${encodeURIComponent(frame)}&missing=empty`;
}

/// Draws a picture, or what a player shows, small enough to keep.
export function draw(canvas, source, width, height) {
  if (!width || !height) return;
  const scale = Math.min(1, MOST_PIXELS / width);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
}
