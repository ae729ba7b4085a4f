// Runs before the page starts. The language and the theme are chosen here, and the address remembers where the visitor is.
(() => {
  const cookie = (name) => (document.cookie.match(new RegExp(`(?:^|; )${name}=([^;]*)`)) || [])[1];
  const setCookie = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; SameSite=Lax`; };
  const address = (changes) => {
    const url = new URL(window.location.href);
    for (const [name, value] of Object.entries(changes)) {
      if (value) url.searchParams.set(name, value); else url.searchParams.delete(name);
    }
    return url;
  };
  const best = (tags) => {
    for (const tag of tags) {
      const name = String(tag || "").toLowerCase();
      if (name.startsWith("zh")) return /hant|tw|hk|mo/.test(name) ? "zh-TW" : "zh-CN";
      if (name.startsWith("en")) return "en";
    }
    return "en";
  };

  const query = new URLSearchParams(window.location.search);
  const asked = query.get("lang") || cookie("lightbox_lang");
  const language = best(asked ? [asked] : navigator.languages || [navigator.language]);
  Object.defineProperty(window.navigator, "language", { get: () => language, configurable: true });
  Object.defineProperty(window.navigator, "languages", { get: () => [language], configurable: true });
  document.documentElement.lang = language;
  setCookie("lightbox_lang", language);

  const theme = cookie("lightbox_theme");
  if (theme && !query.get("__theme")) window.history.replaceState(null, "", address({ __theme: theme }));

  // While the page is being put together, tabs report themselves as selected late and in any order; what a visitor presses meanwhile counts.
  let settled = false, pressed = "";
  const shown = () => [...document.querySelectorAll("#lb-pages > [role=tabpanel]")].find((panel) => panel.offsetParent)?.id.replace("lb-page-", "");
  const rememberTab = () => {
    const tab = shown();
    if (settled && tab) window.history.replaceState(null, "", address({ tab }));
  };
  window.lightbox = {
    language,
    settle: () => {
      settled = true;
      if (pressed && pressed !== shown()) document.getElementById(`lb-page-${pressed}-button`)?.click();
      if (pressed) window.setTimeout(rememberTab, 50);
    },
    remember: (name, value) => {
      if (name === "tab") window.setTimeout(rememberTab, 50);
      else window.history.replaceState(null, "", address({ [name]: value }));
    },
  };
  document.addEventListener("click", (event) => {
    if (!settled && event.isTrusted && event.target.closest?.("#lb-pages > .tab-wrapper button")) window.setTimeout(() => { pressed = shown() ?? ""; }, 50);
  });

  document.addEventListener("change", (event) => {
    if (!event.target.matches?.("[data-lb-language]")) return;
    setCookie("lightbox_lang", event.target.value);
    window.location.assign(address({ lang: event.target.value }));
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-lb-theme]")) return;
    const chosen = document.body.classList.toggle("dark") ? "dark" : "light";
    setCookie("lightbox_theme", chosen);
    window.history.replaceState(null, "", address({ __theme: chosen }));
  });

  // Plots count steps and epochs: between two whole ones there is nothing to name.
  let waiting = false;
  const wholeTicks = () => {
    waiting = false;
    for (const tick of document.querySelectorAll('.lb-plot [aria-label^="X-axis"] .role-axis-label text')) {
      tick.style.visibility = tick.textContent.includes(".") ? "hidden" : "";
    }
  };
  new MutationObserver(() => {
    if (!waiting && document.querySelector(".lb-plot svg.marks")) {
      waiting = true;
      window.requestAnimationFrame(wholeTicks);
    }
  }).observe(document.documentElement, { childList: true, characterData: true, subtree: true });
})();
