// A list follows what is typed into its search: the results of the same address are loaded, and their number is announced.
// A download beside it takes the same filters.
import { all, announce, load, one, swap } from "./dom.js";

const PAUSE_MS = 350;

const follow = (form) => {
  let timer = 0;
  let latest = 0;
  let pushed = false;
  let shown = location.search;
  const addressOf = () => {
    const query = new URLSearchParams(new FormData(form));
    [...query.keys()].forEach((name) => { if (!query.get(name)) query.delete(name); });
    return `${form.getAttribute("action")}${query.size ? `?${query}` : ""}`;
  };
  const show = (url) => {
    const number = ++latest;
    return load(url).then((answer) => {
      const fresh = one("#results", answer);
      if (number !== latest || !fresh) return;
      const text = fresh.dataset.announce;
      swap(one("#results"), fresh);
      all("form[data-follows-search]").forEach((download) => {
        download.setAttribute("action", download.getAttribute("action").split("?")[0] + new URL(url, location.href).search);
      });
      if (text) announce(text);
    });
  };
  const search = () => {
    const url = addressOf();
    show(url).then(() => {
      history[pushed ? "replaceState" : "pushState"](null, "", url);
      pushed = true;
      shown = location.search;
    }, () => {});
  };
  form.addEventListener("input", (event) => {
    if (!event.target.matches("input[type=search]")) return;
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE_MS);
  });
  form.addEventListener("submit", () => { clearTimeout(timer); latest += 1; });
  addEventListener("popstate", () => {
    if (location.search === shown) return; // a link to a place in the page
    pushed = false;
    shown = location.search;
    const query = new URLSearchParams(shown);
    all("input[type=search], input[type=date], select", form).forEach((field) => {
      const value = query.get(field.name);
      if (value === null && field.matches("select")) field.selectedIndex = 0;
      else field.value = value || "";
    });
    show(location.href).catch(() => location.reload());
  });
};
all("form[data-live-search]").forEach(follow);
