// The entry point. Every page is complete without script; these modules make it more convenient.
import "./script_available.js";
import "./live_region.js";
import "./passkeys.js";
import "./password.js";
import "./copy.js";
import "./times.js";
import "./live_search.js";
import "./shortcuts.js";
import "./tick_all.js";
import "./port_hint.js";
import "./from_preview.js";
import "./provider_picker.js";
import "./notice_editor.js";
import "./error_summary.js";
import "./unsaved.js";
