// Shows the From line that results from the form.
import { all, one } from "./dom.js";

const showFrom = (preview) => {
  const form = preview.closest("form") || one("form:has([name=wrapped_user])");
  const value = (name) => (form.elements.namedItem(name)?.value || "").trim();
  const domain = value("domain").replace(/^@/, "") || value("username").split("@")[1];
  const mailbox = domain ? `${value("wrapped_user") || preview.dataset.fromDefault || "info"}@${domain}` : "";
  preview.textContent = !mailbox ? preview.dataset.fromEmpty || "" : value("from_name") ? `${value("from_name")} <${mailbox}>` : mailbox;
};

const showAll = () => all("[data-from-preview]").forEach(showFrom);
document.addEventListener("input", showAll);
document.addEventListener("signet:fields-changed", showAll);
showAll();
