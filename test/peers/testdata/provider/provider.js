// An OpenID provider that lets anybody in as whoever he says he is, of the group
// dev: `node provider.js SETTINGS`. On SIGHUP it reads its keys again, the first
// of which signs.
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

// Debian 12 has Node.js 18, which lacks these two.
globalThis.crypto ??= webcrypto;
URL.parse ??= (url, base) => (URL.canParse(url, base) ? new URL(url, base) : null);
const { default: Provider } = await import('oidc-provider');

const settings = JSON.parse(readFileSync(process.argv[2]));

const robots = {
  scope: 'all',
  audience: 'kubernetes',
  accessTokenFormat: 'jwt',
  accessTokenTTL: 600,
  jwt: { sign: { alg: 'ES256' } },
};

function answer() {
  const provider = new Provider(settings.issuer, {
    jwks: JSON.parse(readFileSync(settings.keys)),
    cookies: { keys: ['of a test'] },
    clients: [
      {
        client_id: 'kubernetes',
        client_secret: 's3cret',
        grant_types: ['authorization_code'],
        response_types: ['code'],
        redirect_uris: ['https://client.example.org/callback'],
      },
      {
        client_id: 'robot',
        client_secret: 's3cret',
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
      },
    ],
    claims: { openid: ['sub'], groups: ['groups'] },
    conformIdTokenClaims: false,
    async findAccount(ctx, id) {
      return { accountId: id, async claims() { return { sub: id, groups: ['dev'] }; } };
    },
    pkce: { required: () => false },
    features: {
      devInteractions: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: async () => 'https://kubernetes.example.org',
        useGrantedResource: async () => true,
        getResourceServerInfo: async () => robots,
      },
    },
  });
  provider.on('server_error', (ctx, err) => console.log(err));
  return provider.callback();
}

let current = answer();
process.on('SIGHUP', () => { current = answer(); console.log('keys read'); });
process.on('SIGTERM', () => process.exit());
createServer(
  { cert: readFileSync(settings.cert), key: readFileSync(settings.key) },
  (request, response) => current(request, response),
).listen(settings.port, '127.0.0.1');
