// @vitest-environment happy-dom
/** The React binding: the guide's samples, StrictMode, server rendering, components. */

import { act, StrictMode, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  ConnectionQualityIndicator,
  useLearnerState,
  useWebSocket,
  useWebSocketContext,
  virtualBrainClient,
  VirtualBrainMonitor,
  WebSocketProvider,
  type WebSocketHandle,
} from "@aivo/realtime/react";
import { FakeClock, FakeServer, FakeSocket, jwt, levelsAt, meaningOf, world } from "./fakes";
import RootLayout from "./guide/app/layout";
import LearnerMonitorPage from "./guide/app/monitor";
import { LearningActivity } from "./guide/app/LearningActivity";
import { ParentDashboard } from "./guide/app/ParentDashboard";
import { Settings } from "./guide/app/settings";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let host: HTMLElement;
let server: FakeServer;

/** Render, and let sockets, promises and the deferred disconnect happen. */
async function render(node: ReactNode): Promise<void> {
  await act(async () => root.render(node));
  await pass();
}

async function pass(): Promise<void> {
  await act(async () => new Promise((resolve) => setTimeout(resolve, 5)));
}

const text = () => host.textContent!;

beforeEach(() => {
  server = new FakeServer(new FakeClock());
  vi.stubGlobal(
    "WebSocket",
    class extends FakeSocket {
      constructor(url: string) {
        super(url, server);
      }
    },
  );
  localStorage.clear();
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});

