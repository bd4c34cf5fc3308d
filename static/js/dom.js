// Helpers that the other modules share: selecting, announcing, loading and replacing parts of a page.
// Text is never turned into markup: fragments come as documents through XMLHttpRequest, so that the page can require
// Trusted Types and grant no policy.
export const one = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

export const FIELDS = "input, select, textarea";

/** Returns whether a field holds something else than the portal has sent. */
export const isChanged = (field) => (field.matches("select")
  ? field.selectedIndex !== Math.max(0, [...field.options].findIndex((option) => option.defaultSelected))
  : field.matches("[type=radio], [type=checkbox]") ? field.checked !== field.defaultChecked : field.value !== field.defaultValue);

/** Returns a text of the scripts in the language of the page, which layouts/base.html has. */
export const text = (name) => one("#announcer").dataset[name];

/** Announces a text to screen readers. */
export const announce = (words) => { one("#announcer").textContent = words; };

const request = (method, url, body) => new Promise((resolve, reject) => {
  const call = new XMLHttpRequest();
  call.open(method, url);
  call.responseType = "document";
  call.timeout = 10000;
  call.setRequestHeader("X-Requested-With", "fetch");
  call.onload = () => (call.status === 200 && call.response ? resolve(call.response) : reject(new Error(call.status)));
  call.onerror = call.ontimeout = () => reject(new Error("unreachable"));
  call.send(body);
});

/** Loads a page or fragment as an inert document; rejects where there is none or it cannot be reached. */
export const load = (url) => request("GET", url);

/** Posts a form, or data of its own, and loads the answer as an inert document. */
export const post = (url, form) => request("POST", url, form instanceof FormData ? form : new FormData(form));

// The markup of an element without what counts by itself, so that a counter alone is no change.
const markup = (element) => {
  const copy = element.cloneNode(true);
  all("[data-counter], [data-ago]", copy).forEach((counter) => { counter.textContent = ""; });
  return copy.outerHTML;
};

/** Replaces an element: opened <details> stay open and the focus stays. Returns whether anything changed. */
export const swap = (old, fresh) => {
  if (!old || !fresh || markup(old) === markup(fresh)) return false;
  const opened = all("details[open][id]", old).map((details) => details.id);
  const inside = old.contains(document.activeElement) ? document.activeElement : null;
  const selector = inside && (inside.id ? `#${CSS.escape(inside.id)}`
    : inside.matches("summary") && inside.parentElement.id ? `#${CSS.escape(inside.parentElement.id)} > summary`
    : inside.hasAttribute("href") ? `[href="${CSS.escape(inside.getAttribute("href"))}"]` : null);
  const placed = document.adoptNode(fresh);
  opened.forEach((id) => { const details = one(`#${CSS.escape(id)}`, placed); if (details) details.open = true; });
  old.replaceWith(placed);
  const target = inside && ((selector && one(selector, placed)) || placed);
  if (target) {
    if (target === placed) placed.tabIndex = -1;
    target.focus({ preventScroll: true });
  }
  return true;
};
