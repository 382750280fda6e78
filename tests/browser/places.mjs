// Every kind of page there is, with an address of each: lists from the navigation, and what a reader gets to from them.
const lists = ["", "/calls", "/agents", "/servers", "/budgets", "/denials", "/policy", "/integrity", "/report", "/access", "/connect", "/help"];

// Their twins for programs.
export const twins = ["calls", "agents", "servers", "budgets", "policy", "denials", "access", "servers/hostile/tools"]
  .flatMap((list) => ["csv", "json", "jsonl"].map((form) => `/audit/${list}.${form}`));

async function first(reader, parser, list, pattern) {
  const { addresses } = await parser.read((await reader.fetch(list)).text);
  const whole = addresses.map(({ address }) => new URL(address, new URL(list, reader.gateway.origin)));
  const found = whole.map(({ pathname, search }) => pathname + search).find((address) => pattern.test(address));
  if (!found) throw new Error(`no link like ${pattern} on ${list}`);
  return found;
}

// The details, found as a reader finds them. One of each kind.
async function details(reader, parser) {
  const look = (list, pattern) => first(reader, parser, list, pattern);
  const call = /^\/audit\/calls\/[0-9a-f-]{36}/;
  const allowed = await look("/audit/calls?agent=mallory&tool=echo&decision=ok", call);
  const policies = JSON.parse((await reader.fetch("/audit/policy.json")).text).map(({ revision }) => revision);
  return [
    allowed,
    `${allowed.split("?")[0]}/bodies`,
    await look("/audit/calls?agent=designer&decision=denied&reason=budget", call),
    await look("/audit/calls?decision=error", call),
    "/audit/calls?values=on&columns=rule,agent,what,took,in,out,cost,client",
    "/audit/calls?agent=designr&range=7d",
    "/audit/calls?nonsense=1&range=7d",
    "/audit/agents/designer",
    "/audit/agents/mallory",
    "/audit/agents/retired",
    "/audit/servers/images",
    "/audit/servers/hostile",
    "/audit/servers/images/tools/imagine",
    await look("/audit/servers/hostile", /\/tools\/%3Csvg/i),
    await look("/audit/budgets", /^\/audit\/budgets\/[^?.]/),
    `/audit/policy/${policies[0]}`,
    `/audit/policy/diff/${policies[1]}..${policies[0]}`,
    (await reader.fetch("/audit/report")).location,
  ];
}

export async function places(reader, parser) {
  return [...lists.map((path) => `/audit${path}`), ...(await details(reader, parser))];
}
