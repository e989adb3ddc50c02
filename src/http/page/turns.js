// Which cameras may play: never more than so many at once, whatever is on screen. Pure.

/// Players at once. A browser has about sixteen video decoders, and a machine so much patience.
export const MOST_PLAYERS = 12;

/// The keys that may play, of those `visible` (in the order on screen). `wanted` comes first:
/// what a viewer points at. Who plays already stays, so that nothing flickers while others come.
export function turns(visible, playing, wanted, most = MOST_PLAYERS) {
  const chosen = new Set();
  const take = (key) => { if (chosen.size < most) chosen.add(key); };
  if (wanted !== null && visible.includes(wanted)) take(wanted);
  visible.filter((key) => playing.has(key)).forEach(take);
  visible.forEach(take);
  return chosen;
}
