// Security keys: the browser alone can ask one. A form with data-key="make" or "use" fetches what the browser needs
// from data-options, asks the key, puts its answer into the form's hidden fields, and is sent as any form.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(Array.from(new Uint8Array(buffer), (b) => String.fromCharCode(b)).join(""))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const listed = (keys) => keys.map((key) => ({ ...key, id: bytes(key.id) }));

async function options(path) {
  const headers = { accept: "application/json", "content-type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: "{}" });
  const said = await answer.json();
  if (answer.ok) return { ...said, challenge: bytes(said.challenge) };
  if (said.type?.endsWith("prove") || answer.status === 401) location.reload();
  throw new Error(said.detail ?? said.title);
}

async function make(path) {
  const asked = await options(path);
  asked.user.id = bytes(asked.user.id);
  asked.excludeCredentials = listed(asked.excludeCredentials);
  const { response } = await navigator.credentials.create({ publicKey: asked });
  return {
    client_data: text(response.clientDataJSON),
    attestation: text(response.attestationObject),
    transports: (response.getTransports?.() ?? []).join(","),
  };
}

async function use(path) {
  const asked = await options(path);
  asked.allowCredentials = listed(asked.allowCredentials);
  const { rawId, response } = await navigator.credentials.get({ publicKey: asked });
  return {
    id: text(rawId),
    client_data: text(response.clientDataJSON),
    authenticator_data: text(response.authenticatorData),
    signature: text(response.signature),
    user_handle: response.userHandle ? text(response.userHandle) : "",
  };
}

const words = {
  NotAllowedError: "The key was not used: it was cancelled, took too long, or none here knows this site.",
  InvalidStateError: "This key is added already.",
  SecurityError: "The browser takes no security keys here: the site needs a name, and a certificate that it trusts.",
};

export function securityKeys() {
  for (const form of document.querySelectorAll("form[data-key]")) {
    const said = form.querySelector("[data-key-says]");
    const say = (line) => {
      said.textContent = line;
      said.hidden = !line;
    };
    if (!window.PublicKeyCredential) {
      say("This browser takes no security keys here: it needs a site that it trusts.");
      continue;
    }
    form.querySelector("button").disabled = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      say("");
      try {
        const ask = form.dataset.key === "make" ? make : use;
        for (const [name, value] of Object.entries(await ask(form.dataset.options))) form.elements[name].value = value;
        form.submit();
      } catch (error) {
        say(words[error.name] ?? error.message);
      }
    });
  }
}
