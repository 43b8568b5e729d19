// A hospital's EHR, and the system of the nonprofit that answers it, on Cairn's FHIR API with the client library
// fhir-kit-client. docs/hospitals.md goes through it; the end-to-end tests run it.
//
//   node loop.mjs refer              sends a referral and prints its id
//   node loop.mjs receive ID         takes it on, sets a session and reports what came of it
//   node loop.mjs follow ID SINCE    polls until the referral has ended, and prints each change
//
// FHIR_URL is the API's address. TOKEN is an access token; or CLIENT_ID, KEY (a file with a private RSA key, PEM) and KID
// get one. GROUP is the id of the HealthcareService to refer to.
import { createSign, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'fhir-kit-client';

const cairn = 'https://cairn.care/fhir';
const concept = (system, code) => ({ coding: [{ system, code }] });

// connect returns a client that holds a token: SMART Backend Services, a signed statement for an access token.
async function connect({ FHIR_URL, TOKEN, CLIENT_ID, KEY, KID }, scope) {
  const client = new Client({ baseUrl: FHIR_URL });
  if (TOKEN) {
    client.bearerToken = TOKEN;
    return client;
  }
  const { tokenUrl } = await client.smartAuthMetadata();
  const part = (json) => Buffer.from(JSON.stringify(json)).toString('base64url');
  const statement = `${part({ alg: 'RS384', typ: 'JWT', kid: KID })}.${part({
    iss: CLIENT_ID, sub: CLIENT_ID, aud: tokenUrl.href, exp: Math.floor(Date.now() / 1000) + 60, jti: randomUUID(),
  })}`;
  const signature = createSign('RSA-SHA384').update(statement).sign(readFileSync(KEY), 'base64url');
  const answer = await fetch(tokenUrl, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials', scope,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: `${statement}.${signature}`,
    }),
  });
  const token = await answer.json();
  if (!answer.ok) throw new Error(`no token: ${token.error}, ${token.error_description}`);
  client.bearerToken = token.access_token;
  return client;
}

// refer sends one transaction: the patient, unless she is there, her consent, the request, and the task for the group's owner.
async function refer(client, group, mrn) {
  const [patient, consent, request] = [1, 2, 3].map(() => `urn:uuid:${randomUUID()}`);
  const post = (fullUrl, resource, more) => ({ fullUrl, resource, request: { method: 'POST', url: resource.resourceType, ...more } });
  const answer = await client.transaction({
    body: {
      resourceType: 'Bundle',
      type: 'transaction',
      entry: [
        post(patient, {
          resourceType: 'Patient',
          identifier: [{ system: 'urn:example:mrn', value: mrn }],
          name: [{ family: 'Example', given: ['Luz'] }],
          gender: 'female',
          telecom: [{ system: 'phone', value: '+17135550143', rank: 1 }],
          communication: [{ language: concept('urn:ietf:bcp:47', 'es'), preferred: true }],
        }, { ifNoneExist: `identifier=urn:example:mrn|${mrn}` }),
        post(consent, {
          resourceType: 'Consent',
          status: 'active',
          scope: concept('http://terminology.hl7.org/CodeSystem/consentscope', 'patient-privacy'),
          category: [concept('http://terminology.hl7.org/CodeSystem/v3-ActCode', 'IDSCL')],
          policyRule: concept('http://terminology.hl7.org/CodeSystem/v3-ActCode', 'OPTIN'),
          patient: { reference: patient },
          dateTime: new Date(Date.now() - 60_000).toISOString(),
          sourceAttachment: { title: 'Consent form 2027-12, kept in the EHR' },
          provision: { type: 'permit', code: ['name', 'contact', 'clinical'].map((c) => concept(`${cairn}/CodeSystem/consent-item`, c)) },
        }),
        post(request, {
          resourceType: 'ServiceRequest',
          status: 'active',
          intent: 'order',
          priority: 'routine',
          code: concept('http://snomed.info/sct', '711281004'),
          orderDetail: [concept('urn:ietf:bcp:47', 'es'), concept(`${cairn}/CodeSystem/care-phase`, 'after-treatment')],
          subject: { reference: patient },
          requester: { display: 'Survivorship clinic, nurse navigator' },
          performer: [{ reference: `HealthcareService/${group}` }],
          reasonCode: [concept('http://hl7.org/fhir/sid/icd-10-cm', 'Z85.3')],
          supportingInfo: [{ reference: consent }],
          extension: [{ url: `${cairn}/StructureDefinition/distress`, valueInteger: 5 }],
        }),
        post(`urn:uuid:${randomUUID()}`, {
          resourceType: 'Task',
          status: 'requested',
          intent: 'order',
          code: concept('http://hl7.org/fhir/CodeSystem/task-code', 'fulfill'),
          focus: { reference: request },
          for: { reference: patient },
          authoredOn: new Date().toISOString(),
          owner: { reference: `HealthcareService/${group}` },
        }),
      ],
    },
  });
  return answer.entry[3].response.location.match(/Task\/([^/]+)/)[1];
}

