// Signet's only script. Every page is complete without it. It never turns text into markup: fragments come as documents through
// XMLHttpRequest, so that the page can require Trusted Types and grant no policy.
(() => {
  "use strict";
  document.documentElement.classList.add("js");
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { one("#announcer").textContent = text; };

  // A server-rendered page or fragment as an inert document; rejects when it is not there or not reachable.
  const load = (url) => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.timeout = 10000;
    request.setRequestHeader("X-Requested-With", "fetch");
    request.onload = () => (request.status === 200 && request.response ? resolve(request.response) : reject(new Error(request.status)));
    request.onerror = request.ontimeout = () => reject(new Error("unreachable"));
    request.send();
  });

  // Puts the new element in the old one's place: opened <details> stay open, the focus stays where it was.
  const swap = (old, fresh) => {
    if (!old || !fresh || old.outerHTML === fresh.outerHTML) return false;
    const opened = all("details[open][id]", old).map((details) => details.id);
    const inside = old.contains(document.activeElement) ? document.activeElement : null;
    const marks = inside && (inside.id ? `#${CSS.escape(inside.id)}`
      : inside.matches("summary") && inside.parentElement.id ? `#${CSS.escape(inside.parentElement.id)} > summary`
      : inside.hasAttribute("href") ? `[href="${CSS.escape(inside.getAttribute("href"))}"]` : null);
    const placed = document.adoptNode(fresh);
    opened.forEach((id) => { const details = one(`#${CSS.escape(id)}`, placed); if (details) details.open = true; });
    old.replaceWith(placed);
    const target = inside && ((marks && one(marks, placed)) || placed);
    if (target) {
      if (target === placed) placed.tabIndex = -1;
      target.focus({ preventScroll: true });
    }
    return true;
  };

  // Nobody's half-typed word is replaced under their hands.
  const typing = (part) => Boolean(part && part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"));

  // (1) Live regions. data-live="on" asks again after 150 ms, more slowly while nothing changes; everything that is not "on" has ended.
  const follow = (id) => {
    let pause = 150;
    let said = "";
    const later = () => setTimeout(ask, pause);
    const ask = () => {
      const region = document.getElementById(id);
      if (!region || region.dataset.live !== "on") return;
      if (document.hidden) { document.addEventListener("visibilitychange", ask, { once: true }); return; }
      load(region.dataset.liveUrl).then((answer) => {
        const fresh = answer.getElementById(id);
        if (!fresh) { say("The check can no longer be followed here. Load the page again."); return; }
        const parts = all("[data-live-part][id]", answer).filter((part) => !fresh.contains(part));
        const words = fresh.dataset.announce;
        const changed = swap(region, fresh);
        parts.forEach((part) => { if (!typing(document.getElementById(part.id))) swap(document.getElementById(part.id), part); });
        if (words && words !== said) { said = words; say(words); }
        pause = changed ? 150 : Math.min(pause * 1.5, 3000);
        later();
      }, () => { pause = Math.min(pause * 2, 3000); later(); });
    };
    later();
  };
  all('[data-live="on"][data-live-url][id]').forEach((region) => follow(region.id));

  // (2) Show and hide a password, (6) copy: delegated, so that swapped-in buttons work too.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-toggle-password], [data-copy]");
    if (!button) return;
    if (button.dataset.togglePassword) {
      const input = document.getElementById(button.dataset.togglePassword);
      const show = input.type === "password";
      input.type = show ? "text" : "password";
      button.firstChild.nodeValue = show ? "Hide" : "Show";
      return;
    }
    const source = document.getElementById(button.dataset.copy);
    const words = source.dataset.value || source.textContent.trim();
    const done = () => {
      const label = button.dataset.label ||= button.firstChild.nodeValue;
      button.classList.add("is-done");
      button.firstChild.nodeValue = "Copied";
      say("Copied");
      setTimeout(() => { button.classList.remove("is-done"); button.firstChild.nodeValue = label; }, 2500);
    };
    const select = () => { source.textContent = words; delete source.dataset.value; getSelection().selectAllChildren(source); say("Selected: press Ctrl or Command and C to copy"); };
    if (navigator.clipboard) navigator.clipboard.writeText(words).then(done, select); else select();
  });
  // A password never leaves the page as visible text: browsers remember what stands in text inputs.
  document.addEventListener("submit", (event) => {
    all("[data-toggle-password]", event.target).forEach((button) => {
      document.getElementById(button.dataset.togglePassword).type = "password";
    });
  });

  // (3) Port and security belong together.
  const atOnce = { 465: true, 2465: true, 25: false, 587: false, 2525: false, 2587: false };
  const chosen = (partner) => (partner.type === "checkbox" ? partner.checked : /implicit/i.test(partner.value));
  const couple = (port) => {
    const partner = port.form.elements.namedItem(port.dataset.couples);
    const hint = one(`[data-couple-hint="${CSS.escape(port.id)}"]`);
    if (!partner || !hint) return;
    const wanted = atOnce[port.value.trim()];
    hint.textContent = wanted === undefined || wanted === chosen(partner) ? "" : hint.dataset[wanted ? "implicit" : "starttls"];
  };

  // (4) The resulting From line.
  const fromLine = (preview) => {
    const form = preview.closest("form") || one("form:has([name=wrapped_user])");
    const value = (name) => (form.elements.namedItem(name)?.value || "").trim();
    const domain = value("domain").replace(/^@/, "") || value("username").split("@")[1];
    const mailbox = domain ? `${value("wrapped_user") || preview.dataset.fromDefault || "info"}@${domain}` : "";
    preview.textContent = !mailbox ? preview.dataset.fromEmpty || "" : value("from_name") ? `${value("from_name")} <${mailbox}>` : mailbox;
  };

  // (5) A chosen provider fills what is still empty and brings its own hints.
  const provide = (select) => {
    const form = select.form;
    const filled = [];
    const port = form.elements.namedItem("port");
    const withPort = Boolean(port) && (port.value === "" || port.dataset.suggested === port.value);
    for (const { name, value } of select.selectedOptions[0].attributes) {
      if (!name.startsWith("data-fill-")) continue;
      const field = form.elements.namedItem(name.slice(10).replaceAll("-", "_"));
      if (!field) continue;
      const first = field instanceof RadioNodeList ? [...field].find((part) => part.matches("input")) : field;
      const tick = first.type === "checkbox";
      const now = tick ? String(first.checked) : field.value;
      // Radios are never empty, so the encryption goes with the port, unless it is to be detected.
      const free = now === "" || first.dataset.suggested === now || (name === "data-fill-security" && withPort && now !== "detect");
      if (now === value || !free) continue;
      if (tick) first.checked = value === "true"; else field.value = value;
      first.dataset.suggested = tick ? String(first.checked) : field.value;
      if (value) filled.push((first.closest("fieldset.field-radio")?.querySelector("legend") || first.labels[0]).firstChild.nodeValue.trim());
    }
    const status = document.getElementById(select.dataset.providerStatus);
    if (status) status.textContent = filled.length ? `Filled in for you: ${filled.join(", ")}.` : "Nothing was filled in: your own entries stay.";
    refresh();
    if (!select.dataset.providerUrl) return;
    const url = new URL(select.dataset.providerUrl, location.href);
    url.searchParams.set("provider", select.value);
    load(url.href).then((answer) => all("[data-hint-for]", answer).forEach((fresh) => {
      swap(one(`[data-hint-for="${CSS.escape(fresh.dataset.hintFor)}"]`, form), fresh);
    }), () => {});
  };

  const refresh = () => {
    all("[data-couples]").forEach(couple);
    all("[data-from-preview]").forEach(fromLine);
  };
  document.addEventListener("input", refresh);
  document.addEventListener("change", (event) => { if (event.target.matches("[data-provider-status], [data-provider-url]")) provide(event.target); });
  refresh();

  // (8) The editor of an email: a click puts a variable where the cursor is, and the preview follows the words.
  let written = one("[data-insert]");
  document.addEventListener("focusin", (event) => { if (event.target.matches("[data-insert]")) written = event.target; });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-insert-variable]");
    if (!button || !written) return;
    written.setRangeText(button.dataset.insertVariable, written.selectionStart, written.selectionEnd, "end");
    written.focus();
    written.dispatchEvent(new Event("input", { bubbles: true }));
  });

  const livePreview = (form) => {
    let timer = 0;
    let asked = 0;
    const show = () => {
      const number = ++asked;
      const request = new XMLHttpRequest();
      request.open("POST", form.dataset.livePreview);
      request.responseType = "document";
      request.timeout = 10000;
      request.onload = () => {
        if (request.status !== 200 || !request.response || number !== asked) return;
        all("[data-preview-part][id]", request.response).forEach((fresh) => {
          // Half a placeholder is no reason to empty the page: the last good mail stays beside the reason.
          if (fresh.matches("iframe") && !fresh.hasAttribute("src")) return;
          if (fresh.matches("pre") && !fresh.textContent) return;
          swap(document.getElementById(fresh.id), fresh);
        });
      };
      request.send(new FormData(form));
    };
    const later = () => { clearTimeout(timer); timer = setTimeout(show, 400); };
    form.addEventListener("input", later);
    document.addEventListener("change", (event) => { if (event.target.form === form && event.target.matches("select")) later(); });
    form.addEventListener("submit", () => { clearTimeout(timer); asked += 1; });
  };
  all("form[data-live-preview]").forEach(livePreview);

  // (7) A refused form says so first.
  one("[data-error-summary]")?.focus();
})();
