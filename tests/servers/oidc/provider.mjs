// An identity provider for tests: oidc-provider, certified by the OpenID Foundation, with two doors of
// its own. `PUT /accounts/<subject>` says who a person is; the person who signs in is the one of the
// parameter `login_hint`. With `forge` an account's ID tokens are changed on their way out, as somebody
// who wants to be somebody else would change them:
//   {"claims": {...}, "sign": "own"}    signed by the provider's own key; null takes a claim out
//   {"claims": {...}, "sign": "other"}  by a key that is not the provider's, under the same name
//   {"claims": {...}, "sign": "keep"}   the signature stays as it was
//   {"claims": {...}, "sign": "none"}   `alg: none`
//   {"claims": {...}, "sign": "hmac"}   HS256 with the public key
// Settings: PORT, REDIRECT_URI, CLIENT_ID, CLIENT_SECRET; TLS_CERT and TLS_KEY for https.

import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

import * as jose from 'jose';
import Provider from 'oidc-provider';

const { PORT, REDIRECT_URI, CLIENT_ID, CLIENT_SECRET, TLS_CERT, TLS_KEY } = process.env;
const issuer = `${TLS_CERT ? 'https' : 'http'}://127.0.0.1:${PORT}`;

const newKey = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const asJwk = (key, kid) => ({ ...key.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' });
const own = newKey();
const other = newKey();

const accounts = new Map();

const provider = new Provider(issuer, {
  clients: [{
    client_id: CLIENT_ID,
    client_secret: CLIENT_SECRET,
    redirect_uris: [REDIRECT_URI],
    response_types: ['code'],
    grant_types: ['authorization_code'],
  }],
  jwks: { keys: [asJwk(own, `key-${Date.now()}`)] },
  cookies: { keys: ['only for tests'] },
  scopes: ['openid', 'profile', 'groups'],
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups', 'realm_access'] },
  // The claims are in the ID token, and not at `userinfo` alone.
  conformIdTokenClaims: false,
  pkce: { required: () => true, methods: ['S256'] },
  features: { devInteractions: { enabled: false }, userinfo: { enabled: true } },
  interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
  findAccount: (_, sub) => accounts.has(sub) && ({
    accountId: sub,
    claims: () => ({ sub, ...accounts.get(sub).claims }),
  }),
  // Nobody is asked whether the engine may know.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid profile groups');
    await grant.save();
    return grant;
  },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
});

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

async function forged(token, { claims = {}, sign }) {
  const [head, body, signature] = token.split('.');
  const changed = { ...JSON.parse(Buffer.from(body, 'base64url')), ...claims };
  for (const [name, value] of Object.entries(changed)) if (value === null) delete changed[name];
  const header = JSON.parse(Buffer.from(head, 'base64url'));
  const signed = (alg, key) => new jose.SignJWT(changed).setProtectedHeader({ ...header, alg }).sign(key);
  switch (sign) {
    case 'own': return signed('RS256', own);
    case 'other': return signed('RS256', other);
    case 'keep': return `${head}.${base64(changed)}.${signature}`;
    case 'none': return `${base64({ ...header, alg: 'none' })}.${base64(changed)}.`;
    case 'hmac': {
      const pem = createPublicKey(own).export({ type: 'spki', format: 'pem' });
      return signed('HS256', new TextEncoder().encode(pem));
    }
    default: throw new Error(`forge: there is no way to sign \`${sign}\``);
  }
}

provider.use(async (ctx, next) => {
  await next();
  if (ctx.oidc?.route !== 'token' || !ctx.body?.id_token) return;
  const { sub } = jose.decodeJwt(ctx.body.id_token);
  const forge = accounts.get(sub)?.forge;
  if (forge) ctx.body = { ...ctx.body, id_token: await forged(ctx.body.id_token, forge) };
});

async function signIn(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  const result = accounts.has(params.login_hint)
    ? { login: { accountId: params.login_hint } }
    : { error: 'access_denied', error_description: 'nobody of this name is here' };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

async function setAccount(request, response) {
  let text = '';
  for await (const chunk of request) text += chunk;
  accounts.set(decodeURIComponent(request.url.slice('/accounts/'.length)), JSON.parse(text));
  response.writeHead(204).end();
}

const callback = provider.callback();
async function answer(request, response) {
  try {
    if (request.url.startsWith('/sign-in/')) await signIn(request, response);
    else if (request.method === 'PUT' && request.url.startsWith('/accounts/')) await setAccount(request, response);
    else await callback(request, response);
  } catch (error) {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  }
}

const server = TLS_CERT
  ? https.createServer({ cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY) }, answer)
  : http.createServer(answer);
server.listen(Number(PORT), '127.0.0.1');
