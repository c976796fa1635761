// Live pages. An element with data-poll="SECONDS" asks for its own page again and swaps every region that
// carries data-live and an id. It stops when the answer no longer asks to be polled: the thing has ended.

const SLOWEST = 30;
const shown = new Map();

export function poll() {
  const asking = document.querySelector("[data-poll]");
  if (asking) schedule(seconds(asking), 0);
}

function seconds(element) {
  return Math.max(1, Number(element.dataset.poll) || 2);
}

function schedule(every, failures) {
  const wait = Math.min(SLOWEST, every * 2 ** failures);
  setTimeout(() => tick(every, failures), wait * 1000);
}

async function tick(every, failures) {
  if (document.hidden) {
    document.addEventListener("visibilitychange", () => tick(every, failures), { once: true });
    return;
  }
  let next;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
    if (answer.redirected || answer.status === 401) return location.reload(); // signed out meanwhile
    if (!answer.ok) throw new Error(String(answer.status));
    next = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return schedule(every, failures + 1);
  }
  for (const old of document.querySelectorAll("[data-live][id]")) {
    const fresh = next.getElementById(old.id);
    if (fresh && fresh.outerHTML !== shown.get(old.id)) swap(old, fresh);
  }
  const asking = next.querySelector("[data-poll]");
  if (asking) schedule(seconds(asking), 0);
}

// Swaps the content, keeping what the reader has opened and where the focus is.
function swap(old, fresh) {
  const html = fresh.outerHTML;
  const focus = old.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  for (const opened of old.querySelectorAll("details[open][id]")) {
    fresh.querySelector(`#${CSS.escape(opened.id)}`)?.setAttribute("open", "");
  }
  const scrolled = [...old.querySelectorAll(".scroll")].map((element) => element.scrollLeft);
  old.replaceChildren(...fresh.childNodes);
  shown.set(old.id, html);
  old.querySelectorAll(".scroll").forEach((element, i) => { element.scrollLeft = scrolled[i] ?? 0; });
  if (focus) [...old.querySelectorAll("a, button, input, select, summary, [tabindex]")].find((e) => keyOf(e) === focus)?.focus();
}

function keyOf(element) {
  return element.id || `${element.tagName} ${element.getAttribute("href") ?? element.textContent.trim()}`;
}
