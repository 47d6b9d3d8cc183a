/** Keeps a change list of the admin up to date: reloads it when the server has other rows. */

/** Milliseconds between two checks. */
const INTERVAL_MS = 5000;
const ROWS = "#result_list tbody";

/** A reload would lose selected rows and typed text. */
function isBusy() {
  const isTyping = document.activeElement?.matches("input, select, textarea");
  return document.hidden || isTyping || document.querySelector("#changelist input:checked") !== null;
}

/** @param {Document} page */
function rows(page) {
  return page.querySelector(ROWS)?.textContent ?? "";
}

function reloadIfChanged() {
  if (isBusy()) return;
  const request = new XMLHttpRequest();
  request.open("GET", location.href);
  request.responseType = "document";
  request.addEventListener("load", () => {
    const page = request.status === 200 ? request.responseXML : null;
    if (page && !isBusy() && rows(page) !== rows(document)) location.reload();
  });
  request.send();
}

setInterval(reloadIfChanged, INTERVAL_MS);
