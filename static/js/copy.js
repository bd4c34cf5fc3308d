// Copies a value to the clipboard; without access to it, selects the value.
import { announce, text as textOf } from "./dom.js";

const DONE_MS = 2500;

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const text = source.dataset.value || source.textContent.trim();
  const done = () => {
    const label = button.dataset.label ||= button.firstChild.nodeValue;
    button.classList.add("is-done");
    button.firstChild.nodeValue = textOf("copied");
    announce(textOf("copied"));
    setTimeout(() => { button.classList.remove("is-done"); button.firstChild.nodeValue = label; }, DONE_MS);
  };
  const select = () => {
    source.textContent = text;
    delete source.dataset.value;
    getSelection().selectAllChildren(source);
    announce(textOf("selected"));
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select); else select();
});
