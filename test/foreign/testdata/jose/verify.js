// Verifies every token of a file with the npm library jose, as a resource server
// does that knows the issuer by its key set alone. It prints how many it took and
// how many it refused.
import { readFileSync } from 'node:fs'
import { createLocalJWKSet, jwtVerify } from 'jose'

const { issuer, keys, tokens } = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const find = createLocalJWKSet(keys)
let taken = 0
let refused = 0
for (const { token, audience } of tokens) {
  try {
    const { payload } = await jwtVerify(token, find, {
      issuer, audience, requiredClaims: ['exp', 'iat', 'nbf', 'jti', 'sub'],
    })
    if (!payload.sub.startsWith('system:serviceaccount:')) throw new Error('another subject')
    taken++
  } catch (err) {
    refused++
  }
}
console.log(JSON.stringify({ taken, refused }))
