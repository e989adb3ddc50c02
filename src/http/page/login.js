// Asks for a token, when the server does. It is kept for this tab only.

import { forgetToken, keepToken, token } from "./api.js";

const dialog = document.getElementById("login");
const form = document.getElementById("login-form");
const field = document.getElementById("login-token");
const reason = document.getElementById("login-reason");
const leave = document.getElementById("leave");

let waiting = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const value = field.value.trim();
  if (!value) return;
  keepToken(value);
  field.value = "";
  leave.hidden = false;
  dialog.close();
  waiting?.();
  waiting = null;
});
// There is nothing to see behind it.
dialog.addEventListener("cancel", (event) => event.preventDefault());
leave.addEventListener("click", () => {
  forgetToken();
  location.reload();
});

/// Resolves when the viewer has given a token; whether it opens anything is not known by then.
export function askForToken(why) {
  forgetToken();
  leave.hidden = true;
  reason.textContent = why;
  if (!dialog.open) dialog.showModal();
  field.focus();
  return new Promise((done) => { waiting = done; });
}

/// To be called once, when the page is opened.
export function showWhetherIn() {
  leave.hidden = token() === null;
}
