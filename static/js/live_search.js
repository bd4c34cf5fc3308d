// A list follows what is typed into its search and what is chosen in its filters: the results of the same address are loaded, and
// their number is announced.
// A download beside it takes the same filters. Where the results cannot be loaded, a sentence is announced and shown beside the
// field; where the session has ended, the page itself is loaded, which leads to the log-in and back to the same results.
import { all, announce, load, one, swap, text } from "./dom.js";

const PAUSE_MS = 350;
const FOLLOWED = "input[type=search], input[type=date], select";

const follow = (form) => {
  let timer = 0;
  let latest = 0;
  let pushed = false;
  let shown = location.search;
  const field = one(FOLLOWED, form);
  const problem = document.createElement("p");
  problem.className = "field-error search-problem";
  problem.id = `${field.id}-problem`;
  const explain = (words) => {
    problem.textContent = words;
    if (words) {
      if (!problem.isConnected) form.append(problem);
      field.setAttribute("aria-describedby", problem.id);
      announce(words);
    } else if (problem.isConnected) {
      problem.remove();
      field.removeAttribute("aria-describedby");
    }
  };
  const addressOf = () => {
    const query = new URLSearchParams(new FormData(form));
    [...query.keys()].forEach((name) => { if (!query.get(name)) query.delete(name); });
    return `${form.getAttribute("action")}${query.size ? `?${query}` : ""}`;
  };
  const show = (url) => {
    const number = ++latest;
    return load(url).then((answer) => {
      const fresh = one("#results", answer);
      if (number !== latest) return;
      if (!fresh) { location.assign(url); return; } // the log-in, in the place of the list
      explain("");
      const words = fresh.dataset.announce;
      swap(one("#results"), fresh);
      all("form[data-follows-search]").forEach((download) => {
        download.setAttribute("action", download.getAttribute("action").split("?")[0] + new URL(url, location.href).search);
      });
      if (words) announce(words);
    }, (error) => {
      if (number === latest) explain(text(error.message === "429" ? "busy" : "unsearched"));
      throw error;
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
    if (!event.target.matches(FOLLOWED)) return;
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE_MS);
  });
  form.addEventListener("submit", () => { clearTimeout(timer); latest += 1; });
  addEventListener("popstate", () => {
    if (location.search === shown) return; // a link to a place in the page
    pushed = false;
    shown = location.search;
    const query = new URLSearchParams(shown);
    all(FOLLOWED, form).forEach((one) => {
      const value = query.get(one.name);
      if (value === null && one.matches("select")) one.selectedIndex = 0;
      else one.value = value || "";
    });
    show(location.href).catch(() => location.reload());
  });
};
all("form[data-live-search]").forEach(follow);
