/*
 * Light or dark, before anything is drawn: what was chosen here, else what the system prefers. A script of its own, not a
 * module, because modules run after the first paint.
 */
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("lwt-theme");
    document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
    dispatchEvent(new Event("themechange"));
  };
  dark.addEventListener("change", apply);
  addEventListener("themetoggle", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("lwt-theme", next);
    apply();
  });
  apply();
})();
