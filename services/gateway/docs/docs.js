// Draws the reference page from /openapi.json. Nothing is loaded from elsewhere.
'use strict';

const $ = (id) => document.getElementById(id);

// el makes an element; children are nodes or texts.
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

// inline turns `code` and **bold** into elements.
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).filter(Boolean).map((part) => {
    if (part.startsWith('`')) return el('code', {}, part.slice(1, -1));
    if (part.startsWith('**')) return el('strong', {}, part.slice(2, -2));
    return part;
  });
}

// prose turns paragraphs and lists into elements.
function prose(text) {
  const out = [];
  for (const block of (text || '').split(/\n\n+/)) {
    const lines = block.trim().split('\n');
    if (lines[0] === '') continue;
    if (lines.every((l) => l.startsWith('- '))) {
      out.push(el('ul', {}, ...lines.map((l) => el('li', {}, ...inline(l.slice(2))))));
    } else {
      out.push(el('p', {}, ...inline(lines.join(' '))));
    }
  }
  return out;
}

function copyable(text) {
  const code = el('code', {}, text);
  const button = el('button', { type: 'button' }, 'Copy');
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  return el('div', { class: 'copyable' }, el('pre', { tabindex: '0' }, code), button);
}

let api;
const examples = {}; // path parameters that exist on this server, by name

function deref(object) {
  if (!object || !object.$ref) return object;
  const target = object.$ref.slice(2).split('/').reduce((o, key) => o[key], api);
  const { $ref, ...own } = object;
  return { ...target, ...own };
}

const refName = (schema) => (schema && schema.$ref ? schema.$ref.split('/').pop() : '');

// typeOf says a schema's type in a few words.
function typeOf(schema) {
  const s = deref(schema);
  if (s.type === 'array') return 'list of ' + typeOf(s.items);
  if (s.enum) return refName(schema) || 'enum';
  if (refName(schema)) return refName(schema);
  const bounds = [];
  if (s.minLength !== undefined || s.maxLength !== undefined) bounds.push(s.maxLength === undefined ? `at least ${s.minLength} characters` : `${s.minLength || 0} to ${s.maxLength} characters`);
  if (s.minimum !== undefined || s.maximum !== undefined) bounds.push(`${s.minimum === undefined ? '' : s.minimum} … ${s.maximum === undefined ? '' : s.maximum}`.trim());
  return [(s.type || 'any') + (s.format ? ` (${s.format})` : ''), ...bounds].join(', ');
}

// choices lists an enum's values.
function choices(schema) {
  const s = deref(schema);
  const list = s.type === 'array' ? deref(s.items) : s;
  if (!list.enum) return null;
  return el('details', {}, el('summary', {}, `${list.enum.length} values`), ...prose(list.description || list.enum.map((v) => `- \`${v}\``).join('\n')));
}

// fields draws an object's members; nested objects open on demand.
function fields(schema, sent) {
  const s = deref(schema);
  const required = new Set(s.required || []);
  const rows = Object.entries(s.properties || {}).filter(([, p]) => !(sent && p.readOnly)).map(([name, property]) => {
    const inner = deref(property.type === 'array' ? property.items : property);
    const cell = el('td', {}, ...prose(property.description || inner.description));
    const list = choices(property);
    if (list) cell.append(list);
    if (inner.properties) {
      const nested = el('details', {}, el('summary', {}, `Fields of ${refName(property.type === 'array' ? property.items : property) || name}`));
      nested.addEventListener('toggle', () => { if (nested.open && nested.children.length === 1) nested.append(fields(inner, sent)); });
      cell.append(nested);
    }
    return el('tr', {},
      el('td', {}, el('code', {}, name), required.has(name) ? el('span', { class: 'required' }, ' required') : null, el('div', { class: 'type' }, typeOf(property))),
      cell);
  });
  if (!rows.length) return el('p', {}, 'No fields.');
  return el('table', {}, el('thead', {}, el('tr', {}, el('th', {}, 'Field'), el('th', {}, 'Meaning'))), el('tbody', {}, ...rows));
}

const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// curl writes the command that calls the operation with its example.
function curl(verb, path, operation, parameters) {
  let url = path;
  const query = [];
  const headers = [];
  for (const p of parameters) {
    const example = p.in === 'path' && examples[p.name] ? examples[p.name] : p.example;
    if (p.in === 'path') url = url.replace(`{${p.name}}`, encodeURIComponent(example));
    if (p.in === 'query' && example !== undefined) for (const v of [example].flat()) query.push(`${p.name}=${encodeURIComponent(v)}`);
    if (p.name === 'Idempotency-Key') headers.push('"Idempotency-Key: $(uuidgen)"');
  }
  const token = $('token').value.trim();
  if ((operation.security || []).length) headers.unshift(token ? quote(`Authorization: Bearer ${token}`) : '"Authorization: Bearer $TOKEN"');
  const lines = [`curl ${verb === 'get' ? '' : `-X ${verb.toUpperCase()} `}${quote(location.origin + url + (query.length ? `?${query.join('&')}` : ''))}`];
  const content = operation.requestBody && operation.requestBody.content['application/json'];
  if (content) headers.push("'Content-Type: application/json'");
  for (const h of headers) lines.push(`-H ${h}`);
  if (content) lines.push(`-d ${quote(JSON.stringify(content.example, null, 2))}`);
  return lines.join(' \\\n  ');
}

