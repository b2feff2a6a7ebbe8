/** Tells of a learner outside the page: as a browser notification and as a sound. */

import { keepText, keptText } from "./kept";

/** Whether this browser can notify at all: not on pages from plain HTTP, not on some phones. */
export function canNotify(): boolean {
  return "Notification" in globalThis && isSecureContext;
}

/** Ask for the browser's permission; true when it is given. */
export async function askToNotify(): Promise<boolean> {
  return canNotify() && (await Notification.requestPermission()) === "granted";
}

/** So many are remembered as told. */
const remembered = 100;

/** Tell once, in whichever of this browser's tabs comes first. */
export async function tellOnce(key: string, tell: () => void): Promise<void> {
  const check = () => {
    const told = (keptText("told") ?? "").split(" ").filter(Boolean);
    if (told.includes(key)) return;
    keepText("told", [...told, key].slice(-remembered).join(" "));
    tell();
  };
  // Absent where the page came over plain HTTP from another machine.
  if (navigator.locks) await navigator.locks.request("aivo-told", check);
  else check();
}

/** Show a browser notification; a click leads to the page. */
export function notify(key: string, title: string, body: string, clicked: () => void): void {
  if (!canNotify() || Notification.permission !== "granted") return;
  try {
    const notification = new Notification(title, { body, tag: key, icon: "./favicon.svg" });
    notification.onclick = () => {
      focus();
      clicked();
      notification.close();
    };
  } catch {
    // Some phones allow it to service workers only: the notice in the page remains.
  }
}

let audio: AudioContext | null = null;

/** Two soft tones. Browsers allow it once somebody has clicked on the page. */
export function ring(): void {
  try {
    audio ??= new AudioContext();
    void audio.resume();
    for (const [i, hertz] of [659, 880].entries()) {
      const start = audio.currentTime + i * 0.18;
      const [tone, volume] = [audio.createOscillator(), audio.createGain()];
      tone.frequency.value = hertz;
      volume.gain.setValueAtTime(0, start);
      volume.gain.linearRampToValueAtTime(0.12, start + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.001, start + 0.5);
      tone.connect(volume).connect(audio.destination);
      tone.start(start);
      tone.stop(start + 0.5);
    }
  } catch {
    // No sound device.
  }
}
