// Asks the server, with the token if there is one, and says in plain words why it refuses.

const KEY = "stream-processor-token";

/// Why there is no answer. `kind`: token, foreign, link, missing, busy, refused or away.
export class Trouble extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/// The token of this tab. It is nowhere else, and gone when the tab is closed.
export function token() {
  return sessionStorage.getItem(KEY);
}

export function keepToken(value) {
  sessionStorage.setItem(KEY, value);
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
}

/// What a request needs to be let in.
export function authorization() {
  const value = token();
  return value ? { Authorization: `Bearer ${value}` } : {};
}

/// The answer to a GET of `path`; rejects with a `Trouble` when there is none. Aborting `signal`
/// rejects as fetch does.
export async function ask(path, signal) {
  let answer;
  try {
    answer = await fetch(path, { headers: authorization(), cache: "no-store", signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Trouble("away", "The server does not answer. Trying again…");
  }
  if (answer.ok) return answer;
  throw await refusal(answer);
}

export async function askJson(path, params = {}, signal = undefined) {
  const query = new URLSearchParams(params).toString();
  return (await ask(query ? `${path}?${query}` : path, signal)).json();
}

async function refusal(answer) {
  const text = (await answer.text().catch(() => "")).trim();
  const reason = text ? text[0].toUpperCase() + text.slice(1) : `The server answers ${answer.status}`;
  switch (answer.status) {
    case 401:
      return new Trouble("token", token()
        ? "This token is not known, or it has expired."
        : "A token is needed to see these cameras.");
    case 403:
      return new Trouble("link", "This link does not open the camera: it has expired, or was made for another.");
    case 404:
      return new Trouble("missing", `${reason}.`);
    case 503:
      return new Trouble("busy", `${reason}.`);
    default:
      return new Trouble("refused", `${reason}.`);
  }
}
