/** Being in a room: its members by name, and what is said while one is there. */

import type { RoomMember, RoomMessageFrame } from "@aivo/realtime";
import { useWebSocketContext } from "@aivo/realtime/react";
import { useCallback, useEffect, useMemo, useState } from "react";
import { usePage } from "../frame/hooks";

/** Somebody who is there; one person with two tabs is shown once. */
export interface Present {
  readonly key: string;
  /** What they call themselves; only `role` comes from the server. */
  readonly name: string;
  readonly role: string;
  readonly isSelf: boolean;
}

/** A message. */
export interface Said {
  readonly key: string;
  readonly who: string;
  readonly role: string;
  readonly text: string;
  readonly at: Date;
  readonly isSelf: boolean;
}

const roleNames: Readonly<Record<string, string>> = {
  learner: "learner",
  guardian: "parent",
  teacher: "teacher",
  admin: "office",
};
const roleOf = (member: Pick<RoomMember, "user">) => roleNames[member.user?.role ?? ""] ?? "guest";
const kept = 200;

/** Be in a room while mounted. */
export function useRoom(roomId: string) {
  const { client, rooms, connectionId, joinRoom, leaveRoom, sendRoomMessage } =
    useWebSocketContext();
  const { user } = usePage();
  const [said, setSaid] = useState<readonly Said[]>([]);
  const [names, setNames] = useState<ReadonlyMap<string, string>>(new Map());
  const [refused, setRefused] = useState(false);
  const ownName = user.display_name || user.email;
  const members = rooms.get(roomId);
  const joined = members !== undefined;

  useEffect(() => {
    joinRoom(roomId);
    return () => leaveRoom(roomId);
  }, [joinRoom, leaveRoom, roomId]);

  useEffect(() => {
    const hello = (to: "all" | "newcomer") =>
      sendRoomMessage(roomId, { kind: "hello", name: ownName, to });
    const stops = [
      client.on("frame", ({ frame }) => {
        if (!("room_id" in frame) || frame.room_id !== roomId) return;
        if (frame.type === "room_joined") hello("all");
        else if (frame.type === "room_message") hear(frame);
      }),
      client.on("error", ({ error, frame }) => {
        if (
          frame?.type === "error" &&
          frame.message_type === "join_room" &&
          error.code === "forbidden"
        )
          setRefused(true);
      }),
    ];
    function hear({ connection_id = "", user: from, data, timestamp }: RoomMessageFrame) {
      const name = typeof data["name"] === "string" ? data["name"].slice(0, 80) : "";
      if (name)
        setNames((old) =>
          old.get(connection_id) === name ? old : new Map(old).set(connection_id, name),
        );
      // Whoever comes in tells its name and is told ours.
      if (data["kind"] === "hello" && data["to"] === "all") hello("newcomer");
      const { text } = data;
      if (typeof text !== "string") return;
      const one = {
        key: `${connection_id}/${timestamp}/${text}`,
        who: name || roleOf({ user: from }),
        role: roleOf({ user: from }),
        text,
        at: new Date(timestamp),
        isSelf: false,
      };
      setSaid((old) => [...old, one].slice(-kept));
    }
    return () => stops.forEach((stop) => stop());
  }, [client, roomId, ownName, sendRoomMessage]);

  const say = useCallback(
    (text: string): boolean => {
      const sent = sendRoomMessage(roomId, { kind: "text", text, name: ownName });
      const at = new Date();
      if (sent)
        setSaid((old) =>
          [
            ...old,
            {
              key: `self/${at.getTime()}/${old.length}`,
              who: ownName,
              role: "",
              text,
              at,
              isSelf: true,
            },
          ].slice(-kept),
        );
      return sent;
    },
    [sendRoomMessage, roomId, ownName],
  );

  const present = useMemo(
    () => peopleOf(members ?? [], names, user.id, connectionId),
    [members, names, user.id, connectionId],
  );
  return { members: present, said, refused, say, joined };
}

function peopleOf(
  members: readonly RoomMember[],
  names: ReadonlyMap<string, string>,
  selfId: string,
  connectionId: string | null,
): readonly Present[] {
  const people = new Map<string, Present>();
  for (const member of members) {
    const key = member.user?.id ?? member.connection_id;
    const isSelf = key === selfId || member.connection_id === connectionId;
    const name = names.get(member.connection_id) ?? people.get(key)?.name ?? "Somebody";
    people.set(key, { key, name, role: roleOf(member), isSelf });
  }
  return [...people.values()].sort(
    (a, b) => Number(b.isSelf) - Number(a.isSelf) || a.name.localeCompare(b.name),
  );
}
