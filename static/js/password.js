// Shows and hides a password. Delegated, so that buttons which were swapped in work too.
import { all, text } from "./dom.js";

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-toggle-password]");
  if (!button) return;
  const input = document.getElementById(button.dataset.togglePassword);
  const show = input.type === "password";
  input.type = show ? "text" : "password";
  button.firstChild.nodeValue = text(show ? "hide" : "show");
});

// A password never leaves the page as visible text: browsers remember the values of text inputs.
document.addEventListener("submit", (event) => {
  all("[data-toggle-password]", event.target).forEach((button) => {
    document.getElementById(button.dataset.togglePassword).type = "password";
  });
});
