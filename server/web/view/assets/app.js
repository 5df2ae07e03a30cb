"use strict";
// Everything here is an extra: the pages are complete without it.
(() => {
  const all = (what, root = document) => [...root.querySelectorAll(what)];

  // Instants: the reader's own zone beside the server's.
  const localise = () => {
    for (const t of all("time[datetime]")) {
      const at = new Date(t.dateTime);
      if (isNaN(at)) continue;
      const exact = t.dataset.exact ?? t.title;
      t.dataset.exact = exact;
      t.title = (exact ? exact + " · " : "") + at.toLocaleString() + " here";
    }
  };

  // Without changing what the server made, take over what has become different in it.
  const swap = (fresh) => {
    for (const old of all("[data-live]")) {
      const now = fresh.getElementById(old.id);
      if (!now || old.contains(document.activeElement) && old.querySelector("form")) continue;
      all("details[open]", old).forEach((d) => {
        const same = all("details", now).find((n) => n.querySelector("summary").textContent === d.querySelector("summary").textContent);
        if (same) same.open = true;
      });
      if (old.innerHTML === now.innerHTML) continue;
      const focus = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      const scroll = all(".wide", old).map((w) => [w.scrollLeft, w.scrollTop]);
      old.replaceChildren(...document.adoptNode(now).childNodes);
      all(".wide", old).forEach((w, i) => scroll[i] && ([w.scrollLeft, w.scrollTop] = scroll[i]));
      if (focus) all("a[href]", old).find((a) => a.getAttribute("href") === focus)?.focus({ preventScroll: true });
    }
    const title = fresh.querySelector("title");
    if (title) document.title = title.textContent;
    localise();
  };

  // At most once in two seconds, however much happens.
  const pace = 2000;
  let busy = false, again = false;
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    setTimeout(() => { busy = false; if (again) { again = false; refresh(); } }, pace);
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" }, redirect: "manual" });
      if (answer.type === "opaqueredirect" || answer.status === 401) { location.reload(); return; }
      if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* the server is away: the stream comes back by itself */ }
  };

  // A hidden page holds no connection, of which a browser has few.
  const url = document.body.dataset.stream;
  if (url) {
    let stream = null;
    const listen = () => {
      if (document.hidden) { stream?.close(); stream = null; return; }
      if (stream) return;
      stream = new EventSource(url);
      // What happened between the page and the stream, or while the stream was cut, is told by nobody.
      stream.addEventListener("open", () => { refresh(); document.body.dataset.streaming = "yes"; });
      stream.addEventListener("changed", refresh);
      stream.addEventListener("error", () => { if (stream?.readyState === EventSource.CLOSED) { stream = null; refresh(); } });
    };
    document.addEventListener("visibilitychange", listen);
    listen();
  }

  // A link from another site arrives without the session's cookie: if there is a session after all, go on.
  const login = document.querySelector("[data-login]");
  if (login) fetch("/session").then((r) => { if (r.ok) location.replace(login.dataset.login); }, () => {});

  // The user's page: what the clock of this Mac shows.
  for (const form of all("form[data-now]")) {
    const offset = form.querySelector(".offset");
    offset.hidden = true;
    offset.querySelector("select").disabled = true;
    const now = document.createElement("input");
    now.type = "hidden";
    now.name = "now";
    form.append(now);
    form.addEventListener("submit", () => {
      const d = new Date();
      now.value = new Date(d - d.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
    });
  }

  // The policy editor: how many Macs each ring gets, while one types.
  const editor = document.querySelector("form.editor");
  if (editor?.querySelector("output[data-count]")) {
    let wait = 0, asked = 0;
    const count = async () => {
      const form = new URLSearchParams(new FormData(editor));
      form.set("step", "check");
      const mine = ++asked;
      try {
        const answer = await fetch("/policies", { method: "POST", body: form, headers: { Accept: "text/html" }, redirect: "manual" });
        if (mine !== asked || answer.type === "opaqueredirect") return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const old of all("[data-count]", editor)) {
          const now = fresh.getElementById(old.id);
          if (now && now.innerHTML !== old.innerHTML) old.replaceChildren(...document.adoptNode(now).childNodes);
        }
      } catch { /* the server is away: the counts stay */ }
    };
    editor.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(count, 400); });
  }

  localise();
})();
