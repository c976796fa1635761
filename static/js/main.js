// Comfort only: every page works without this. Each part looks for its own attribute.
import { poll } from "./poll.js";
import { confirmInPlace } from "./confirm.js";
import { choices, closeMenus, copyButtons } from "./comfort.js";
import { securityKeys } from "./keys.js";

poll();
confirmInPlace();
copyButtons();
closeMenus();
choices();
securityKeys();
