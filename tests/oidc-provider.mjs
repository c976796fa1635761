// A real OpenID provider for tests/tests/oidc.rs: npm's oidc-provider behind TLS on loopback.
// node oidc-provider.mjs MODULES PORT FOLDER; in the folder: key.pem, cert.pem, redirect, people.json, mode.
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import { pathToFileURL } from "node:url";

const [modules, port, folder] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${modules}/${name}`).href);
const { Provider } = await load("oidc-provider/lib/index.js");
const { SignJWT, decodeJwt, importJWK } = await load("jose/dist/webapi/index.js");
const file = (name) => readFileSync(`${folder}/${name}`, "utf8").trim();

const key = { ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }), alg: "RS256", kid: "one", use: "sig" };
const redirect = file("redirect");
const provider = new Provider(`https://localhost:${port}`, {
  clients: [{
    client_id: "portolan",
    client_secret: "the-secret-of-the-client",
    redirect_uris: [redirect],
    post_logout_redirect_uris: [new URL("/sign-in", redirect).href],
  }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "preferred_username", "groups"] },
  conformIdTokenClaims: false,
  cookies: { keys: ["a key for tests"] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...JSON.parse(file("people.json"))[id] }) }),
  jwks: { keys: [key] },
  features: {
    rpInitiatedLogout: {
      enabled: true,
      // Who comes with a token of their own session is signed out without a question, as other providers do.
      logoutSource: (ctx, form) => {
        const known = ctx.oidc.entities.IdTokenHint?.payload.sub === ctx.oidc.session.accountId;
        const go = '<script>document.forms[0].insertAdjacentHTML("beforeend", \'<input name="logout" value="yes">\'); document.forms[0].submit()</script>';
        ctx.body = `<!doctype html><body>${form}${known ? go : "Do you want to sign out?"}</body>`;
      },
    },
  },
  pkce: { required: () => true },
});
// What no honest provider does: a token that it signed for someone else, or of a sign-in that was long ago.
const lies = {
  "wrong-audience": () => ({ aud: "someone-else" }),
  "wrong-issuer": () => ({ iss: "https://someone-else.test" }),
  "wrong-nonce": () => ({ nonce: "of another sign-in" }),
  stale: (claims) => ({ auth_time: claims.auth_time - 3600 }),
  silent: () => ({ auth_time: undefined }),
};
let code;
provider.use(async (ctx, next) => {
  await next();
  if (ctx.oidc?.route === "token" && ctx.body?.id_token && lies[file("mode")]) {
    const said = decodeJwt(ctx.body.id_token);
    const claims = { ...said, ...lies[file("mode")](said) };
    ctx.body.id_token = await new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "one" }).sign(await importJWK(key, "RS256"));
  }
  let to = ctx.response.get("location") ?? "";
  if (!to.startsWith(redirect)) return;
  const back = new URL(to);
  if (file("mode") === "used-code") {
    // The state is that of this sign-in, the code that of the one before.
    back.searchParams.set("code", code);
    ctx.set("location", (to = back.href));
  }
  code = back.searchParams.get("code");
  console.log(`back ${to}`);
});
provider.on("end_session.success", () => console.log("ended"));
https.createServer({ key: file("key.pem"), cert: file("cert.pem") }, provider.callback())
  .listen(Number(port), "localhost", () => console.log("ready"));
