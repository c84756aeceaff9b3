// The keyboard, the peek panel and suggestions. Every page works without it.
"use strict";

{
  const dialogs = { keys: document.getElementById("keys"), jump: document.getElementById("jump") };
  const panel = document.getElementById("peek-panel");
  const typing = (target) => target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;

  const open = (name) => {
    if (document.querySelector("dialog[open]")) return;
    dialogs[name].showModal();
    if (name === "jump") document.getElementById("jump-to").select();
  };

  for (const button of document.querySelectorAll("button[data-opens]")) {
    button.hidden = false;
    button.addEventListener("click", () => open(button.dataset.opens));
  }

  // One list a page is moved through: the review queue's items, else the rows of its list.
  const rows = () => {
    const items = document.querySelectorAll("main [data-review] > li");
    return [...(items.length ? items : document.querySelectorAll("main table.list > tbody > tr"))].filter((row) =>
      row.checkVisibility(),
    );
  };
  const current = () => rows().find((row) => row.contains(document.activeElement));

  const move = (step) => {
    const all = rows();
    if (all.length === 0) return false;
    const at = all.indexOf(current());
    const next = all[at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1)];
    if (!next.hasAttribute("tabindex")) next.tabIndex = -1;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
    if (!panel.hidden) peek(next);
    return true;
  };

  // The link of a row, or what unfolds it.
  const opener = (row) => row.querySelector("th a[href], th summary, a[href]");

  // A link with data-peek can be looked at beside the list, in a button that stands only where there is a script.
  const peek = (row) => {
    const link = row.querySelector("a[data-peek]");
    if (!link) return false;
    for (const other of document.querySelectorAll("[data-peeked]")) other.removeAttribute("data-peeked");
    row.setAttribute("data-peeked", "");
    if (!row.hasAttribute("tabindex")) row.tabIndex = -1;
    document.getElementById("peek-open").href = link.href;
    document.getElementById("peek-title").textContent = link.textContent;
    panel.setAttribute("aria-busy", "true");
    panel.hidden = false;
    htmx.ajax("GET", link.getAttribute("href"), { target: "#peek", source: "#peek" });
    return true;
  };

  const offerPeeks = () => {
    for (const link of document.querySelectorAll("main a[data-peek]:not([data-offered])")) {
      link.setAttribute("data-offered", "");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "link peek-at";
      button.textContent = "Peek";
      button.setAttribute("aria-label", `Peek at ${link.textContent}`);
      button.addEventListener("click", () => peek(link.closest("tr, li")) && panel.focus());
      link.after(button);
    }
  };
  offerPeeks();
  document.addEventListener("htmx:afterSettle", offerPeeks);

  const closePeek = () => {
    if (panel.hidden) return false;
    panel.hidden = true;
    document.getElementById("peek").replaceChildren();
    const row = document.querySelector("[data-peeked]");
    if (row) row.focus();
    return true;
  };

  const actions = {
    "?": () => (open("keys"), true),
    j: () => move(1),
    k: () => move(-1),
    p: () => current() !== undefined && peek(current()),
    Enter: () => {
      const row = current();
      if (row === undefined || row !== document.activeElement || row.matches("[data-review] > li")) return false;
      const link = opener(row);
      if (link) link.click();
      return link !== null;
    },
    "/": () => {
      const find = document.querySelector("[data-search]") || document.getElementById("find");
      if (!find) return false;
      find.focus();
      find.select();
      return true;
    },
  };

  // In the review queue: A lets in, E puts right, R turns down.
  const decide = (key) => {
    const item = current();
    if (!item || !item.matches("[data-review] > li")) return false;
    if (key === "a") {
      item.querySelector('button[value="approve"]').click();
      return true;
    }
    const part = item.querySelector(`details[data-key="${key}"]`);
    if (!part) return false;
    part.open = true;
    part.querySelector("textarea, select").focus();
    return true;
  };

  const closeMenus = (besides) => {
    for (const menu of document.querySelectorAll("details.dropdown[open], details.menu[open]")) {
      if (menu.contains(besides)) continue;
      menu.open = false;
      if (!besides) menu.querySelector("summary").focus();
    }
  };

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open("jump");
      return;
    }
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
      closeMenus(null);
      closePeek();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || event.target.closest?.("dialog")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const done = Object.hasOwn(actions, key) ? actions[key]() : "aer".includes(key) && key.length === 1 && decide(key);
    if (done) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    closeMenus(event.target);
    if (event.target.closest?.("[data-close-peek]")) closePeek();
    // A click beside a dialog closes it.
    if (event.target instanceof HTMLDialogElement) event.target.close();
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.target?.id !== "peek") return;
    panel.removeAttribute("aria-busy");
    if (!event.detail.successful) event.detail.target.textContent = "This could not be loaded. Open the page instead.";
  });

  // Going somewhere: Enter takes the first, the arrows move.
  dialogs.jump?.addEventListener("keydown", (event) => {
    const links = [...dialogs.jump.querySelectorAll("a[href]")].filter((link) => link.checkVisibility());
    const at = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const next = at + (event.key === "ArrowDown" ? 1 : -1);
      if (next < 0) document.getElementById("jump-to").focus();
      else links[Math.min(next, links.length - 1)]?.focus();
    } else if (event.key === "Enter" && at < 0 && links.length > 0) {
      event.preventDefault();
      // What was typed last may still be under way.
      if (dialogs.jump.querySelector(".htmx-request")) {
        document.addEventListener("htmx:afterSettle", () => dialogs.jump.querySelector("a[href]")?.click(), { once: true });
      } else links[0].click();
    }
  });

  // Suggestions for the word that is being typed, not for the whole line.
  for (const field of document.querySelectorAll("input[data-search][list]")) {
    const list = field.list;
    const known = [...list.options].map((option) => [option.value, option.textContent]);
    field.addEventListener("input", () => {
      const [, before, minus, word] = field.value.match(/^(.*?)(-?)([^\s"]*)$/s);
      if (!before && !minus && list.options.length === known.length) return;
      list.replaceChildren(
        ...known
          .filter(([value]) => value.startsWith(word.toLowerCase()) || value.includes(`.${word.toLowerCase()}`))
          .map(([value, says]) => new Option(says, before + minus + value)),
      );
    });
  }

  // Figures that are asked for again and again rest while nobody looks.
  document.addEventListener("htmx:confirm", (event) => {
    if (document.hidden && event.detail.elt.matches("[data-live]")) event.preventDefault();
  });
}
