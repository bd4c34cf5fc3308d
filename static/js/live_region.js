// Live regions: an element with data-live="on" is loaded again after 150 ms, more slowly while nothing changes. Any other value
// of data-live ends it.
import { all, announce, FIELDS, isChanged, load, post, swap, text as textOf } from "./dom.js";

const FIRST_MS = 150;
const SLOWEST_MS = 3000;

// A part in which a field has the focus or was changed is not replaced, so that nothing typed is lost.
const isInUse = (part) => Boolean(part)
  && all(FIELDS, part).some((field) => field === document.activeElement || isChanged(field));

const follow = (id) => {
  let pause = FIRST_MS;
  let announced = "";
  const later = () => setTimeout(refresh, pause);
  const refresh = () => {
    const region = document.getElementById(id);
    if (!region || region.dataset.live !== "on") return;
    if (document.hidden) { document.addEventListener("visibilitychange", refresh, { once: true }); return; }
    load(region.dataset.liveUrl).then((answer) => {
      const fresh = answer.getElementById(id);
      if (!fresh) { announce(textOf("lost")); return; }
      const parts = all("[data-live-part][id]", answer).filter((part) => !fresh.contains(part));
      const text = fresh.dataset.announce;
      const changed = swap(region, fresh);
      parts.forEach((part) => {
        const shown = document.getElementById(part.id);
        if (shown?.matches("[data-live-part]") && !isInUse(shown)) swap(shown, part);
      });
      if (text && text !== announced) { announced = text; announce(text); }
      pause = changed ? FIRST_MS : Math.min(pause * 1.5, SLOWEST_MS);
      later();
    }, () => { pause = Math.min(pause * 2, SLOWEST_MS); later(); });
  };
  later();
};

all('[data-live="on"][data-live-url][id]').forEach((region) => follow(region.id));

// A form that changes what a live region shows is sent without leaving the page.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-in-place]")) return;
  event.preventDefault();
  post(event.target.action, event.target).catch(() => event.target.submit());
});

// Counts the seconds between two states that the portal sent.
setInterval(() => all("[data-counter]").forEach((shown) => { shown.textContent = String(Number(shown.textContent) + 1); }), 1000);
