/* Signet, version 1. Carries an affiliate's code through a visit to this shop; see docs/shop.md of Signet.
   Without consent it stores nothing: the code travels in the addresses of links and forms. */
(function () {
  "use strict";
  var script = document.currentScript, portal = script.src.split("/static/")[0];
  var PARAMETER = script.dataset.parameter || "ref", COUNTED = "ref_counted", KEY = "signet", VALID = /^[A-Za-z0-9_-]{1,32}$/;
  var days = Number(script.dataset.days) || 0, here = new URL(location.href);
  var arrived = valid(here.searchParams.get(PARAMETER)), stored = arrived ? "" : load(), code = arrived || stored;

  function valid(text) { return text && VALID.test(text) ? text : ""; }

  function load() {
    try {
      var found = JSON.parse(localStorage.getItem(KEY));
      if (found && found.until > Date.now()) return valid(found.code);
      if (found) localStorage.removeItem(KEY);
    } catch (error) { /* no storage, or not ours */ }
    return "";
  }

  function consent() {
    if (!code || code === stored || !(days > 0)) return;
    try {
      localStorage.setItem(KEY, JSON.stringify({ code: code, until: Date.now() + days * 864e5 }));
      stored = code;
    } catch (error) { /* no storage: the addresses go on carrying the code */ }
  }

  function forget() {
    code = stored = "";
    try { localStorage.removeItem(KEY); } catch (error) { /* nothing is stored */ }
  }

  function carry(link) {
    var isOurs = link.origin === location.origin, isMarked = link.hasAttribute("data-signet");
    var isHere = link.hash && link.href.split("#")[0] === location.href.split("#")[0];
    if (!code || isHere || !(isMarked || (isOurs && !stored))) return;
    var target = new URL(link.href);
    if (!/^https?:$/.test(target.protocol)) return;
    target.searchParams.set(PARAMETER, code);
    link.href = target.href;
  }

  function fill(form) {
    var isMarked = form.hasAttribute("data-signet"), action = new URL(form.getAttribute("action") || "", location.href);
    var isSearch = (form.getAttribute("method") || "get").toLowerCase() === "get" && action.origin === location.origin;
    if (!code || !(isMarked || (isSearch && !stored))) return;
    var field = form.querySelector('input[name="' + PARAMETER + '"]');
    if (!field) {
      field = document.createElement("input");
      field.type = "hidden";
      field.name = PARAMETER;
      form.appendChild(field);
    }
    field.value = code;
  }

  function onClick(event) {
    var link = event.target.closest && event.target.closest("a[href]");
    if (link) carry(link);
  }

  function onReady() { document.querySelectorAll("form[data-signet]").forEach(fill); }

  function report() {
    var entry = performance.getEntriesByType("navigation")[0];
    var isReload = entry && entry.type !== "navigate", isInside = document.referrer.indexOf(location.origin + "/") === 0;
    if (!arrived || isReload || isInside || here.searchParams.has(COUNTED)) return;
    fetch(portal + "/r/" + arrived, { method: "POST", credentials: "omit", keepalive: true }).catch(function () {});
  }

  document.addEventListener("click", onClick, true);
  document.addEventListener("auxclick", onClick, true);
  document.addEventListener("submit", function (event) { fill(event.target); }, true);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", onReady); else onReady();
  window.signet = { code: function () { return code; }, consent: consent, forget: forget };
  if (window.signetConsent) consent();
  report();
})();
