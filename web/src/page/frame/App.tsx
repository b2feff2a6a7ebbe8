/** The frame around everything: who is logged in, where one is, and how the connection stands. */

import {
  ConnectionQualityIndicator,
  WebSocketProvider,
  useWebSocketContext,
} from "@aivo/realtime/react";
import {
  Component,
  lazy,
  Suspense,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
  type ComponentType,
  type ReactNode,
} from "react";
import { Brand } from "./Brand";
import { PageReactContext, type Learner } from "./hooks";
import { Login } from "./Login";
import { HelpNotices } from "./HelpNotices";
import { Notices } from "./Notices";
import { href, useRoute, type Route } from "./routes";
import { ApiError, type Session, type User } from "./session";
import { ThemeButton } from "./ThemeButton";
import { Watching } from "./Watching";

const loads = {
  class: async () => (await import("../class/ClassView")).ClassView,
  learner: async () => (await import("../learner/LearnerPage")).LearnerPage,
  practice: async () => (await import("../practice/PracticePage")).PracticePage,
  rooms: async () => (await import("../rooms/RoomsPage")).RoomsPage,
  system: async () => (await import("../system/SystemPage")).SystemPage,
};

/** A view is loaded when it is first opened; where that fails, it says so. */
function view<P extends object>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  return lazy(async () => ({ default: await load().catch(() => NotLoaded) }));
}
const ClassView = view(loads.class);
const LearnerPage = view(loads.learner);
const PracticePage = view(loads.practice);
const RoomsPage = view(loads.rooms);
const SystemPage = view(loads.system);

const socketUrl = `${location.protocol.replace("http", "ws")}//${location.host}/ws`;

/** The whole page. */
export function App({ session }: { session: Session }) {
  const state = useSyncExternalStore(session.subscribe, session.getSnapshot);
  switch (state.phase) {
    case "starting":
      return <Waiting>Loading</Waiting>;
    case "unreachable":
      return <Waiting>The server cannot be reached. Trying again.</Waiting>;
    case "out":
      return <Login session={session} ended={state.ended} />;
    case "in":
      return (
        <WebSocketProvider
          key={state.user.id}
          url={socketUrl}
          getToken={session.getToken}
          onClose={({ code }) => code === 4401 && session.refuse()}
        >
          <Inside session={session} user={state.user} />
        </WebSocketProvider>
      );
  }
}

function Waiting({ children }: { children: string }) {
  return (
    <main className="waiting">
      <Brand />
      <p role="status">{children}</p>
    </main>
  );
}

function Inside({ session, user }: { session: Session; user: User }) {
  const { learners, problem } = useLearners(session);
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  useArrival(route, main);
  useOtherViews();
  return (
    <PageReactContext value={{ session, user, learners }}>
      <a
        className="skip"
        href="#main"
        onClick={(event) => (event.preventDefault(), main.current?.focus())}
      >
        Skip to content
      </a>
      <Header session={session} user={user} route={route} />
      <Notices />
      <Sight user={user}>
        <main className="main" id="main" ref={main} tabIndex={-1}>
          {problem && learners === null ? (
            <p className="note" role="alert">
              {problem}
            </p>
          ) : (
            <Suspense
              fallback={
                <p className="note" role="status">
                  Loading
                </p>
              }
            >
              <Sturdy key={href(route)}>
                <View route={route} user={user} />
              </Sturdy>
            </Suspense>
          )}
        </main>
      </Sight>
    </PageReactContext>
  );
}

/** A view that fails says so; the rest of the page, and what waits to be sent, stays. */
class Sturdy extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };
  static getDerivedStateFromError = () => ({ failed: true });
  override render() {
    return this.state.failed ? <NotLoaded /> : this.props.children;
  }
}

/** After an update of the server its old files are gone; without a network none can be had. */
function NotLoaded() {
  return (
    <p className="note" role="alert">
      This part of the page cannot be shown.{" "}
      <button className="button" type="button" onClick={() => location.reload()}>
        Load the page again
      </button>
    </p>
  );
}

