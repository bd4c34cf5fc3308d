// The editor of an email: a click inserts a variable at the cursor, and the preview follows the text.
import { all, one, post, swap } from "./dom.js";

const PAUSE_MS = 400;

let lastField = one("[data-insert]");
document.addEventListener("focusin", (event) => { if (event.target.matches("[data-insert]")) lastField = event.target; });
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-insert-variable]");
  if (!button || !lastField) return;
  lastField.setRangeText(button.dataset.insertVariable, lastField.selectionStart, lastField.selectionEnd, "end");
  lastField.focus();
  lastField.dispatchEvent(new Event("input", { bubbles: true }));
});

// Signs of Markdown: around the selected words, or at the beginning of each selected line.
const AROUND = { bold: ["**", "**"], italic: ["*", "*"], link: ["[", "](https://)"], button: ["[", "](https:// \"button\")"] };
const BEFORE_LINES = { heading: "# ", list: "- " };
document.addEventListener("click", (event) => {
  const sign = event.target.closest("[data-markdown]")?.dataset.markdown;
  const field = one("textarea[name=markdown]");
  if (!sign || !field) return;
  const { value } = field;
  let start = field.selectionStart;
  const end = field.selectionEnd;
  if (BEFORE_LINES[sign]) {
    start = value.lastIndexOf("\n", start - 1) + 1;
    const lines = value.slice(start, end).split("\n");
    field.setRangeText(lines.map((line) => BEFORE_LINES[sign] + line).join("\n"), start, end, "end");
  } else {
    const [before, after] = AROUND[sign];
    field.setRangeText(before + value.slice(start, end) + after, start, end, "preserve");
    field.setSelectionRange(start + before.length, end + before.length);
  }
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
});

const livePreview = (form) => {
  let timer = 0;
  let latest = 0;
  const show = () => {
    const number = ++latest;
    post(form.dataset.livePreview, form).then((answer) => {
      if (number !== latest) return;
      all("[data-preview-part][id]", answer).forEach((fresh) => {
        // An unfinished placeholder does not empty the preview: the last valid mail stays beside the reason.
        if (fresh.matches("iframe") && !fresh.hasAttribute("src")) return;
        if (fresh.matches("pre") && !fresh.textContent) return;
        swap(document.getElementById(fresh.id), fresh);
      });
    }, () => {});
  };
  const later = () => { clearTimeout(timer); timer = setTimeout(show, PAUSE_MS); };
  form.addEventListener("input", later);
  document.addEventListener("change", (event) => { if (event.target.form === form && event.target.matches("select")) later(); });
  form.addEventListener("submit", () => { clearTimeout(timer); latest += 1; });
};
all("form[data-live-preview]").forEach(livePreview);
