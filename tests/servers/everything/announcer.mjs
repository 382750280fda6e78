// Changes a list and tells every client: the subscriptions of 2026-07-28 through the notifier of their handler,
// connections of earlier revisions one by one.

export class Announcer {
  /** What `createMcpHandler` gives to reach its subscriptions; there is none before 2026-07-28. */
  notifier;
  #changes = { tools: 0, prompts: 0 };
  #servers = new Map();

  /** Announces to this server's client, too, until its connection closes. Of each list it says what can change. */
  include(server, changing) {
    for (const [list, item] of Object.entries(changing)) item.description += this.#count(list);
    this.#servers.set(server, changing);
    server.server.onclose = () => this.#servers.delete(server);
    return server;
  }

  async toolsChanged() {
    this.#change('tools');
    this.notifier?.toolsChanged();
    await this.#each((server) => server.server.sendToolListChanged());
  }

  async promptsChanged() {
    this.#change('prompts');
    this.notifier?.promptsChanged();
    await this.#each((server) => server.server.sendPromptListChanged());
  }

  #count(list) {
    return `, after ${this.#changes[list]} changes`;
  }

  #change(list) {
    const before = this.#count(list);
    this.#changes[list] += 1;
    for (const { [list]: item } of this.#servers.values()) {
      item.description = item.description.replace(before, this.#count(list));
    }
  }

  /** A server that serves one request has nobody to tell, which is no failure. */
  async #each(announce) {
    const connected = [...this.#servers.keys()].filter((server) => server.isConnected());
    await Promise.allSettled(connected.map(announce));
  }
}