/** Once one view is there, fetch the others: they shall open without a network, too. */
function useOtherViews(): void {
  useEffect(() => {
    const timer = setTimeout(
      () => void Promise.allSettled(Object.values(loads).map((load) => load())),
      3_000,
    );
    return () => clearTimeout(timer);
  }, []);
}

function View({ route, user }: { route: Route; user: User }) {
  switch (route.name) {
    case "learner":
      // A learner's own page is another: it encourages.
      return user.role === "learner" ? (
        <PracticePage />
      ) : (
        <LearnerPage key={route.id} learnerId={route.id} />
      );
    case "rooms":
      return <RoomsPage roomId={route.id} />;
    case "system":
      return user.role === "admin" ? <SystemPage /> : <ClassView skills={false} />;
    case "practice":
      return <PracticePage />;
    default:
      return user.role === "learner" ? (
        <PracticePage />
      ) : (
        <ClassView skills={route.name === "skills"} />
      );
  }
}

/** What an adult sees is about the learners they watch; a learner watches nobody. */
function Sight({ user, children }: { user: User; children: ReactNode }) {
  if (user.role === "learner") return children;
  return (
    <Watching>
      {children}
      <HelpNotices />
    </Watching>
  );
}

/**
 * The learners of whoever is logged in; asked again when the connection comes back, for the class
 * may have changed.
 */
function useLearners(session: Session): {
  learners: readonly Learner[] | null;
  problem: string | null;
} {
  const { isConnected } = useWebSocketContext();
  const [learners, setLearners] = useState<readonly Learner[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    session.get<{ learners: readonly Learner[] }>("/api/learners", stop.signal).then(
      (answer) => {
        if (stop.signal.aborted) return;
        setProblem(null);
        setLearners((old) =>
          JSON.stringify(old) === JSON.stringify(answer.learners) ? old : answer.learners,
        );
      },
      (error: unknown) => {
        if (!stop.signal.aborted)
          setProblem(
            error instanceof ApiError
              ? error.message
              : "The server cannot be reached. Trying again.",
          );
      },
    );
    return () => stop.abort();
  }, [session, isConnected]);
  return { learners, problem };
}

/** After a change of place, start reading at its top; screen readers too. */
function useArrival(route: Route, main: { readonly current: HTMLElement | null }): void {
  const place = href(route);
  const before = useRef(place);
  useEffect(() => {
    if (before.current === place) return;
    before.current = place;
    scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [place, main]);
}

function Header({ session, user, route }: { session: Session; user: User; route: Route }) {
  const links: readonly (readonly [Route, string])[] = [
    [
      { name: "home" },
      user.role === "learner" ? "Practice" : user.role === "guardian" ? "Children" : "Learners",
    ],
    [{ name: "rooms", id: null }, "Rooms"],
    ...(user.role === "admin" ? [[{ name: "system" }, "System"] as const] : []),
  ];
  return (
    <header className="header">
      <a className="header__brand" href="#/" aria-label="AIVO, home">
        <Brand />
      </a>
      <nav className="header__nav" aria-label="Main">
        {links.map(([to, name]) => (
          <NavLink key={name} to={to} current={route}>
            {name}
          </NavLink>
        ))}
      </nav>
      <ConnectionQualityIndicator className="header__quality" />
      <div className="header__user">
        <ThemeButton />
        <span className="header__name">{user.display_name || user.email}</span>
        <LogoutButton session={session} />
      </div>
    </header>
  );
}

function NavLink({ to, current, children }: { to: Route; current: Route; children: ReactNode }) {
  const here =
    to.name === current.name ||
    (to.name === "home" && ["learner", "practice", "skills"].includes(current.name));
  return (
    <a href={href(to)} aria-current={here ? "page" : undefined}>
      {children}
    </a>
  );
}

function LogoutButton({ session }: { session: Session }) {
  const { queueSize } = useWebSocketContext();
  const leave = () => {
    const question =
      "Some answers have not been sent yet. They stay on this device and are sent when you log in here again. Log out?";
    if (queueSize === 0 || confirm(question)) void session.logout();
  };
  return (
    <button className="button button--quiet" type="button" onClick={leave}>
      Log out
    </button>
  );
}
