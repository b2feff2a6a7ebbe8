/** Puts the page together: the session of this browser, and what is shown for it. */

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "@aivo/realtime/styles.css";
import "uplot/dist/uPlot.min.css";
import "./page.css";
import { App } from "./App";
import { Session } from "./session";

const session = new Session();
void session.start();
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App session={session} />
  </StrictMode>,
);
