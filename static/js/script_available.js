// Marks the page as one with script, so that the stylesheet hides what only pages without it need.
document.documentElement.classList.add("js");
