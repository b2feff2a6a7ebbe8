/** Says when a learner begins to need help, on whatever view; once, until somebody says so. */

import { useWebSocketContext } from "@aivo/realtime/react";
import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { awayMs, nameOf } from "../class/triage";
import { ring, notify, tellOnce } from "./alarm";
import { acknowledged, listen, open, readEpisodes, sightsOf, type Episodes } from "./attention";
import { occurredAt, useNow, usePage } from "./hooks";
import { keepText, keptText, onKept, useKeptSwitch } from "./kept";
import { href } from "./routes";
import { useWatching } from "./Watching";

const shownAtOnce = 3;

/** Notices at the edge of the page: what is read or about to be clicked does not move. */
export function HelpNotices() {
  const { user } = usePage();
  const { watched, views } = useWatching();
  const { client } = useWebSocketContext();
  const now = useNow(10_000);
  const [openedAt] = useState(() => client.serverNow);
  const [sounds] = useKeptSwitch("help-sound");
  const [notifies] = useKeptSwitch("help-notification");
  const [episodes, keep] = useEpisodes(user.id);
  const names = useMemo(
    () => new Map(watched.map((learner) => [learner.learner_id, nameOf(learner)])),
    [watched],
  );
  const sights = useMemo(
    () => sightsOf(views.filter((view) => now - (occurredAt(view) ?? 0) <= awayMs)),
    [views, now],
  );
  useEffect(() => {
    const heard = listen(episodes, sights, now, openedAt);
    if (heard.episodes !== episodes) keep(heard.episodes);
    for (const { id, since, reason } of sights.filter((one) => heard.begun.includes(one.id))) {
      const key = `${id}/${since}`;
      void tellOnce(key, () => {
        if (sounds) ring();
        if (notifies)
          notify(key, `${names.get(id) ?? id} needs help`, reason, () => {
            location.hash = href({ name: "learner", id });
          });
      });
    }
  }, [episodes, keep, sights, now, openedAt, sounds, notifies, names]);
  const shown = open(episodes, sights);
  const know = (ids: readonly string[]) => keep(acknowledged(episodes, ids));
  return (
    <section className="help" aria-label="Who needs help" aria-live="polite">
      {shown.length > 0 && (
        <ul>
          {shown.slice(0, shownAtOnce).map(({ id, reason }) => (
            <li key={id}>
              <p>
                <a href={href({ name: "learner", id })} onClick={() => know([id])}>
                  {names.get(id) ?? id}
                </a>{" "}
                needs help. <span className="soft">{reason}</span>
              </p>
              <button className="button" type="button" onClick={() => know([id])}>
                Got it
              </button>
            </li>
          ))}
          {shown.length > 1 && (
            <li className="help__all">
              <p className="soft">{shown.length} learners need help.</p>
              <button
                className="button"
                type="button"
                onClick={() => know(shown.map(({ id }) => id))}
              >
                Got it, all
              </button>
            </li>
          )}
        </ul>
      )}
    </section>
  );
}

/** The episodes that this person has been told of: the same in all tabs, and after a reload. */
function useEpisodes(userId: string): readonly [Episodes, (episodes: Episodes) => void] {
  const name = `help/${userId}`;
  const text = useSyncExternalStore(
    onKept,
    () => keptText(name),
    () => null,
  );
  const episodes = useMemo(() => readEpisodes(text), [text]);
  const keep = useCallback((next: Episodes) => keepText(name, JSON.stringify(next)), [name]);
  return [episodes, keep];
}
