/** The class at a glance: who needs help first, and what to teach again. */

import { useWebSocketContext } from "@aivo/realtime/react";
import { memo, useEffect, useMemo, useRef, useState } from "react";
import { useNow, usePage, useTitle } from "../frame/hooks";
import { useKeptSwitch } from "../frame/kept";
import { useWatching } from "../frame/Watching";
import { levels } from "@aivo/realtime/react";
import { shortLabel } from "../parts/Bands";
import { ClassChoice } from "./ClassChoice";
import { NoticeSettings } from "./NoticeSettings";
import { Pupil } from "./Pupil";
import { SkillMap } from "./SkillMap";
import { steady } from "./steady";
import { classesOf, headline, keptFrom, named, triage, type Group, type Place } from "./triage";
import { useHeld } from "./useHeld";
import "./class.css";

/** In smaller classes nobody has to be looked for. */
const worthSearching = 12;

/** All learners of a teacher, guardian or admin; `skills`: what they have mastered. */
export function ClassView({ skills }: { skills: boolean }) {
  const { learners, user } = usePage();
  const { inClass, watched, views, chosen, choose } = useWatching();
  const [typed, setTyped] = useState("");
  const [numbers, setNumbers] = useKeptSwitch("numbers");
  const classes = useMemo(() => classesOf(learners ?? []), [learners]);
  const title = user.role === "guardian" ? "Your children" : "Your learners";
  const now = useNow(5_000);
  const places = usePlaces(watched, views, now);
  const count = (group: Group) => places.filter((place) => place.group === group).length;
  const urgent = count("now");
  // Also for whoever looks at another tab just now.
  useTitle(urgent > 0 ? `(${urgent}) ${title}` : title);
  if (learners === null) return <Loading />;
  return (
    <>
      <div className="heading">
        <h1>{title}</h1>
        {user.role !== "guardian" && (
          <ClassChoice
            classes={classes}
            chosen={chosen}
            choose={choose}
            learners={learners.length}
          />
        )}
      </div>
      {learners.length === 0 && (
        <p className="note">
          Nobody has been entrusted to you yet. The school's office can change that.
        </p>
      )}
      {inClass.length > watched.length && (
        <p className="note">
          The first {watched.length} of {inClass.length} learners are shown. Choose a class to see
          all of its learners.
        </p>
      )}
      {watched.length > 0 && (
        <>
          <Summary now={urgent} look={count("look")} nobody={count("new") === watched.length} />
          <div className="tools">
            <div className="choice" role="navigation" aria-label="What to show">
              <a href="#/" aria-current={skills ? undefined : "page"}>
                Now
              </a>
              <a href="#/skills" aria-current={skills ? "page" : undefined}>
                Skills
              </a>
            </div>
            {inClass.length > worthSearching && (
              <input
                className="tools__find"
                type="search"
                value={typed}
                onChange={(event) => setTyped(event.target.value)}
                aria-label="Find a learner by name"
                placeholder="Find by name"
              />
            )}
            {!skills && (
              <button
                type="button"
                className="chip"
                aria-pressed={numbers}
                onClick={() => setNumbers(!numbers)}
              >
                Numbers
              </button>
            )}
            <NoticeSettings />
          </div>
          {skills ? (
            <SkillMap learners={named(watched, typed)} views={views} watched={watched} />
          ) : (
            <List places={places} typed={typed} chosen={chosen} now={now} numbers={numbers} />
          )}
        </>
      )}
    </>
  );
}

/** Where everybody belongs; who stays there stays the same object. */
function usePlaces(...[watched, views, now]: Parameters<typeof triage>): readonly Place[] {
  const drawn = useRef<readonly Place[]>([]);
  const places = useMemo(
    () => keptFrom(drawn.current, triage(watched, views, now)),
    [watched, views, now],
  );
  useEffect(() => {
    drawn.current = places;
  });
  return places;
}

function Loading() {
  return (
    <p className="note" role="status">
      Loading
    </p>
  );
}

function Summary({ now, look, nobody }: { now: number; look: number; nobody: boolean }) {
  const { subscribedLearners } = useWebSocketContext();
  if (nobody && subscribedLearners.size === 0) return <p className="summary" />;
  return (
    <p className="summary" role="status" data-urgent={now > 0}>
      {nobody ? "Nobody has started yet." : headline(now, look)}
    </p>
  );
}

interface ListProps {
  readonly places: readonly Place[];
  readonly typed: string;
  readonly chosen: string | null;
  readonly now: number;
  readonly numbers: boolean;
}

const List = memo(function List({ places, typed, chosen, now, numbers }: ListProps) {
  const { held, listeners } = useHeld();
  const found = useMemo(() => {
    const ids = new Set(
      named(
        places.map(({ learner }) => learner),
        typed,
      ).map(({ learner_id }) => learner_id),
    );
    return new Map(
      places.flatMap((place) =>
        ids.has(place.learner.learner_id) ? [[place.learner.learner_id, place]] : [],
      ),
    );
  }, [places, typed]);
  const wanted = [...found.keys()];
  const { order, waiting, sortNow } = useSteady(wanted, held, `${chosen}/${typed}`);
  if (places.every(({ view }) => view === undefined)) return <Loading />;
  if (order.length === 0) return <p className="note">Nobody has that name.</p>;
  return (
    <div className="class" {...listeners}>
      <div className="class__head">
        <p className="class__waiting" aria-live="polite">
          {waiting > 0 && (
            <button type="button" className="chip" onClick={sortNow}>
              Sort again: {waiting === 1 ? "one learner" : `${waiting} learners`} would move
            </button>
          )}
        </p>
        <span aria-hidden="true">Last 20 minutes</span>
        <div className="class__labels" aria-hidden="true">
          {levels.map((level) => (
            <span key={level.key}>{shortLabel(level)}</span>
          ))}
        </div>
      </div>
      <ul className="class__list">
        {order.map((id) => (
          <Pupil key={id} place={found.get(id)!} now={now} numbers={numbers} />
        ))}
      </ul>
      <p className="soft class__legend">
        ▲ higher, ▲▲ much higher than usual for this learner; ▼ lower; – as usual; · too early to
        tell. The small line: how often they were right, now at its right end.
      </p>
    </div>
  );
});

/** An order that waits while the list is held; another `filter` is another list. */
function useSteady(wanted: readonly string[], held: boolean, filter: string) {
  const shown = useRef<{ order: readonly string[]; filter: string; round: number }>({
    order: [],
    filter,
    round: 0,
  });
  const [round, setRound] = useState(0);
  const same = shown.current.filter === filter && shown.current.round === round;
  const next = steady(shown.current.order, wanted, held && same);
  useEffect(() => {
    shown.current = { order: next.order, filter, round };
  });
  return { ...next, sortNow: () => setRound((old) => old + 1) };
}
