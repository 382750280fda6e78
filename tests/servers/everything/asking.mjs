// Tools that end with `input_required` and are called again with the answers, which is how servers ask since
// 2026-07-28. To clients of earlier revisions the SDK pushes the same questions.

import { randomBytes } from 'node:crypto';

import {
  CLIENT_CAPABILITIES_META_KEY, acceptedContent, createRequestStateCodec, inputRequired,
} from '@modelcontextprotocol/server';

import { object, string, text } from './contents.mjs';

/** Signs what a client has to bring back, so that a changed state is refused before any tool runs. */
export const state = createRequestStateCodec({ key: randomBytes(32) });

const result = (words) => ({ content: [text(words)] });
const form = (message, properties) => inputRequired.elicit({ message, requestedSchema: object(properties) });
const sampling = (question, maxTokens) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: text(question) }], maxTokens });

const askForName = () => form('What is your name?', { name: string() });
const confirm = form('Please confirm', { ok: { type: 'boolean' } });

/** A tool that asks one round of questions, with a signed state, and needs it back. */
async function confirmed({ mcpReq }) {
  if (mcpReq.requestState() && acceptedContent(mcpReq.inputResponses, 'confirm')) return result('state-ok');
  return inputRequired({ inputRequests: { confirm }, requestState: await state.mint({ asked: true }) });
}

async function inRounds({ mcpReq }) {
  const before = mcpReq.requestState();
  const first = acceptedContent(mcpReq.inputResponses, 'step1');
  const second = acceptedContent(mcpReq.inputResponses, 'step2');
  if (before?.round === 2 && second) return result(`${before.name} likes ${second.color}`);
  if (before?.round === 1 && first) {
    const step2 = form('Step 2: What is your favorite color?', { color: string() });
    const requestState = await state.mint({ round: 2, name: first.name });
    return inputRequired({ inputRequests: { step2 }, requestState });
  }
  const step1 = form('Step 1: What is your name?', { name: string() });
  return inputRequired({ inputRequests: { step1 }, requestState: await state.mint({ round: 1 }) });
}

async function severalAtOnce({ mcpReq }) {
  const { user_name, greeting, client_roots } = mcpReq.inputResponses ?? {};
  if (user_name && greeting && client_roots) return result('got a name, a greeting and roots');
  const inputRequests = {
    user_name: askForName(),
    greeting: sampling('Generate a greeting', 50),
    client_roots: inputRequired.listRoots(),
  };
  return inputRequired({ inputRequests, requestState: await state.mint({ asked: true }) });
}

async function whatTheClientCan({ mcpReq }) {
  if (Object.keys(mcpReq.inputResponses ?? {}).length > 0) return result('got an answer');
  const can = mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {};
  const inputRequests = {
    ...(can.elicitation && { user_name: askForName() }),
    ...(can.sampling && { greeting: sampling('Generate a greeting', 50) }),
  };
  return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : result('this client cannot answer');
}

async function afterNotifying({ mcpReq }) {
  if (acceptedContent(mcpReq.inputResponses, 'user_name')) return result('got a name');
  const progressToken = mcpReq._meta?.progressToken;
  if (progressToken !== undefined) {
    await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: 1 } });
  }
  return inputRequired({ inputRequests: { user_name: askForName() } });
}

export const asking = {
  test_missing_capability: {
    description: 'Needs the model of the client',
    run: async (_, { mcpReq }) => mcpReq.inputResponses?.greeting
      ? result('got a greeting')
      : inputRequired({ inputRequests: { greeting: sampling('Generate a greeting', 50) } }),
  },
  test_streaming_elicitation: {
    description: 'Reports progress, then asks for a name',
    run: (_, context) => afterNotifying(context),
  },
  test_input_required_result_elicitation: {
    description: 'Asks for a name',
    run: async (_, { mcpReq }) => {
      const answer = acceptedContent(mcpReq.inputResponses, 'user_name');
      if (typeof answer?.name === 'string') return result(`Hello, ${answer.name}!`);
      return inputRequired({ inputRequests: { user_name: askForName() } });
    },
  },
  test_input_required_result_sampling: {
    description: 'Asks the model for a capital',
    run: async (_, { mcpReq }) => {
      const answer = mcpReq.inputResponses?.capital_question;
      if (answer?.content) return result(`The model says: ${answer.content.text}`);
      const capital_question = sampling('What is the capital of France?', 100);
      return inputRequired({ inputRequests: { capital_question } });
    },
  },
  test_input_required_result_list_roots: {
    description: 'Asks for the roots of the client',
    run: async (_, { mcpReq }) => {
      const roots = mcpReq.inputResponses?.client_roots?.roots;
      if (Array.isArray(roots)) return result(`roots: ${roots.map((root) => root.uri).join(', ')}`);
      return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
    },
  },
  test_input_required_result_request_state: {
    description: 'Asks for a confirmation, with a state',
    run: (_, context) => confirmed(context),
  },
  test_input_required_result_tampered_state: {
    description: 'Asks for a confirmation, with a state that must come back unchanged',
    run: (_, context) => confirmed(context),
  },
  test_input_required_result_multiple_inputs: {
    description: 'Asks for a name, a greeting and roots at once',
    run: (_, context) => severalAtOnce(context),
  },
  test_input_required_result_multi_round: {
    description: 'Asks for a name, then for a color',
    run: (_, context) => inRounds(context),
  },
  test_input_required_result_capabilities: {
    description: 'Asks for what the client says it can answer',
    run: (_, context) => whatTheClientCan(context),
  },
};
