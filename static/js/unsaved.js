// A form with data-unsaved: leaving the page by another form, a link or the window asks first while something typed is not sent.
// data-unsaved="typed" states that the portal has shown a refused form again, whose values are not saved either.
import { all, isChanged, FIELDS } from "./dom.js";

let isSent = false;
const holdsUnsaved = (form) => form.dataset.unsaved === "typed" || all(FIELDS, form).some(isChanged);

document.addEventListener("submit", (event) => { isSent = event.target.matches("[data-unsaved]"); });
addEventListener("pageshow", () => { isSent = false; });
addEventListener("beforeunload", (event) => {
  if (!isSent && all("form[data-unsaved]").some(holdsUnsaved)) event.preventDefault();
});
