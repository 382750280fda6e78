// Tells every client that a list changed: the subscriptions of 2026-07-28 through the notifier of their handler,
// connections of earlier revisions one by one.

export class Announcer {
  /** What `createMcpHandler` gives to reach its subscriptions; there is none before 2026-07-28. */
  notifier;
  #servers = new Set();

  /** Announces to this server's client, too, until its connection closes. */
  include(server) {
    this.#servers.add(server);
    server.server.onclose = () => this.#servers.delete(server);
    return server;
  }

  async toolsChanged() {
    this.notifier?.toolsChanged();
    await this.#each((server) => server.server.sendToolListChanged());
  }

  async promptsChanged() {
    this.notifier?.promptsChanged();
    await this.#each((server) => server.server.sendPromptListChanged());
  }

  /** A server that serves one request has nobody to tell, which is no failure. */
  async #each(announce) {
    await Promise.allSettled([...this.#servers].filter((server) => server.isConnected()).map(announce));
  }
}