afterEach(async () => {
  await act(async () => root.unmount());
  await pass();
  host.remove();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe("the guide's samples, pasted", () => {
  it("connect, watch, send and log as the guide says", async () => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    const dashboards = <ParentDashboard learnerId="l1" />;
    server.learner("l1").state = levelsAt(0.3);
    server.learner("l1").revision = 1;
    // The layout renders <html>, which has no place inside a page under test: its provider is what
    // matters.
    const provider = RootLayout({ children: dashboards }).props.children.props.children;
    await render(provider);

    expect(server.socket.url).toBe("ws://localhost:8000/ws");
    expect(server.received[0]).toMatchObject({ type: "authenticate", token: jwt("u1") });
    expect(text()).toContain("Subscribed: Yes");
    expect(log).toHaveBeenCalledWith("Cognitive state:", levelsAt(0.3));
    await act(async () => server.move("l1", 0.6));
    expect(log).toHaveBeenCalledWith(
      "State update:",
      expect.objectContaining({ type: "state_update", learner_id: "l1", state: levelsAt(0.6) }),
    );
    expect(log).toHaveBeenCalledWith("Cognitive state:", levelsAt(0.6));

    await render({ ...provider, props: { ...provider.props, children: <p>gone</p> } });
    log.mockClear();
    await act(async () => server.move("l1", 0.7));
    expect(log).not.toHaveBeenCalledWith("Cognitive state:", expect.anything());
  });

  it("show the monitor with performance and recommendations", async () => {
    server.learner("p1").state = levelsAt(0.3);
    server.learner("p1").revision = 1;
    await render(
      <WebSocketProvider url="ws://x/ws" token={jwt("u1")}>
        <LearnerMonitorPage params={{ id: "p1" }} />
      </WebSocketProvider>,
    );
    expect(text()).toContain("Engagement");
    expect(text()).toContain("Accuracy80 %");
    await act(async () =>
      server.socket.push({
        type: "state_update",
        learner_id: "p1",
        epoch: "e1",
        revision: 2,
        state: levelsAt(0.8),
        recommendations: ["Take a break."],
      }),
    );
    expect(text()).toContain("Take a break.");
    expect(host.querySelector('[role="meter"]')!.getAttribute("aria-valuenow")).toBe("80");
    const frustration = () =>
      [...host.querySelectorAll(".aivo-level")].find((level) =>
        level.textContent!.startsWith("Frustration"),
      )!;
    expect(frustration().getAttribute("data-tone")).toBe("alert");
    await act(async () =>
      server.socket.push({
        type: "state_update",
        learner_id: "p1",
        epoch: "e1",
        revision: 3,
        state: levelsAt(0.9),
        meaning: meaningOf({ frustration_level: "lower" }),
      }),
    );
    expect(frustration().textContent).toContain("lower than usual");
    expect(frustration().getAttribute("data-tone")).toBe("calm");
  });

  it("render an activity and the hook with the guide's settings", async () => {
    await render(
      <WebSocketProvider url="ws://x/ws" token={jwt("u1")}>
        <LearningActivity learnerId="l1" />
      </WebSocketProvider>,
    );
    await render(<Settings />);
    expect(text()).toBe("connected");
    expect(server.of("authenticate").at(-1)!.token).toBe("your-token");
  });

  it("call onVirtualBrainResponse and onError with the frames", async () => {
    const onVirtualBrainResponse = vi.fn();
    const onError = vi.fn();
    let handle!: WebSocketHandle;
    const Grab = () => ((handle = useWebSocketContext()), null);
    await render(
      <WebSocketProvider
        url="ws://x/ws"
        token={jwt("u1")}
        autoConnect={true}
        onVirtualBrainResponse={onVirtualBrainResponse}
        onError={onError}
      >
        <Grab />
      </WebSocketProvider>,
    );
    await act(
      async () =>
        void handle.sendVirtualBrainInteraction({
          learner_id: "l1",
          type: "hint_request",
          content: "?",
        }),
    );
    await act(async () =>
      server.socket.push({ type: "error", error: "No.", code: "not_found", retryable: false }),
    );

    expect(onVirtualBrainResponse).toHaveBeenCalledWith(
      expect.objectContaining({ type: "virtual_brain_response", learner_id: "l1" }),
    );
    expect(onError).toHaveBeenCalledWith(
      expect.objectContaining({ type: "error", error: "No.", code: "not_found" }),
    );
  });
});

describe("the provider", () => {
  it("opens one socket under StrictMode, and closes it when it goes", async () => {
    await render(
      <StrictMode>
        <WebSocketProvider url="ws://x/ws" token={jwt("u1")}>
          <VirtualBrainMonitor learnerId="l1" />
        </WebSocketProvider>
      </StrictMode>,
    );
    await pass();
    expect(server.sockets).toHaveLength(1);
    expect(server.of("subscribe_learner")).toHaveLength(1);
    await render(null);
    expect(server.open).toHaveLength(0);
  });

  it("waits for a token, does not reconnect for a new one of the same user, and does for another URL", async () => {
    const at = (token: string | null, url = "ws://x/ws") => (
      <WebSocketProvider url={url} token={token}>
        <p />
      </WebSocketProvider>
    );
    await render(at(null));
    expect(server.sockets).toHaveLength(0);
    await render(at(jwt("u1", 1)));
    expect(server.sockets).toHaveLength(1);
    await render(at(jwt("u1", 2)));
    expect(server.sockets).toHaveLength(1);
    expect(server.of("authenticate").map(({ token }) => token)).toEqual([
      jwt("u1", 1),
      jwt("u1", 2),
    ]);
    await render(at(jwt("u1", 2), "ws://y/ws"));
    expect(server.open.map(({ url }) => url)).toEqual(["ws://y/ws"]);
    await render(at(null, "ws://y/ws"));
    expect(server.open).toHaveLength(0);
  });

  it("connects only when told with autoConnect={false}", async () => {
    let handle!: WebSocketHandle;
    const One = () => (
      (handle = useWebSocket({ url: "ws://x/ws", token: jwt("u1"), autoConnect: false })),
      (<p>{handle.status}</p>)
    );
    await render(<One />);
    expect(server.sockets).toHaveLength(0);
    await act(async () => handle.connect());
    await pass();
    expect(text()).toBe("connected");
    const seen: number[] = [];
    const stop = virtualBrainClient.onStateUpdate("l1", (state) => seen.push(state.cognitive_load));
    await act(async () => handle.subscribeLearner("l1"));
    await act(async () => server.move("l1", 0.4));
    stop();
    expect(seen).toEqual([0.4]);
    await act(async () => handle.disconnect());
    expect(text()).toBe("disconnected");
    await act(async () => handle.connect());
    await render(null);
    expect(server.open).toHaveLength(0);
  });

  it("calls the newest callbacks", async () => {
    const calls: string[] = [];
    const at = (name: string) => (
      <WebSocketProvider
        url="ws://x/ws"
        token={jwt("u1")}
        onMessage={({ type }) => calls.push(`${name} ${type}`)}
      />
    );
    await render(at("old"));
    await render(at("new"));
    calls.length = 0;
    await act(async () => server.socket.push({ type: "pong" }));
    expect(calls).toEqual(["new pong"]);
  });

  it("is required by useWebSocketContext", () => {
    const Lost = () => (useWebSocketContext(), null);
    expect(() => renderToString(<Lost />)).toThrow("must be used within a WebSocketProvider");
  });

  it("does not render again for frames that change nothing shown", async () => {
    let renders = 0;
    const Count = () => (useWebSocketContext(), renders++, null);
    await render(
      <WebSocketProvider url="ws://x/ws" token={jwt("u1")}>
        <Count />
      </WebSocketProvider>,
    );
    const before = renders;
    await act(async () => {
      for (let n = 0; n < 20; n++)
        server.socket.push({ type: "user_left", room_id: "other", connection_id: "c" });
    });
    expect(renders).toBe(before);
  });
});

describe("rendering on a server", () => {
  it("gives the markup of an unconnected page and opens nothing", () => {
    const html = renderToString(
      <WebSocketProvider url="ws://x/ws" token={jwt("u1")}>
        <VirtualBrainMonitor learnerId="l1" />
        <ConnectionQualityIndicator />
      </WebSocketProvider>,
    );
    expect(html).toContain("Waiting for the current state.");
    expect(html).toContain("Not connected");
    expect(html).not.toContain("style=");
    expect(server.sockets).toHaveLength(0);
  });
});

describe("useLearnerState", () => {
  const Show = ({ id }: { id: string | null }) => {
    const { status, state, revision } = useLearnerState(id);
    return <p>{`${status} ${state?.cognitive_load ?? "-"} ${revision ?? "-"}`}</p>;
  };

  it("goes from loading to live, to stale when the connection breaks, and follows the id", async () => {
    const { client, server: own, clock } = world();
    const at = (id: string | null) => (
      <WebSocketProvider url="" client={client} autoConnect={false}>
        <Show id={id} />
      </WebSocketProvider>
    );
    await render(at("l1"));
    expect(text()).toBe("loading - -");
    await act(async () => (client.connect(), clock.advance(10_000)));
    expect(text()).toBe("empty - 0");
    await act(async () => own.move("l1", 0.25));
    expect(text()).toBe("live 0.25 1");
    await act(async () => own.socket.drop(1006));
    expect(text()).toBe("stale 0.25 1");
    await act(async () => clock.advance(5_000));
    expect(text()).toBe("live 0.25 1");
    await render(at("l2"));
    await act(async () => clock.advance(5_000));
    expect(text()).toBe("empty - 0");
    expect(own.of("unsubscribe_learner").map(({ learner_id }) => learner_id)).toEqual(["l1"]);
    await act(async () =>
      own.socket.push({
        type: "unsubscribed",
        learner_id: "l2",
        code: "revoked",
        retryable: false,
      }),
    );
    expect(text()).toBe("refused - -");
    await render(at(null));
    await act(async () => client.disconnect());
  });
});

describe("useLearnerState with details", () => {
  it("asks for what an answer leaves out, the evidence behind the mastery, and then is content", async () => {
    const { client, server: own, clock } = world();
    own.learner("l1").state = levelsAt(0.3);
    own.learner("l1").revision = 1;
    own.onFrame = (socket, frame) => {
      if (frame.type !== "get_state") return false;
      const mastery = { addition: { probability: 0.7, answers: 4, standard_error: 0.1 } };
      socket.push({
        type: "state_response",
        id: frame.id,
        learner_id: "l1",
        ...own.learner("l1"),
        performance: null,
        drivers: {},
        mastery,
      });
      return true;
    };
    const Show = () => (
      <p>{JSON.stringify(useLearnerState("l1", { details: true }).details.mastery)}</p>
    );
    await render(
      <WebSocketProvider url="" client={client}>
        <Show />
      </WebSocketProvider>,
    );
    await act(async () => clock.advance(10_000));
    expect(own.of("get_state")).toHaveLength(1);

    own.learner("l1").revision = 2;
    const result = { state: levelsAt(0.4), drivers: {}, mastery: { addition: 0.75 } };
    await act(async () =>
      own.socket.push({
        type: "virtual_brain_response",
        learner_id: "l1",
        interaction_id: "i",
        revision: 2,
        duplicate: false,
        result,
      }),
    );
    expect(text()).toBe('{"addition":0.75}');
    await act(async () => clock.advance(60_000));
    expect(own.of("get_state")).toHaveLength(2);
    expect(text()).toContain('"answers":4');
    await act(async () => client.disconnect());
  });
});

describe("components", () => {
  it("say in words what the bars show, and carry no inline style", async () => {
    server.learner("l1").state = { ...levelsAt(0.1), frustration_level: 0.9 };
    server.learner("l1").revision = 3;
    await render(
      <WebSocketProvider url="ws://x/ws" token={jwt("u1")}>
        <VirtualBrainMonitor learnerId="l1" showPerformance={false} showRecommendations={false} />
      </WebSocketProvider>,
    );
    const meters = [...host.querySelectorAll('[role="meter"]')];
    expect(meters).toHaveLength(6);
    for (const meter of meters)
      expect(
        document.getElementById(meter.getAttribute("aria-labelledby")!)?.textContent,
      ).toBeTruthy();
    expect(meters.map((meter) => meter.getAttribute("aria-valuetext"))).toContain("90 %, high");
    expect(host.querySelector('[role="status"]')!.textContent).toBe("Live");
    expect(host.querySelector("section")!.getAttribute("aria-labelledby")).toBe(
      host.querySelector("h2")!.id,
    );
    expect(host.innerHTML).not.toContain("style=");
    expect(server.of("get_state")).toHaveLength(0);
  });

  it("tell a person what happens while there is no connection", async () => {
    const { client, server: own, clock } = world();
    await render(
      <WebSocketProvider url="" client={client}>
        <ConnectionQualityIndicator showDetails />
      </WebSocketProvider>,
    );
    await act(async () => clock.advance(10_000));
    expect(text()).toContain("Connection excellent");
    own.refuses = true;
    await act(async () => own.socket.drop(1006));
    await act(
      async () =>
        void client.sendVirtualBrainInteraction({
          learner_id: "l1",
          type: "practice",
          content: "x",
        }),
    );
    expect(text()).toContain("Connection lost, reconnecting");
    expect(text()).toMatch(/next try in \d s/);
    expect(text()).toContain("1 answer is kept and will be sent");
    own.refuses = false;
    await act(async () => host.querySelector("button")!.click());
    await act(async () => clock.advance(10));
    expect(text()).toContain("Connection excellent");
    expect(text()).not.toContain("kept");
  });
});
