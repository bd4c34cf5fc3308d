// An authorization server for tests: npm oidc-provider at Microsoft's paths, with its own pages to log in and to consent.
// Arguments: the folder node_modules, and the settings as JSON (see oidc.py).
const [modules, text] = process.argv.slice(2);
const { Provider } = await import(`${modules}/oidc-provider/lib/index.js`);
const settings = JSON.parse(text);
const grants = new Set();
const counts = { code: 0, refresh: 0, refused: 0 };

const provider = new Provider(settings.issuer, {
  clients: [
    {
      client_id: settings.client,
      client_secret: settings.secret,
      redirect_uris: settings.redirects,
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "client_secret_post",
    },
    {
      client_id: "dovecot",
      client_secret: settings.introspection,
      redirect_uris: [],
      grant_types: [],
      response_types: [],
      token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  scopes: ["openid", "offline_access", "email", settings.scope],
  claims: { email: ["email"] },
  conformIdTokenClaims: false, // the id token names the mailbox, as Microsoft's and Google's do
  features: {
    devInteractions: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
  },
  routes: {
    authorization: "/organizations/oauth2/v2.0/authorize",
    token: "/organizations/oauth2/v2.0/token",
    introspection: "/token/introspection",
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  ttl: { AccessToken: settings.lifetime, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 3600, IdToken: 600 },
  findAccount: async (_context, id) => ({ accountId: id, claims: async () => ({ sub: id, email: id }) }),
});

provider.on("grant.success", (context) => {
  counts[context.oidc.params.grant_type === "refresh_token" ? "refresh" : "code"] += 1;
  grants.add(context.oidc.entities.Grant.jti);
});
provider.on("grant.error", () => { counts.refused += 1; });

// What a person does at the account page of a provider: withdraw every consent. And what the tests count.
provider.use(async (context, next) => {
  if (context.path === "/withdraw") {
    for (const id of grants) {
      await Promise.all([provider.AccessToken, provider.RefreshToken].map((kind) => kind.revokeByGrantId(id)));
      const grant = await provider.Grant.find(id);
      if (grant) await grant.destroy();
    }
    context.type = "html";
    context.body = '<!doctype html><html lang="en"><title>Withdrawn</title><h1>Every permission is withdrawn</h1></html>';
  } else if (context.path === "/counts") {
    context.body = counts;
  } else {
    // Microsoft's way to ask which account is meant. This server asks for the log-in, and gives offline_access with consent only.
    if (context.query.prompt === "select_account") context.query = { ...context.query, prompt: "login consent" };
    await next();
  }
});
provider.listen(settings.port, "127.0.0.1");