// receive finds the task among those that wait, with the request and the person as far as she allows, and works on it.
async function receive(client, id) {
  const waiting = await client.search({
    resourceType: 'Task', searchParams: { _id: id, status: 'requested', _include: ['Task:focus', 'Task:patient'] },
  });
  const one = (type) => waiting.entry.map((e) => e.resource).find((r) => r.resourceType === type);
  const [person, reason] = [one('Patient'), one('ServiceRequest').reasonCode[0].coding[0].code];
  console.log(`asked to help ${person.name[0].text} (${reason}), phone ${person.telecom[0].value}`);

  // Each change is made to what was read last (If-Match), so that nobody's change is lost.
  const move = async (change) => {
    const task = await client.read({ resourceType: 'Task', id });
    return client.update({
      resourceType: 'Task', id, body: { ...task, ...change }, options: { headers: { 'If-Match': `W/"${task.meta.versionId}"` } },
    });
  };
  const output = (code, value) => ({ type: concept(`${cairn}/CodeSystem/task-output`, code), ...value });
  await move({ status: 'accepted' });
  await move({ status: 'in-progress', output: [output('session-time', { valueDateTime: new Date(Date.now() + 2 * 86_400_000).toISOString() })] });
  await move({
    status: 'completed',
    output: [
      output('helped', { valueCodeableConcept: concept(`${cairn}/CodeSystem/helped`, 'yes') }),
      output('distress-after', { valueInteger: 2 }),
      output('note', { valueString: 'She will come again.' }),
    ],
  });
}

// follow asks what has changed since the last answer, until the task has ended.
async function follow(client, id, since) {
  for (;;) {
    const changed = await client.search({ resourceType: 'Task', searchParams: { _id: id, _lastUpdated: `gt${since}`, _sort: '_lastUpdated' } });
    for (const { resource: task } of changed.entry ?? []) {
      since = task.meta.lastUpdated;
      console.log(task.status);
      if (!['completed', 'rejected', 'cancelled', 'failed'].includes(task.status)) continue;
      const history = await client.history({ resourceType: 'Task', id });
      console.log(`it was ${history.entry.map((e) => e.resource.status).reverse().join(', ')}`);
      const note = task.output?.find((o) => o.type.coding[0].code === 'note');
      if (note) console.log(note.valueString);
      return;
    }
    await sleep(500);
  }
}

const [role, id, since] = process.argv.slice(2);
const client = await connect(process.env, 'system/*.cruds');
switch (role) {
  case 'refer':
    console.log(await refer(client, process.env.GROUP, process.env.MRN ?? randomUUID()));
    break;
  case 'receive':
    await receive(client, id);
    break;
  case 'follow':
    await follow(client, id, since ?? '1970-01-01T00:00:00Z');
    break;
  default:
    throw new Error('say refer, receive ID or follow ID');
}
