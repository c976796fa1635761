// A link with data-confirm leads to a page that asks. Here the same question is shown in a dialog: the page is
// fetched, its [data-question] is taken, and its form posts as it would have there.

export function confirmInPlace() {
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-confirm]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    try {
      const answer = await fetch(link.href, { headers: { accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const question = answer.ok && !answer.redirected && page.querySelector("[data-question]");
      if (!question) throw new Error("no question there");
      ask(question, link);
    } catch {
      location.assign(link.href);
    }
  });
}

function ask(question, link) {
  const dialog = document.createElement("dialog");
  dialog.append(document.importNode(question, true));
  const title = dialog.querySelector("h2");
  if (title) {
    title.id = "question-title";
    dialog.setAttribute("aria-labelledby", title.id);
  }
  dialog.querySelectorAll("[data-dismiss]").forEach((element) => {
    element.addEventListener("click", (event) => { event.preventDefault(); dialog.close(); });
  });
  dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("a[data-dismiss]")?.focus(); // not the deed
}
