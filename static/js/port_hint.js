// Warns beside a port that does not fit the chosen encryption.
import { all, one } from "./dom.js";

const IMPLICIT_TLS = { 465: true, 2465: true, 25: false, 587: false, 2525: false, 2587: false };
const isImplicit = (partner) => (partner.type === "checkbox" ? partner.checked : /implicit/i.test(partner.value));

const showHint = (port) => {
  const partner = port.form.elements.namedItem(port.dataset.couples);
  const hint = one(`[data-couple-hint="${CSS.escape(port.id)}"]`);
  if (!partner || !hint) return;
  const wanted = IMPLICIT_TLS[port.value.trim()];
  hint.textContent = wanted === undefined || wanted === isImplicit(partner) ? "" : hint.dataset[wanted ? "implicit" : "starttls"];
};

const showAll = () => all("[data-couples]").forEach(showHint);
document.addEventListener("input", showAll);
document.addEventListener("signet:fields-changed", showAll);
showAll();
