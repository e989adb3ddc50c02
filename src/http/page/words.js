// How times, lengths and sizes are said to a person. Pure.

/// The time of day, in the viewer's zone.
export function clock(date) {
  return new Date(date).toLocaleTimeString([], { hour12: false });
}

/// Day and time of day; the day is left out when it is today.
export function dateTime(date) {
  const day = new Date(date);
  const isToday = day.toDateString() === new Date().toDateString();
  return isToday ? clock(date) : `${day.toLocaleDateString()} ${clock(date)}`;
}

/// About how long: for what changes all the time.
export function ago(secs) {
  const whole = Math.max(0, Math.round(secs));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.round(whole / 60)} min`;
  if (whole < 172_800) return `${Math.round(whole / 3600)} h`;
  return `${Math.round(whole / 86_400)} days`;
}

/// How long, to the second where that matters.
export function length(secs) {
  const whole = Math.max(0, Math.round(secs));
  const [days, hours] = [Math.floor(whole / 86_400), Math.floor((whole % 86_400) / 3600)];
  const minutes = Math.floor((whole % 3600) / 60);
  if (days) return `${days} d ${hours} h`;
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  if (!minutes) return `${whole} s`;
  return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
}

/// A size in bytes.
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/// A name as it is shown: what would turn letters around or hide them stands out instead, so
/// that no camera looks like another.
export function plain(name) {
  return name.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");
}

/// A number, grouped as the viewer is used to.
export function number(value) {
  return value.toLocaleString();
}

/// An instant as a field of type datetime-local takes it: the viewer's zone, to the second.
export function toField(date) {
  const local = new Date(date - new Date(date).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

/// The instant of such a field in ms since 1970; null when it is empty.
export function fromField(text) {
  const date = text ? new Date(text).getTime() : NaN;
  return Number.isFinite(date) ? date : null;
}

/// The name of the viewer's zone.
export function zone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone ?? "local time";
}
