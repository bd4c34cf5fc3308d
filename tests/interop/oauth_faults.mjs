// A token endpoint for tests: npm oauth2-mock-server, whose answers to refresh requests a file scripts.
// Arguments: the folder node_modules, the port, and the path of the file: JSON with status and body, or absent.
import { existsSync, readFileSync } from "node:fs";
const [modules, port, script] = process.argv.slice(2);
const { OAuth2Server } = await import(`${modules}/oauth2-mock-server/dist/index.mjs`);
const server = new OAuth2Server();
server.issuer.url = `http://127.0.0.1:${port}`;
await server.issuer.keys.generate("RS256");
server.service.on("beforeTokenSigning", (token) => { token.payload.email = "affiliates@brightleaf.example"; });
server.service.on("beforeResponse", (response) => {
  response.body.scope = "https://mail.google.com/ openid email";
  if (existsSync(script)) {
    const wanted = JSON.parse(readFileSync(script, "utf8"));
    response.statusCode = wanted.status;
    response.body = wanted.body;
  }
});
await server.start(Number(port), "127.0.0.1");
