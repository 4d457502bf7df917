// What pages do beyond HTML: parts marked data-live are fetched again, by events or by time; uploads go in parts.
"use strict";
(() => {
  const csrf = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
  const offline = document.getElementById("offline");
  let isBusy = false, isAsked = false;

  // Fetch this page again and put in what has changed; focus, scroll and open details stay.
  async function refresh() {
    if (isBusy) { isAsked = true; return; }
    isBusy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected || answer.status === 401) { location.reload(); return; }
      offline.hidden = answer.ok;
      if (answer.ok) merge(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      offline.hidden = false;
    } finally {
      isBusy = false;
      if (isAsked) { isAsked = false; setTimeout(refresh, 300); }
    }
  }

  const SCROLLED = ".events, .scroll, .log", FOCUSABLE = "a[href], button, input, summary, [tabindex]";
  const called = (part) => part.id || part.getAttribute("href") || part.getAttribute("aria-label") || part.textContent;

  function merge(fresh) {
    document.title = fresh.title;
    for (const old of document.querySelectorAll("[data-live][id]")) {
      const now = fresh.getElementById(old.id);
      if (!now || now.innerHTML === old.dataset.seen) continue;
      old.dataset.seen = now.innerHTML;
      const focused = old.contains(document.activeElement) ? called(document.activeElement) : "";
      const checked = [...old.querySelectorAll("input:checked")].map((input) => input.value);
      const opened = [...old.querySelectorAll("details")].map((part) => part.open);
      const scrolls = [...old.querySelectorAll(SCROLLED)].map((part) => part.scrollTop);
      old.replaceChildren(...now.childNodes);
      old.querySelectorAll("details").forEach((part, i) => { part.open = opened[i] ?? part.open; });
      old.querySelectorAll(SCROLLED).forEach((part, i) => { part.scrollTop = scrolls[i] ?? 0; });
      for (const input of old.querySelectorAll("input[type=checkbox]")) input.checked = checked.includes(input.value);
      if (focused) [...old.querySelectorAll(FOCUSABLE)].find((part) => called(part) === focused)?.focus({ preventScroll: true });
    }
    if (document.body.dataset.refresh && !fresh.body.dataset.refresh) delete document.body.dataset.refresh;
  }

  (function tick() {
    const seconds = Number(document.body.dataset.refresh);
    if (!seconds) return;
    setTimeout(async () => { if (!document.hidden) await refresh(); tick(); }, seconds * 1000);
  })();

  // A job's page follows its events; the browser reconnects with Last-Event-ID by itself.
  const stream = document.body.dataset.events;
  if (stream) {
    let timer = 0;
    const soon = () => { timer ||= setTimeout(() => { timer = 0; if (!document.hidden) refresh(); }, 600); };
    const source = new EventSource(stream);
    const kinds = "queued started phase stage progress plan step epoch checkpoint resumed warning note log lost preempted pausing paused cancelling cancelled succeeded failed retry";
    for (const kind of kinds.split(" ")) source.addEventListener(kind, soon);
    source.addEventListener("end", () => { source.close(); refresh(); });
    source.onerror = () => { offline.hidden = source.readyState !== EventSource.CLOSED; if (source.readyState === EventSource.CLOSED) setTimeout(refresh, 2000); };
    source.onopen = () => { offline.hidden = true; };
    document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
    addEventListener("pagehide", () => source.close());
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-confirm], [data-copy]");
    if (!button) return;
    if (button.dataset.confirm && !confirm(button.dataset.confirm)) event.preventDefault();
    if (button.dataset.copy) {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    }
  });

  // Names of models while one is typed.
  for (const input of document.querySelectorAll("[data-suggest]")) {
    let timer = 0;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        const answer = await fetch(input.dataset.suggest + encodeURIComponent(input.value)).catch(() => null);
        if (!answer?.ok) return;
        const options = (await answer.json()).items.map((model) => Object.assign(document.createElement("option"), { value: model.name }));
        input.list.replaceChildren(...options);
      }, 200);
    });
  }

  const form = document.getElementById("upload");
  if (form) upload(form);

  function upload(form) {
    const PART = 4 * 2 ** 20;
    const part = (name) => document.getElementById("upload-" + name);
    const size = (bytes) => bytes < 2 ** 20 ? (bytes / 1024).toFixed(1) + " KiB" : (bytes / 2 ** 20).toFixed(1) + " MiB";
    let isPaused = false, current = null;

    async function call(method, path, body, headers = {}) {
      const answer = await fetch(document.documentElement.dataset.root + path, { method, body, headers: { "X-CSRF-Token": csrf, ...headers } });
      const document_ = await answer.json();
      if (!answer.ok) throw Object.assign(new Error(document_.title), { status: answer.status, details: document_.details });
      return document_;
    }

    async function send() {
      const { file, id } = current;
      let failures = 0;
      while (current.at < file.size && !isPaused) {
        try {
          const done = await call("PATCH", "/v1/uploads/" + id, file.slice(current.at, current.at + PART), { "Upload-Offset": String(current.at), "Content-Type": "application/octet-stream" });
          current.at = done.received;
          failures = 0;
        } catch (error) {
          if (error.details?.received !== undefined) { current.at = error.details.received; continue; }
          if (error.status || ++failures > 8) throw error;
          part("words").textContent = "The connection is gone; trying again.";
          await new Promise((resume) => setTimeout(resume, 500 * 2 ** failures));
          current.at = (await call("GET", "/v1/uploads/" + id).catch(() => ({ received: current.at }))).received;
        }
        part("bar").value = current.at / file.size;
        part("words").textContent = `${size(current.at)} of ${size(file.size)}`;
      }
      if (current.at >= file.size) {
        part("words").textContent = "Everything has arrived and is being looked at.";
        current = null; part("stop").hidden = true; part("start").disabled = false;
        refresh();
      }
    }

    const shown = (error) => { part("words").textContent = error.message; part("start").disabled = false; part("stop").hidden = true; };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const file = part("file").files[0];
      if (!file) return;
      part("start").disabled = true; part("progress").hidden = false; part("bar").value = 0; part("words").textContent = "Beginning";
      try {
        const name = part("name").value.trim() || file.name;
        const made = await call("POST", "/v1/datasets", JSON.stringify({ name: name.slice(0, 100), source: { kind: "upload", size: file.size, filename: file.name.slice(0, 255) } }), { "Content-Type": "application/json" });
        current = { file, id: made.upload.id, at: 0 };
        isPaused = false; part("stop").hidden = false; part("stop").textContent = "Pause";
        await send();
      } catch (error) { shown(error); }
    });
    part("stop").addEventListener("click", () => {
      isPaused = !isPaused;
      part("stop").textContent = isPaused ? "Go on" : "Pause";
      if (!isPaused && current) send().catch(shown);
    });
  }
})();
