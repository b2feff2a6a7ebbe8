/** One learner of the class, in one line. */

import { memo, useRef } from "react";
import { href } from "../frame/routes";
import { Bands } from "../parts/Bands";
import { Sparkline } from "../parts/Sparkline";
import { ageInWords } from "../parts/words";
import { lineOf, spentInWords } from "./course";
import { groupNames, nameOf, type Place } from "./triage";
import { useCourse } from "./useCourse";

interface Props {
  readonly place: Place;
  readonly now: number;
  readonly numbers: boolean;
}

/** Who, what is the matter, how the last minutes went, and what is not as usual. */
export const Pupil = memo(function Pupil({ place, now, numbers }: Props) {
  const { learner, view, group, reason, at } = place;
  const row = useRef<HTMLLIElement>(null);
  const course = useCourse(learner.learner_id, view, row);
  const spent = group === "away" ? null : spentInWords(course, at);
  const isHere = group !== "new" && group !== "away";
  return (
    <li
      ref={row}
      className="pupil"
      data-learner={learner.learner_id}
      data-revision={view?.revision ?? undefined}
      data-group={group}
    >
      <div className="pupil__who">
        <a className="pupil__name" href={href({ name: "learner", id: learner.learner_id })}>
          {nameOf(learner)}
        </a>
        <span className="pupil__age">
          {spent !== null && <span className="pupil__spent">{spent} · </span>}
          {at === null ? "not started" : ageInWords(now - at)}
        </span>
      </div>
      {(group !== "fine" || reason !== "") && (
        <p className="pupil__reason" data-group={group}>
          {group !== "fine" && <b data-group={group}>{groupNames[group]}</b>} {reason}
        </p>
      )}
      {isHere && <Sparkline points={lineOf(course, now)} label={lineInWords(course, now)} />}
      {view?.state && group !== "new" && (
        <Bands state={view.state} meaning={view.details.meaning} numbers={numbers} />
      )}
    </li>
  );
});

function lineInWords(course: Parameters<typeof lineOf>[0], now: number): string {
  const points = lineOf(course, now);
  const share = (point: (typeof points)[number] | undefined) =>
    point === undefined ? "" : `${Math.round((20 - point[1]) * 5)} %`;
  return points.length === 0
    ? "No answers in the last 20 minutes"
    : `Right answers in the last 20 minutes: from ${share(points[0])} to ${share(points.at(-1))}`;
}
