// The box above a list ticks every row of its form, and the number of ticked ones is shown beside it.
import { all, one } from "./dom.js";

const boxesOf = (form) => all(".tick input[type=checkbox]", form);

const show = (form) => {
  const box = one("[data-tick-all]", form);
  if (!box) return;
  const boxes = boxesOf(form);
  const number = boxes.filter((each) => each.checked).length;
  box.checked = number > 0 && number === boxes.length;
  box.indeterminate = number > 0 && number < boxes.length;
  const words = one("[data-ticked]", form);
  words.textContent = number ? words.dataset.ticked.replace("#", number) : "";
};

document.addEventListener("change", (event) => {
  const { form } = event.target;
  if (!form) return;
  if (event.target.matches("[data-tick-all]")) boxesOf(form).forEach((each) => { each.checked = event.target.checked; });
  show(form);
});

// A browser restores ticks when it goes back.
addEventListener("pageshow", () => all("form:has([data-tick-all])").forEach(show));
