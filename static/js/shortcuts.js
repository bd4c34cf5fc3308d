// Keyboard shortcuts, unless the person has switched them off: "/" searches, "g" and a letter open a page, "?" lists all keys.
// Keys in fields, with Ctrl, Alt or Meta, and in a dialogue keep their meaning.
import { load, one } from "./dom.js";

const WAIT_MS = 1500;
const FIELDS = "input, select, textarea, [contenteditable], dialog, iframe";
let went = 0;
let isOpening = false;

const search = () => {
  const field = one("main input[type=search]");
  if (!field) return false;
  field.focus();
  field.select();
  return true;
};

const help = () => {
  if (isOpening) return;
  isOpening = true;
  const url = document.body.dataset.shortcuts;
  load(url).then((answer) => {
    isOpening = false;
    if (!one(".shortcuts", answer)) { location.href = url; return; } // of a log-in that has ended
    const dialog = document.createElement("dialog");
    const heading = one("main h1", answer);
    const form = document.createElement("form");
    const close = document.createElement("button");
    heading.id = "shortcuts-heading";
    dialog.setAttribute("aria-labelledby", heading.id);
    dialog.className = "dialog sheet";
    form.method = "dialog";
    close.className = "button button-secondary";
    close.textContent = one(".shortcuts", answer).dataset.close;
    form.append(close);
    dialog.append(document.adoptNode(heading), document.adoptNode(one(".shortcuts", answer)), form);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }, () => { location.href = url; });
};

if (document.body.dataset.shortcuts) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.repeat) return;
    if (event.target.closest?.(FIELDS) || one("dialog[open]")) return;
    const isSecond = Date.now() - went < WAIT_MS;
    went = event.key === "g" && !isSecond ? Date.now() : 0;
    if (event.key === "g" && !isSecond) return;
    const link = isSecond && /^[a-z]$/.test(event.key) ? one(`[data-shortcut="${event.key}"]`) : null;
    if (link) location.href = link.href;
    else if (event.key === "?") help();
    else if (event.key !== "/" || !search()) return;
    event.preventDefault();
  });
}
