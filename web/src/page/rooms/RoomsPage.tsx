/** Rooms: who is there, and what they say to each other. */

import { useWebSocketContext } from "@aivo/realtime/react";
import { useEffect, useRef, useState, type FormEvent } from "react";
import { usePage, useTitle, type Learner } from "../frame/hooks";
import { href } from "../frame/routes";
import { classesOf, nameOf } from "../class/triage";
import { useRoom, type Said } from "./useRoom";
import { nameOfId } from "../parts/words";
import "./rooms.css";

/** The rooms one may enter, and the one that is open. */
export function RoomsPage({ roomId }: { roomId: string | null }) {
  const { learners, user } = usePage();
  const rooms = roomsOf(learners ?? [], roomId, user.role === "learner");
  useTitle(rooms.find(({ id }) => id === roomId)?.name ?? "Rooms");
  if (learners === null)
    return (
      <p className="note" role="status">
        Loading
      </p>
    );
  return (
    <>
      <div className="heading">
        <h1>Rooms</h1>
      </div>
      <div className="rooms" data-open={roomId !== null}>
        <nav className="rooms__list" aria-label="Rooms">
          {rooms.length === 0 && <p className="soft">There is no room for you yet.</p>}
          <ul>
            {rooms.map(({ id, name }) => (
              <li key={id}>
                <a
                  href={href({ name: "rooms", id })}
                  aria-current={id === roomId ? "page" : undefined}
                >
                  {name}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        {roomId === null ? (
          <p className="note">Choose a room to see who is there.</p>
        ) : (
          <Room
            key={roomId}
            roomId={roomId}
            name={rooms.find(({ id }) => id === roomId)?.name ?? nameOfId(roomId)}
          />
        )}
      </div>
    </>
  );
}

function roomsOf(
  learners: readonly Learner[],
  open: string | null,
  own: boolean,
): readonly { id: string; name: string }[] {
  const all = [
    ...classesOf(learners).map(({ id, name }) => ({ id: `class:${id}`, name })),
    ...learners.map((learner) => ({
      id: `learner:${learner.learner_id}`,
      name: `About ${own ? "you" : nameOf(learner)}`,
    })),
  ];
  // A long list of learners helps nobody: their rooms are found on their pages.
  return all.filter(({ id }) => id === open || id.startsWith("class:") || learners.length <= 8);
}

function Room({ roomId, name }: { roomId: string; name: string }) {
  const { members, said, refused, say, joined } = useRoom(roomId);
  const { isConnected } = useWebSocketContext();
  if (refused)
    return (
      <p className="note" role="alert">
        You do not have access to this room.
      </p>
    );
  return (
    <section className="room card" aria-labelledby="room" data-joined={joined}>
      <h2 id="room">{name}</h2>
      <div className="room__presence">
        <h3 className="hidden">Present</h3>
        <ul className="people" aria-live="polite">
          {members.map(({ key, name: who, role, isSelf }) => (
            <li key={key}>
              <span className="people__dot" aria-hidden="true" />
              {isSelf ? "You" : who} <span className="soft">{role}</span>
            </li>
          ))}
        </ul>
        {!joined && (
          <p className="soft" role="status">
            {isConnected ? "Entering" : "Waiting for the connection"}
          </p>
        )}
      </div>
      <Messages said={said} />
      <Saying say={say} disabled={!joined} />
    </section>
  );
}

function Messages({ said }: { said: readonly Said[] }) {
  const end = useRef<HTMLOListElement>(null);
  useEffect(() => {
    if (end.current) end.current.scrollTop = end.current.scrollHeight;
  }, [said]);
  return (
    <ol className="messages" ref={end} aria-label="Messages" aria-live="polite" tabIndex={0}>
      {said.length === 0 && (
        <li className="soft messages__none">
          Messages are not kept: only those who are here see them.
        </li>
      )}
      {said.map(({ key, who, role, text, at, isSelf }) => (
        <li key={key} data-self={isSelf}>
          <span className="messages__who">
            {isSelf ? "You" : who}
            {!isSelf && <span className="soft"> · {role}</span>}
          </span>
          <span className="messages__text">{text}</span>
          <time className="messages__at" dateTime={at.toISOString()}>
            {at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })}
          </time>
        </li>
      ))}
    </ol>
  );
}

function Saying({ say, disabled }: { say: (text: string) => boolean; disabled: boolean }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim() === "") return;
    const sent = say(text.trim());
    setProblem(!sent);
    if (sent) setText("");
  };
  return (
    <form className="saying" onSubmit={submit}>
      <input
        value={text}
        onChange={(event) => setText(event.target.value)}
        maxLength={1_000}
        aria-label="Message"
        placeholder="Message"
        autoComplete="off"
      />
      <button className="button button--main" type="submit" disabled={disabled}>
        Send
      </button>
      {problem && (
        <p className="login__problem" role="alert">
          Not sent: there is no connection. Your text is still here.
        </p>
      )}
    </form>
  );
}
