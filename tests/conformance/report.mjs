// Reads what the conformance suite wrote: one folder for every revision, one folder in it for every scenario.
//
//   node report.mjs baseline RESULTS                          prints a baseline; fails when a scenario does
//   node report.mjs compare RESULTS BASELINE KNOWN_LOST       says what was lost against a baseline
//   node report.mjs crossings RESULTS BASELINE CROSSINGS      the same for one more level of folders: the server's era
//
// A scenario is lost when fewer of its checks pass than in the baseline, or more fail or warn. Comparing fails
// when one is lost that KNOWN_LOST does not name, when one that it names is not lost (any more), and when fewer
// checks of it pass than stands there. CROSSINGS is exact: neither fewer checks may pass, fail or warn than stands
// there, nor more.

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Scenarios of an extension that the SDK of our server does not have. */
const LEFT_OUT = /^tasks-/;
const MAX_REASONS = 3;
const MAX_REASON_LENGTH = 200;

const [task, folder, baselineFile, expectedFile] = process.argv.slice(2);

function resultOf(root, revision, name) {
  const checks = JSON.parse(readFileSync(join(root, revision, name, 'checks.json'), 'utf8'));
  const having = (status) => checks.filter((check) => check.status === status);
  return {
    key: `${revision}\t${name.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '')}`,
    passed: having('SUCCESS').length,
    failed: having('FAILURE').length,
    warned: having('WARNING').length,
    reasons: [...having('FAILURE'), ...having('WARNING')].map((check) => `${check.id}: ${check.errorMessage ?? ''}`),
  };
}

function results(root = folder) {
  const found = readdirSync(root).sort().flatMap((revision) =>
    readdirSync(join(root, revision)).sort().map((name) => resultOf(root, revision, name)));
  return found.filter(({ key }) => !LEFT_OUT.test(key.split('\t')[1]));
}

/** The lines of a file of ours, without comments, as columns. */
function table(file) {
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.split('\t'));
}

function writeBaseline() {
  const found = results();
  console.log('# What each scenario of the conformance suite gives without a gateway. Made by `scripts/conformance direct`.');
  console.log('# revision\tscenario\tchecks passed\tfailed\twarned');
  for (const { key, passed, failed, warned } of found) console.log([key, passed, failed, warned].join('\t'));
  const failing = found.filter(({ failed }) => failed > 0);
  for (const { key, reasons } of failing) console.error(`FAILED  ${key.replace('\t', ' ')}: ${reasons.join('; ')}`);
  return found.length > 0 && failing.length === 0;
}

const isLost = (before, now) =>
  now === undefined || now.passed < before.passed || now.failed > before.failed || now.warned > before.warned;

function describe(now) {
  if (now === undefined) return ['did not run'];
  const counts = `${now.passed} checks passed, ${now.failed} failed, ${now.warned} warned`;
  const reasons = now.reasons.slice(0, MAX_REASONS).map((reason) => reason.slice(0, MAX_REASON_LENGTH));
  return [counts, ...reasons];
}

function readBaseline() {
  const rows = table(baselineFile).map(([revision, scenario, passed, failed, warned]) =>
    [`${revision}\t${scenario}`, { passed: Number(passed), failed: Number(failed), warned: Number(warned) }]);
  return new Map(rows);
}

function readKnownLost() {
  const rows = table(expectedFile).map(([revision, scenario, passed, reason]) =>
    [`${revision}\t${scenario}`, { passed: Number(passed), reason }]);
  return new Map(rows);
}

/** What is not true in a line of known_lost.tsv; nothing, as a rule. */
function fault({ passed, reason }, before, now, isLost) {
  if (before === undefined) return 'is not in the baseline; take it out of known_lost.tsv';
  if (!isLost) return 'is not lost any more; take it out of known_lost.tsv';
  if (!reason) return 'has no reason in known_lost.tsv';
  if (!(now?.passed >= passed)) return `had ${passed} checks passed according to known_lost.tsv, now ${describe(now).join('; ')}`;
  return undefined;
}

function compare() {
  const found = new Map(results().map((result) => [result.key, result]));
  const baseline = readBaseline();
  const known = readKnownLost();
  const lost = new Set([...baseline.keys()].filter((key) => isLost(baseline.get(key), found.get(key))));
  let isAsKnown = true;
  for (const key of new Set([...lost, ...known.keys()])) {
    const name = key.replace('\t', ' ');
    const line = known.get(key);
    const wrong = line && fault(line, baseline.get(key), found.get(key), lost.has(key));
    if (line === undefined) console.log(`LOST    ${name}: ${describe(found.get(key)).join('\n          ')}`);
    else if (wrong) console.log(`WRONG   ${name} ${wrong}`);
    else console.log(`known   ${name}: ${line.reason}`);
    isAsKnown &&= line !== undefined && !wrong;
  }
  const failed = [...found.values()].filter((result) => result.failed > 0).length;
  console.log(`conformance: ${found.size - failed} passed, ${failed} failed, ${lost.size} lost`);
  return isAsKnown;
}

/** What was lost by scenario, and what crossings.tsv says of it; true when both are the same. */
function compareCrossings() {
  const baseline = readBaseline();
  const written = new Map(table(expectedFile).map(([era, revision, scenario, passed, failed, warned, reason]) =>
    [`${era}\t${revision}\t${scenario}`, { counts: [passed, failed, warned].map(Number), reason }]));
  const lost = new Map();
  for (const era of readdirSync(folder).sort()) {
    const found = new Map(results(join(folder, era)).map((result) => [result.key, result]));
    const revisions = new Set([...found.keys()].map((key) => key.split('\t')[0]));
    for (const [key, before] of baseline) {
      if (revisions.has(key.split('\t')[0]) && isLost(before, found.get(key))) lost.set(`${era}\t${key}`, found.get(key));
    }
  }
  let isAsWritten = true;
  for (const key of [...new Set([...lost.keys(), ...written.keys()])].sort()) {
    const [line, now, name] = [written.get(key), lost.get(key), key.replaceAll('\t', ' ')];
    const counts = [now?.passed ?? 0, now?.failed ?? 0, now?.warned ?? 0];
    const isTrue = line?.reason && lost.has(key) && line.counts.join() === counts.join();
    if (isTrue) console.log(`known   ${name}: ${line.reason}`);
    else if (line === undefined) console.log(`LOST    ${name}: ${describe(now).join('\n          ')}`);
    else if (!lost.has(key)) console.log(`BETTER  ${name} is not lost (any more); take it out of crossings.tsv`);
    else if (!line.reason) console.log(`WRONG   ${name} has no reason in crossings.tsv`);
    else console.log(`WRONG   ${name} has ${line.counts.join(', ')} in crossings.tsv, now ${describe(now).join('\n          ')}`);
    isAsWritten &&= Boolean(isTrue);
  }
  console.log(`crossings: ${lost.size} lost`);
  return isAsWritten;
}

const tasks = { baseline: writeBaseline, compare, crossings: compareCrossings };
process.exit(tasks[task]() ? 0 : 1);
