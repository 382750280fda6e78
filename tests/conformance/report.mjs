// Reads what the conformance suite wrote: one folder for every revision, one folder in it for every scenario.
//
//   node report.mjs baseline RESULTS                          prints a baseline; fails when a scenario does
//   node report.mjs compare RESULTS BASELINE KNOWN_LOST       says what was lost against a baseline
//
// A scenario is lost when fewer of its checks pass than in the baseline, or more fail or warn. Comparing fails
// when one is lost that KNOWN_LOST does not name, and when one that it names is not lost (any more).

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Scenarios of an extension that the SDK of our server does not have. */
const LEFT_OUT = /^tasks-/;
const MAX_REASONS = 3;
const MAX_REASON_LENGTH = 200;

const [task, folder, baselineFile, knownLostFile] = process.argv.slice(2);

function resultOf(revision, name) {
  const checks = JSON.parse(readFileSync(join(folder, revision, name, 'checks.json'), 'utf8'));
  const having = (status) => checks.filter((check) => check.status === status);
  return {
    key: `${revision}\t${name.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '')}`,
    passed: having('SUCCESS').length,
    failed: having('FAILURE').length,
    warned: having('WARNING').length,
    reasons: [...having('FAILURE'), ...having('WARNING')].map((check) => `${check.id}: ${check.errorMessage ?? ''}`),
  };
}

function results() {
  const found = readdirSync(folder).sort().flatMap((revision) =>
    readdirSync(join(folder, revision)).sort().map((name) => resultOf(revision, name)));
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

function compare() {
  const found = new Map(results().map((result) => [result.key, result]));
  const baseline = new Map(table(baselineFile).map(([revision, scenario, passed, failed, warned]) =>
    [`${revision}\t${scenario}`, { passed: Number(passed), failed: Number(failed), warned: Number(warned) }]));
  const known = new Map(table(knownLostFile).map(([revision, scenario, reason]) => [`${revision}\t${scenario}`, reason]));
  const lost = [...baseline.keys()].filter((key) => isLost(baseline.get(key), found.get(key)));
  let isAsKnown = true;

  for (const key of lost) {
    const name = key.replace('\t', ' ');
    if (known.has(key)) {
      console.log(`known   ${name}: ${known.get(key)}`);
    } else {
      isAsKnown = false;
      console.log(`LOST    ${name}: ${describe(found.get(key)).join('\n          ')}`);
    }
  }
  for (const [key, reason] of known) {
    const name = key.replace('\t', ' ');
    if (!reason) {
      isAsKnown = false;
      console.log(`WRONG   ${name}: known_lost.tsv says no reason`);
    }
    if (!lost.includes(key)) {
      isAsKnown = false;
      const what = baseline.has(key) ? 'is not lost any more' : 'is not in the baseline';
      console.log(`WRONG   ${name}: ${what}; take it out of known_lost.tsv`);
    }
  }
  const failed = [...found.values()].filter((result) => result.failed > 0).length;
  console.log(`conformance: ${found.size - failed} passed, ${failed} failed, ${lost.length} lost`);
  return isAsKnown;
}

const isWell = task === 'baseline' ? writeBaseline() : compare();
process.exit(isWell ? 0 : 1);
