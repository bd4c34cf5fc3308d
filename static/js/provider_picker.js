// A chosen provider fills the fields that are still empty or hold its predecessor's value, and brings its own hints.
import { all, announce, one, post, swap, text } from "./dom.js";

const labelOf = (field) => (field.closest("fieldset.field-radio")?.querySelector("legend") || field.labels[0]).firstChild.nodeValue.trim();

// Fills one field from a data-fill-* attribute; returns its label where something was filled in.
const fill = (form, name, value, withPort) => {
  const field = form.elements.namedItem(name.slice("data-fill-".length).replaceAll("-", "_"));
  if (!field) return "";
  const first = field instanceof RadioNodeList ? [...field].find((part) => part.matches("input")) : field;
  const isCheckbox = first.type === "checkbox";
  const present = isCheckbox ? String(first.checked) : field.value;
  // Radios are never empty, so the encryption follows the port, unless it is to be detected.
  const free = present === "" || first.dataset.suggested === present
    || (name === "data-fill-security" && withPort && present !== "detect");
  if (present === value || !free) return "";
  if (isCheckbox) first.checked = value === "true"; else field.value = value;
  first.dataset.suggested = isCheckbox ? String(first.checked) : field.value;
  return value ? labelOf(first) : "";
};

const choose = (select) => {
  const form = select.form;
  const port = form.elements.namedItem("port");
  const withPort = Boolean(port) && (port.value === "" || port.dataset.suggested === port.value);
  const filled = [...select.selectedOptions[0].attributes]
    .filter(({ name }) => name.startsWith("data-fill-"))
    .map(({ name, value }) => fill(form, name, value, withPort))
    .filter(Boolean);
  const status = document.getElementById(select.dataset.providerStatus);
  if (status) status.textContent = filled.length ? text("filled").replace("#", filled.join(", ")) : text("unfilled");
  document.dispatchEvent(new Event("signet:fields-changed"));
  loadHints(select);
};

// Loads the hints for the present entries. The password is not sent.
const SENT = ["csrf_token", "provider", "host", "port", "security", "username", "domain", "wrapped_user", "mechanism", "based_on"];
let latest = 0;
const loadHints = (select) => {
  if (!select.dataset.providerUrl) return;
  const number = ++latest;
  const url = new URL(select.dataset.providerUrl, location.href);
  url.searchParams.set("provider", select.value);
  const body = new FormData();
  SENT.forEach((name) => body.set(name, select.form.elements.namedItem(name)?.value || ""));
  post(url.href, body).then((answer) => all("[data-hint-for]", answer).forEach((fresh) => {
    if (number === latest) swap(one(`[data-hint-for="${CSS.escape(fresh.dataset.hintFor)}"]`, select.form), fresh);
  }), () => {});
};

// Takes the values of a button over into the form, which keeps all other entries.
const useValues = (button) => {
  const form = button.form;
  new URLSearchParams(button.value).forEach((value, name) => { form.elements.namedItem(name).value = value; });
  const select = one("[data-provider-url]", form);
  all("#change-password", form).forEach((details) => { details.open = true; });
  document.dispatchEvent(new Event("signet:fields-changed"));
  announce(text("unsaved"));
  loadHints(select);
  form.elements.namedItem("host").focus();
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-use-values]");
  if (!button) return;
  event.preventDefault();
  useValues(button);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-provider-status], [data-provider-url]")) choose(event.target);
  if (event.target.matches("[data-refresh-hints]")) loadHints(one("[data-provider-url]", event.target.form));
});

// A provider that was chosen while this module was still loading caused no event here.
const isChanged = (select) => select.selectedIndex !== Math.max(0, [...select.options].findIndex((option) => option.defaultSelected));
all("select[data-provider-status], select[data-provider-url]").filter(isChanged).forEach(choose);
