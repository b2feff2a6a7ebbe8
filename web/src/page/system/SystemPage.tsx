/** For administrators: the figures of the whole system, live. */

import { useEffect, useState } from "react";
import { useStreamed, useTitle } from "../frame/hooks";
import { TimeChart } from "../parts/TimeChart";
import "./system.css";

/** As each event of `/api/websocket/metrics/stream` tells. */
interface Metrics {
  readonly connections: {
    readonly active: number;
    readonly total: number;
    readonly disconnections: number;
  };
  readonly users: { readonly connected: number };
  readonly learners: { readonly subscribed: number };
  readonly rooms: { readonly active: number };
  readonly messages: {
    readonly sent: number;
    readonly received: number;
    readonly per_second: number;
  };
  readonly performance: {
    readonly p50_latency_ms: number;
    readonly p95_latency_ms: number;
    readonly p99_latency_ms: number;
    readonly max_latency_ms: number;
  };
  readonly errors: { readonly total: number };
  readonly uptime: { readonly seconds: number };
  readonly edges: { readonly reporting: number };
}

const pointsKept = 900;

/** Figures, and the traffic since the page was opened. */
export function SystemPage() {
  const { data, failed } = useStreamed<Metrics>("/api/websocket/metrics/stream?interval_ms=2000");
  const course = useCourse(data);
  useTitle("System");
  return (
    <>
      <div className="heading">
        <h1>System</h1>
        <p className="status" data-status={failed ? "stale" : data ? "live" : "loading"}>
          {failed ? "Figures cannot be had at the moment" : data ? "Live" : "Loading"}
        </p>
      </div>
      {data && <Figures metrics={data} />}
      {data && (
        <section className="card" aria-labelledby="traffic">
          <h2 id="traffic">Messages per second</h2>
          <TimeChart
            label="Moment in the traffic"
            lines={[{ key: "traffic", label: "Messages per second", values: course.rates }]}
            times={course.times}
            unit="count"
            height={200}
            summary={`Messages per second since this page was opened; now ${data.messages.per_second.toFixed(1)}`}
          />
        </section>
      )}
    </>
  );
}

function Figures({
  metrics: { connections, users, learners, rooms, messages, performance, errors, uptime, edges },
}: {
  metrics: Metrics;
}) {
  const groups: readonly (readonly [string, readonly (readonly [string, string])[]])[] = [
    [
      "Now",
      [
        ["Connections", count(connections.active)],
        ["Users", count(users.connected)],
        ["Learners watched", count(learners.subscribed)],
        ["Rooms in use", count(rooms.active)],
      ],
    ],
    [
      "Time from receiving to answering",
      [
        ["Half within", ms(performance.p50_latency_ms)],
        ["95 % within", ms(performance.p95_latency_ms)],
        ["99 % within", ms(performance.p99_latency_ms)],
        ["Longest", ms(performance.max_latency_ms)],
      ],
    ],
    [
      "Since the start",
      [
        ["Messages received", count(messages.received)],
        ["Messages sent", count(messages.sent)],
        ["Connections", count(connections.total)],
        ["Errors", count(errors.total)],
        ["Running for", duration(uptime.seconds)],
        ["Edges reporting", count(edges.reporting)],
      ],
    ],
  ];
  return (
    <div className="figures">
      {groups.map(([title, facts]) => (
        <section className="card" key={title} aria-label={title}>
          <h2>{title}</h2>
          <dl className="facts">
            {facts.map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
    </div>
  );
}

interface Course {
  readonly times: readonly number[];
  readonly rates: readonly number[];
}

function useCourse(data: Metrics | null): Course {
  const [course, setCourse] = useState<Course>({ times: [], rates: [] });
  useEffect(() => {
    if (data === null) return;
    setCourse(({ times, rates }) => ({
      times: [...times, Date.now() / 1_000].slice(-pointsKept),
      rates: [...rates, data.messages.per_second].slice(-pointsKept),
    }));
  }, [data]);
  return course;
}

const count = (value: number) => value.toLocaleString();
const ms = (value: number) =>
  value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value).toLocaleString()} ms`;

function duration(seconds: number): string {
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800)
    return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} days`;
}
