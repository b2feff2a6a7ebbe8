/** How one wants to be told that somebody needs help, beside the notice in the page. */

import { useState } from "react";
import { askToNotify, canNotify, ring } from "../frame/alarm";
import { useKeptSwitch } from "../frame/kept";

/** Two switches, remembered on this device. */
export function NoticeSettings() {
  const [sounds, setSounds] = useKeptSwitch("help-sound");
  const [notifies, setNotifies] = useKeptSwitch("help-notification");
  const [isRefused, setRefused] = useState(false);
  const changeNotifies = async (on: boolean) => {
    const allowed = !on || (await askToNotify());
    setRefused(!allowed);
    setNotifies(on && allowed);
  };
  return (
    <details className="menu">
      <summary className="chip">Notices</summary>
      <div className="menu__body">
        <p className="soft">When somebody begins to need help, the page says so. Also:</p>
        <label>
          <input
            type="checkbox"
            checked={notifies}
            disabled={!canNotify()}
            onChange={(event) => void changeNotifies(event.target.checked)}
          />{" "}
          Notify me outside the page
        </label>
        {(isRefused || !canNotify()) && (
          <p className="soft" role="status">
            {isRefused
              ? "The browser does not allow it: change that in the settings of this site."
              : "This browser does not allow it on this page."}
          </p>
        )}
        <label>
          <input
            type="checkbox"
            checked={sounds}
            onChange={(event) => {
              setSounds(event.target.checked);
              if (event.target.checked) ring();
            }}
          />{" "}
          Ring
        </label>
      </div>
    </details>
  );
}
