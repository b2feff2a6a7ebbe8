/** Puts the page together: the session of this browser, and what is shown for it. */

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "@aivo/realtime/styles.css";
import "./frame/page.css";
import "./parts/parts.css";
import { App } from "./frame/App";
import { Session } from "./frame/session";

const session = new Session();
void session.start();
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App session={session} />
  </StrictMode>,
);
