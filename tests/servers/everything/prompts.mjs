// Prompts; one of them needs an answer first.

import { acceptedContent, inputRequired } from '@modelcontextprotocol/server';

import { embedded, image, object, string, text } from './contents.mjs';

const messages = (...blocks) => ({ messages: blocks.map((content) => ({ role: 'user', content })) });

export const prompts = {
  test_simple_prompt: {
    description: 'A prompt without arguments',
    get: async () => messages(text('This is a simple prompt for testing.')),
  },
  test_prompt_with_arguments: {
    description: 'A prompt with two arguments',
    schema: object({ arg1: string('The first'), arg2: string('The second') }),
    get: async ({ arg1, arg2 }) => messages(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  },
  test_prompt_with_embedded_resource: {
    description: 'A prompt that carries a resource',
    schema: object({ resourceUri: string('The URI of the resource') }),
    get: async ({ resourceUri }) => messages(
      embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
      text('Please process the embedded resource above.'),
    ),
  },
  test_prompt_with_image: {
    description: 'A prompt that carries a picture',
    get: async () => messages(image, text('Please analyze the image above.')),
  },
  test_input_required_result_prompt: {
    description: 'A prompt that asks for its context',
    get: async ({ mcpReq }) => {
      const answer = acceptedContent(mcpReq.inputResponses, 'user_context');
      if (answer) return messages(text(`Context: ${answer.context}`));
      const user_context = inputRequired.elicit({
        message: 'What context should the prompt use?',
        requestedSchema: object({ context: string() }),
      });
      return inputRequired({ inputRequests: { user_context } });
    },
  },
};
