// Tools that send requests of their own to the client while they run, which is how servers asked before 2026-07-28.

import { object, string, text } from './contents.mjs';

const choices = (prefix, noun) =>
  ['First', 'Second', 'Third'].map((ordinal, index) => ({ const: `${prefix}${index + 1}`, title: `${ordinal} ${noun}` }));

const optional = (properties) => object(properties, []);

async function elicit(mcpReq, label, message, requestedSchema) {
  const { action, content = {} } = await mcpReq.elicitInput({ mode: 'form', message, requestedSchema });
  return { content: [text(`${label}: action=${action}, content=${JSON.stringify(content)}`)] };
}

export const pushing = {
  test_sampling: {
    description: 'Asks the model of the client',
    schema: object({ prompt: string('What to ask') }),
    run: async ({ prompt }, { mcpReq }) => {
      const answer = await mcpReq.requestSampling({
        messages: [{ role: 'user', content: text(prompt) }],
        maxTokens: 100,
      });
      return { content: [text(`LLM response: ${answer.content.text}`)] };
    },
  },
  test_elicitation: {
    description: 'Asks the user for a name and an address',
    schema: object({ message: string('What to say') }),
    run: ({ message }, { mcpReq }) => elicit(mcpReq, 'User response', message, object({
      username: string("User's response"),
      email: string("User's email address"),
    })),
  },
  test_elicitation_sep1034_defaults: {
    description: 'Asks the user with a default for every type',
    run: (_, { mcpReq }) => elicit(mcpReq, 'Elicitation completed', 'Are these right?', optional({
      name: { type: 'string', default: 'John Doe' },
      age: { type: 'integer', default: 30 },
      score: { type: 'number', default: 95.5 },
      status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
      verified: { type: 'boolean', default: true },
    })),
  },
  test_elicitation_sep1330_enums: {
    description: 'Asks the user with every kind of choice',
    run: (_, { mcpReq }) => elicit(mcpReq, 'Elicitation completed', 'Which ones?', optional({
      untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
      titledSingle: { type: 'string', oneOf: choices('value', 'Option') },
      legacyEnum: {
        type: 'string',
        enum: ['opt1', 'opt2', 'opt3'],
        enumNames: ['Option One', 'Option Two', 'Option Three'],
      },
      untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
      titledMulti: { type: 'array', items: { anyOf: choices('value', 'Choice') } },
    })),
  },
};
