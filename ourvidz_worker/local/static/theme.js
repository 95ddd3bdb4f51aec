"use strict";

/* Runs before the first paint, so that no page flashes in the other theme. A button with `data-action="theme"`
   goes from the system's theme to the other one and back. */
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = localStorage.getItem("theme");
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;

  const shown = () => root.dataset.theme ?? (system.matches ? "dark" : "light");

  document.addEventListener("click", (event) => {
    if (!event.target.closest('[data-action="theme"]')) return;
    root.dataset.theme = shown() === "dark" ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
})();
