// Keys, copying and the live tail. Every page works without this file.
const all = (what) => [...document.querySelectorAll(what)];
const one = (what) => document.querySelector(what);
const go = (what) => { const link = one(what); if (link) link.click(); return Boolean(link); };

// Copy buttons are there only when they work.
for (const button of all("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  const said = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = said; }, 2000);
  });
}

// Rows: j and k move between them, Enter opens what is focused.
const rows = () => all("tr[data-row]");
const linkOf = (row) => row.querySelector("a[data-open]") || row.querySelector("a");
const step = (by) => {
  const list = rows();
  const at = list.indexOf(document.activeElement?.closest?.("tr[data-row]"));
  const next = list[at < 0 ? (by > 0 ? 0 : list.length - 1) : at + by];
  if (next) { linkOf(next)?.focus(); next.scrollIntoView({ block: "nearest" }); }
};
const shift = (by) => {
  const ranges = all(".ranges a");
  const at = ranges.findIndex((range) => range.hasAttribute("aria-current"));
  ranges[at < 0 ? (by > 0 ? 0 : ranges.length - 1) : at + by]?.click();
};

let waits = false;
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
  if (event.key === "Escape" && typing) typing.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.body.dataset.keys === "off") return;
  if (waits) {
    waits = false;
    if (/^[a-z]$/.test(event.key) && go(`[data-go="${event.key}"]`)) event.preventDefault();
    return;
  }
  const keys = {
    "/": () => one("form.filter input")?.focus(),
    j: () => step(1), k: () => step(-1), "[": () => shift(-1), "]": () => shift(1),
    t: () => go("[data-tail]"), p: () => go('[data-key="p"]'), "?": () => go('[data-key="?"]'),
    g: () => { waits = true; setTimeout(() => { waits = false; }, 1500); },
  };
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});

// The live tail: rows of the filter in force, as they are written.
const tail = one("[data-tail]");
if (tail) {
  const says = one("#tail-says");
  const body = one("#tail-rows");
  const most = 200;
  let source = null, kept = [], fresh = 0, said = 0, timer = 0;
  const paused = () => scrollY > 200 || (body.contains(document.activeElement) && document.activeElement !== document.body);
  // Said politely, and at most once a second.
  const say = (text) => {
    clearTimeout(timer);
    const wait = Math.max(0, said + 1000 - Date.now());
    timer = setTimeout(() => { said = Date.now(); says.textContent = text; }, wait);
  };
  const told = () => {
    const held = kept.length ? `; ${kept.length} more wait while you read` : "";
    say(`Live: ${fresh} new${held}.`);
  };
  const show = () => {
    for (const html of kept.splice(0)) {
      const id = /id="(call-[^"]+)"/.exec(html)?.[1];
      if (id) document.getElementById(id)?.remove();
      body.insertAdjacentHTML("afterbegin", html);
    }
    while (body.rows.length > most) body.rows[body.rows.length - 1].remove();
    body.hidden = body.rows.length === 0;
  };
  const stop = (text) => {
    source?.close();
    source = null;
    tail.setAttribute("aria-pressed", "false");
    tail.textContent = "Live tail";
    say(text);
  };
  const start = () => {
    source = new EventSource(tail.dataset.tail);
    tail.setAttribute("aria-pressed", "true");
    tail.textContent = "Stop the tail";
    source.addEventListener("open", told);
    source.addEventListener("call", (event) => {
      fresh += 1;
      kept.push(event.data);
      if (kept.length > most) kept.shift();
      if (!paused()) show();
      told();
    });
    source.addEventListener("more", (event) => { fresh += Number(event.data); say(`And ${event.data} more in this second.`); });
    source.addEventListener("full", () => stop("Too many people watch already. Use the link that reloads the page instead."));
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) stop("The tail ended; start it again to go on.");
      else say("The connection is gone; it comes back by itself.");
    });
  };
  tail.hidden = false;
  tail.addEventListener("click", () => (source ? stop("The tail is stopped.") : start()));
  addEventListener("scroll", () => { if (source && kept.length && !paused()) { show(); told(); } }, { passive: true });
  addEventListener("focusout", () => setTimeout(() => { if (source && kept.length && !paused()) { show(); told(); } }));
}
