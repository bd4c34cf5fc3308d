// Passkeys: asks the browser for one, and sends what it has signed with the form. The forms stay hidden without support.
import { all, one } from "./dom.js";

const supported = window.PublicKeyCredential?.parseCreationOptionsFromJSON && PublicKeyCredential.prototype.toJSON;
if (supported) {
  all("[data-passkey]").forEach((form) => { form.hidden = false; });
  all("[data-without-passkeys]").forEach((hint) => { hint.hidden = true; });
}

const ask = async (form) => {
  const answer = await fetch(form.dataset.passkeyOptions, { method: "POST", body: new FormData(form) });
  // A page instead of options: the portal asks for something else first, so it gets the form as it is.
  if (answer.redirected || !answer.headers.get("Content-Type")?.startsWith("application/json")) return "";
  if (!answer.ok) throw new Error(answer.status);
  const options = await answer.json();
  const found = form.dataset.passkey === "create"
    ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
    : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  return JSON.stringify(found);
};

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-passkey]");
  if (!form) return;
  event.preventDefault();
  const status = one("[role=status]", form);
  status.textContent = "";
  ask(form).then(
    (credential) => { form.elements.credential.value = credential; form.submit(); },
    (error) => {
      const reasons = { NotAllowedError: "cancelled", InvalidStateError: "known" };
      status.textContent = form.dataset[reasons[error.name] ?? "failed"] || form.dataset.failed;
    },
  );
});
