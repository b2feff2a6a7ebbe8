/** Light, dark, or as the system says; remembered on this device. */

import { useState } from "react";

const key = "aivo-theme";
const next = { auto: "light", light: "dark", dark: "auto" } as const;
type Theme = keyof typeof next;
const signs: Readonly<Record<Theme, string>> = { auto: "◐", light: "○", dark: "●" };

function stored(): Theme {
  try {
    const value = localStorage.getItem(key);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto";
  }
}

function apply(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}

apply(stored());

/** Goes through the three in turn. */
export function ThemeButton() {
  const [theme, setTheme] = useState(stored);
  const change = () => {
    const chosen = next[theme];
    setTheme(chosen);
    apply(chosen);
    try {
      localStorage.setItem(key, chosen);
    } catch {
      // Then it is not remembered.
    }
  };
  const name = `Colours: ${theme === "auto" ? "as the system" : theme}`;
  return (
    <button
      className="button button--icon"
      type="button"
      onClick={change}
      aria-label={name}
      title={name}
    >
      {signs[theme]}
    </button>
  );
}
