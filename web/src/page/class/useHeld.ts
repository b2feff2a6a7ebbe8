/** Whether somebody is about to use a list: then nothing in it may move. */

import { useEffect, useMemo, useRef, useState, type FocusEvent, type PointerEvent } from "react";

/** A pointer that left for a moment comes back. */
const leaveMs = 600;
/** A pointer that was left lying in the list is not about to click. */
const idleMs = 45_000;
/** A finger leaves no trace where it is: after a touch the list waits for the next one. */
const touchMs = 8_000;

/** Listeners for the list, and whether it is held. */
export function useHeld() {
  const [by, setBy] = useState({ pointer: false, focus: false });
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const listeners = useMemo(() => {
    const pointer = (on: boolean, afterMs = 0) => {
      clearTimeout(timer.current);
      const set = () => setBy((old) => (old.pointer === on ? old : { ...old, pointer: on }));
      if (afterMs === 0) set();
      else timer.current = setTimeout(set, afterMs);
    };
    const used = (forMs: number) => {
      pointer(true);
      pointer(false, forMs);
    };
    const touched = () => used(touchMs);
    return {
      onPointerDown: ({ pointerType }: PointerEvent) =>
        used(pointerType === "touch" ? touchMs : idleMs),
      // A list that comes to lie under a resting pointer is "entered", too, without a movement.
      onPointerMove: ({ pointerType, movementX, movementY }: PointerEvent) =>
        pointerType !== "touch" && (movementX !== 0 || movementY !== 0) && used(idleMs),
      onPointerLeave: ({ pointerType }: PointerEvent) =>
        pointerType !== "touch" && pointer(false, leaveMs),
      onTouchMove: touched,
      onFocus: ({ target }: FocusEvent) =>
        target.matches(":focus-visible") && setBy((old) => ({ ...old, focus: true })),
      onBlur: () => setBy((old) => ({ ...old, focus: false })),
    };
  }, []);
  return { held: by.pointer || by.focus, listeners };
}
