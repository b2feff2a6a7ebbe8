/** Notices when the last component that uses a client is gone. */

import { virtualBrainClient } from "../core/virtualBrainClient";
import type { RealtimeClient } from "../core/client";

interface Use {
  count: number;
  detach: () => void;
}

const uses = new WeakMap<RealtimeClient, Use>();

/**
 * Use a client: what it receives reaches `virtualBrainClient`. The returned function ends the
 * use; the last one disconnects, but only after a turn of the event loop: React's StrictMode
 * ends every first use at once to begin it again, and must not cost a socket.
 */
export function retain(client: RealtimeClient): () => void {
  const use = uses.get(client) ?? { count: 0, detach: virtualBrainClient.attach(client) };
  uses.set(client, use);
  use.count += 1;
  return () => {
    use.count -= 1;
    setTimeout(() => {
      if (use.count > 0 || uses.get(client) !== use) return;
      uses.delete(client);
      use.detach();
      client.disconnect();
    }, 0);
  };
}
