// A refused form moves the focus to its error summary.
import { one } from "./dom.js";

one("[data-error-summary]")?.focus();
