// Keeps distances from now right: "2 minutes ago" becomes "3 minutes ago", in the words and units of the portal.
import { all } from "./dom.js";

const EVERY_MS = 5000;
const JUST_NOW_S = 5;
const UNITS = [[60, 1, "second"], [3600, 60, "minute"], [86400, 3600, "hour"], [Infinity, 86400, "day"]];

const show = (words) => all("time[data-ago]").forEach((time) => {
  const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
  const [, length, unit] = UNITS.find(([bound]) => Math.abs(seconds) < bound);
  const text = Math.abs(seconds) < JUST_NOW_S ? time.dataset.ago : words.format(Math.trunc(seconds / length), unit);
  if (time.textContent !== text) time.textContent = text;
});

if (window.Intl?.RelativeTimeFormat) {
  const words = new Intl.RelativeTimeFormat(document.documentElement.lang);
  setInterval(() => { if (!document.hidden) show(words); }, EVERY_MS);
}
