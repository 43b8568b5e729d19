// A receiver of Cairn's webhooks, without any library: docs/webhooks.md goes through it.
//
//   SECRET=whsec_… node receiver.mjs PORT
//
// It prints each event once, and answers 401 to what Cairn has not signed.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

// signed tells whether a request is of who has the secret, and not an old one that somebody sends again: Standard Webhooks.
function signed(headers, body, secret, now = Date.now() / 1000) {
  const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': given = '' } = headers;
  if (!id || !(Math.abs(now - time) < 300)) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const want = createHmac('sha256', key).update(`${id}.${time}.`).update(body).digest();
  return given.split(' ').some((one) => { // one for each secret that is good now
    const [version, value = ''] = one.split(',');
    const got = Buffer.from(value, 'base64');
    return version === 'v1' && got.length === want.length && timingSafeEqual(got, want);
  });
}

const seen = new Set(); // keep it where you keep what you do with the events, and write both in one transaction

createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts); // as it came: JSON that was read and written again is signed otherwise
  if (!signed(request.headers, body, process.env.SECRET)) return response.writeHead(401).end('not signed');
  const event = JSON.parse(body);
  if (!seen.has(event.id)) console.log(event.type, event.subject, `revision ${event.revision}`);
  seen.add(event.id);
  response.writeHead(204).end();
}).listen(Number(process.argv[2]), '127.0.0.1');
