// What a session said, for clients that come back with `Last-Event-ID`. An event id is `<stream>/<position>`.

export class EventLog {
  #events = [];

  async storeEvent(stream, message) {
    this.#events.push({ stream, message });
    return `${stream}/${this.#events.length}`;
  }

  async replayEventsAfter(lastEventId, { send }) {
    const slash = lastEventId.lastIndexOf('/');
    const stream = lastEventId.slice(0, slash);
    for (let position = Number(lastEventId.slice(slash + 1)); position < this.#events.length; position++) {
      const event = this.#events[position];
      // The event that opens a stream is an empty message, to be sent once.
      const isOpening = Object.keys(event.message).length === 0;
      if (event.stream === stream && !isOpening) await send(`${stream}/${position + 1}`, event.message);
    }
    return stream;
  }
}
