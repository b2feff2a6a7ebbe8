/** The class at a glance: every learner's state, who needs help first. */

import type { LearnerView } from "@aivo/realtime";
import {
  levels,
  percent,
  toneOf,
  useWebSocketContext,
  wordOf,
  type LevelDescription,
} from "@aivo/realtime/react";
import { useMemo, useState } from "react";
import { useLearnerViews, useNow, usePage, useTitle, type Learner } from "../frame/hooks";
import { LevelBar } from "../parts/LevelBar";
import { href } from "../frame/routes";
import {
  classesOf,
  groupNames,
  groups,
  headline,
  nameOf,
  triage,
  type Group,
  type Place,
} from "./triage";
import { ageInWords } from "../parts/words";
import "./class.css";

/** A socket may watch 128 learners; a few are left for the other views. */
const mostAtOnce = 120;
const noLearners: readonly Learner[] = [];

/** All learners of a teacher, guardian or admin. */
export function ClassView() {
  const { learners, user } = usePage();
  const [chosen, setChosen] = useState<string | null>(null);
  const all = learners ?? noLearners;
  const classes = useMemo(() => classesOf(all), [all]);
  const inClass = useMemo(
    () => all.filter(({ class_ids }) => chosen === null || class_ids.includes(chosen)),
    [all, chosen],
  );
  const shown = useMemo(() => inClass.slice(0, mostAtOnce), [inClass]);
  const title = user.role === "guardian" ? "Your children" : "Your learners";
  const [only] = classes;
  if (learners === null)
    return (
      <p className="note" role="status">
        Loading
      </p>
    );
  return (
    <>
      <div className="heading">
        <h1>{title}</h1>
        {user.role !== "guardian" &&
          only &&
          (classes.length > 1 ? (
            <ClassChoice classes={classes} chosen={chosen} choose={setChosen} />
          ) : (
            <p className="heading__more">
              {only.name}, {all.length === 1 ? "1 learner" : `${all.length} learners`}
            </p>
          ))}
      </div>
      {all.length === 0 && (
        <p className="note">
          Nobody has been entrusted to you yet. The school's office can change that.
        </p>
      )}
      {inClass.length > shown.length && (
        <p className="note">
          The first {mostAtOnce} of {inClass.length} learners are shown. Choose a class to see all
          of its learners.
        </p>
      )}
      {shown.length > 0 && <Groups learners={shown} title={title} />}
    </>
  );
}

function ClassChoice({
  classes,
  chosen,
  choose,
}: {
  classes: ReturnType<typeof classesOf>;
  chosen: string | null;
  choose: (id: string | null) => void;
}) {
  return (
    <div className="choice" role="group" aria-label="Class">
      {[{ id: null, name: "All" }, ...classes].map(({ id, name }) => (
        <button
          key={id ?? ""}
          type="button"
          aria-pressed={chosen === id}
          onClick={() => choose(id)}
        >
          {name}
        </button>
      ))}
    </div>
  );
}

function Groups({ learners, title }: { learners: readonly Learner[]; title: string }) {
  const ids = useMemo(() => learners.map(({ learner_id }) => learner_id), [learners]);
  const views = useLearnerViews(ids, 1_000);
  const { subscribedLearners } = useWebSocketContext();
  const now = useNow(5_000);
  const loading = views.every((view) => view === undefined) && subscribedLearners.size === 0;
  const sorted = useMemo(() => triage(learners, views, now), [learners, views, now]);
  const urgent = sorted.get("now")?.length ?? 0;
  // Also for whoever looks at another tab just now.
  useTitle(urgent > 0 ? `(${urgent}) ${title}` : title);
  if (loading)
    return (
      <p className="note" role="status">
        Loading
      </p>
    );
  return (
    <>
      <Summary sorted={sorted} learners={learners.length} />
      {groups.map((group) => (
        <GroupList key={group} group={group} places={sorted.get(group) ?? []} now={now} />
      ))}
    </>
  );
}

function Summary({
  sorted,
  learners,
}: {
  sorted: ReadonlyMap<Group, readonly Place[]>;
  learners: number;
}) {
  const count = (group: Group) => sorted.get(group)?.length ?? 0;
  const [urgent, soon] = [count("now"), count("soon")];
  if (count("new") === learners)
    return (
      <p className="summary" role="status">
        Nobody has started yet.
      </p>
    );
  return (
    <p className="summary" role="status" data-urgent={urgent > 0}>
      {headline(urgent, soon)}
    </p>
  );
}

function GroupList({
  group,
  places,
  now,
}: {
  group: Group;
  places: readonly Place[];
  now: number;
}) {
  if (places.length === 0) return null;
  const id = `group-${group}`;
  return (
    <section className="group" data-group={group} aria-labelledby={id}>
      <div className="group__head">
        <h2 id={id}>
          {groupNames[group]} <span className="group__count">{places.length}</span>
        </h2>
        {group !== "new" && (
          <div className="group__labels" aria-hidden="true">
            {levels.map((level) => (
              <span key={level.key}>{shortLabel(level)}</span>
            ))}
          </div>
        )}
      </div>
      <ul className="group__list">
        {places.map((place) => (
          <Pupil key={place.learner.learner_id} place={place} now={now} />
        ))}
      </ul>
    </section>
  );
}

/** Fits over a narrow column. */
function shortLabel({ key, label }: LevelDescription): string {
  return key === "cognitive_load" ? "Load" : label;
}

function Pupil({ place: { learner, view, group, at }, now }: { place: Place; now: number }) {
  return (
    <li
      className="pupil"
      data-learner={learner.learner_id}
      data-revision={view?.revision ?? undefined}
    >
      <div className="pupil__who">
        <a className="pupil__name" href={href({ name: "learner", id: learner.learner_id })}>
          {nameOf(learner)}
        </a>
        <span className="pupil__age">{at === null ? "not started" : ageInWords(now - at)}</span>
      </div>
      {group !== "new" && (
        <p className="pupil__advice">
          {group === "away" ? "" : view?.details.recommendations?.[0]}
        </p>
      )}
      {view?.state && group !== "new" && <SmallLevels state={view.state} />}
    </li>
  );
}

function SmallLevels({ state }: { state: NonNullable<LearnerView["state"]> }) {
  return (
    <ul className="small-levels" aria-label="Levels">
      {levels.map((level) => {
        const value = state[level.key];
        return (
          <li key={level.key} className="small-levels__level" data-tone={toneOf(level, value)}>
            <span className="small-levels__label">{shortLabel(level)}</span>
            <span className="hidden">
              {percent(value)}, {wordOf(value)}
            </span>
            <LevelBar value={value} />
            <span className="small-levels__value" aria-hidden="true">
              {Math.round(value * 100)}
            </span>
          </li>
        );
      })}
    </ul>
  );
}
