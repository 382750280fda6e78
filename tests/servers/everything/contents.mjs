// Blocks of content and the smallest files that are what they say.

/** One red pixel. */
export const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC';

/** One sample of silence, 8 kHz, 16 bits, mono. */
export const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==';

export const text = (words) => ({ type: 'text', text: words });
export const image = { type: 'image', data: PNG, mimeType: 'image/png' };
export const audio = { type: 'audio', data: WAV, mimeType: 'audio/wav' };
export const embedded = (uri, mimeType, words) => ({ type: 'resource', resource: { uri, mimeType, text: words } });

/** A JSON schema for an object; all its properties are required unless named otherwise. */
export const object = (properties = {}, required = Object.keys(properties)) => ({ type: 'object', properties, required });
export const string = (description) => ({ type: 'string', ...(description && { description }) });