// words makes "Search groups" of "SearchGroups".
const words = (id) => id.replace(/\d+$/, '').replace(/([a-z])([A-Z])/g, (_, a, b) => `${a} ${b.toLowerCase()}`);

const redraw = []; // curl lines to write anew when the token changes

function draw(verb, path, operation) {
  const parameters = (operation.parameters || []).map(deref);
  const article = el('article', { id: operation.operationId },
    el('h3', {}, operation.summary),
    el('p', { class: 'route' }, el('span', { class: `verb ${verb}` }, verb), path),
    ...prose(operation.description));

  if (parameters.length) {
    article.append(el('h4', {}, 'Parameters'), el('table', {}, el('tbody', {}, ...parameters.map((p) => {
      const cell = el('td', {}, ...prose(p.description));
      const list = choices(p.schema);
      if (list) cell.append(list);
      return el('tr', {},
        el('td', {}, el('code', {}, p.name), p.required ? el('span', { class: 'required' }, ' required') : null, el('div', { class: 'type' }, `${p.in}, ${typeOf(p.schema)}`)),
        cell);
    }))));
  }
  const content = operation.requestBody && operation.requestBody.content['application/json'];
  if (content) {
    article.append(el('h4', {}, 'Body'), el('details', {}, el('summary', {}, 'Fields'), fields(content.schema, true)));
  }
  const line = copyable('');
  const write = () => { line.querySelector('code').textContent = curl(verb, path, operation, parameters); };
  redraw.push(write);
  write();
  article.append(el('h4', {}, 'Example'), line);

  const ok = operation.responses['200'].content['application/json'];
  const example = deref(Object.values(ok.examples || {})[0] || {}).value;
  article.append(el('h4', {}, 'Answer'), ...prose(operation.responses['200'].description),
    el('details', {}, el('summary', {}, 'Example'), copyable(JSON.stringify(example, null, 2))),
    el('details', {}, el('summary', {}, 'Fields'), fields(ok.schema, false)));
  const errors = Object.entries(operation.responses).filter(([code]) => code !== '200');
  article.append(el('details', {}, el('summary', {}, 'Other answers'),
    el('table', {}, el('tbody', {}, ...errors.map(([code, response]) => {
      const r = deref(response);
      const body = r.content && r.content['application/json'].example;
      return el('tr', {}, el('td', {}, el('code', {}, code)), el('td', {}, ...prose(r.description), body ? copyable(JSON.stringify(body, null, 2)) : null));
    })))));
  return article;
}

// lookUp finds a group that exists here, so that its examples can be pasted.
async function lookUp() {
  try {
    const answer = await fetch('/v1/groups:search?pageSize=1');
    const found = JSON.stringify(await answer.json()).match(/"groups\/([0-9a-f-]{36})"/);
    if (found) examples.group = found[1];
  } catch {
    return; // the examples stay as they are
  }
}

async function main() {
  const answer = await fetch('/openapi.json');
  if (!answer.ok) throw new Error(`/openapi.json: ${answer.status}`);
  api = await answer.json();
  await lookUp();
  $('introduction').append(el('h2', {}, api.info.title), el('p', {}, api.info.summary), ...prose(api.info.description),
    el('p', {}, 'The description itself, for tools: ', el('a', { href: '/openapi.json' }, '/openapi.json'), '.'));
  const byTag = new Map(api.tags.map((t) => [t.name, { tag: t, operations: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [verb, operation] of Object.entries(item)) byTag.get(operation.tags[0]).operations.push([verb, path, operation]);
  }
  const sections = [];
  for (const { tag, operations } of byTag.values()) {
    sections.push(el('section', {}, el('h2', { id: tag.name }, tag.name), ...prose(tag.description), ...operations.map((o) => draw(...o))));
    $('index').append(el('section', {}, el('h2', {}, tag.name), el('ul', {}, ...operations.map(([verb, path, operation]) =>
      el('li', { 'data-find': `${operation.summary} ${operation.operationId} ${verb} ${path}`.toLowerCase() },
        el('a', { href: `#${operation.operationId}`, title: operation.summary }, el('span', { class: `verb ${verb}` }, verb), words(operation.operationId)))))));
  }
  $('operations').replaceChildren(...sections);
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();

  $('token').addEventListener('input', () => redraw.forEach((write) => write()));
  $('filter').addEventListener('input', () => {
    const wanted = $('filter').value.trim().toLowerCase();
    for (const item of document.querySelectorAll('#index li')) item.hidden = !item.dataset.find.includes(wanted);
    for (const section of document.querySelectorAll('#index section')) section.hidden = !section.querySelector('li:not([hidden])');
  });
}

main().catch((error) => {
  $('operations').replaceChildren(el('p', { role: 'alert' }, `The description cannot be shown: ${error.message}`));
});
