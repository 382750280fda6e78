// What somebody would write who wants the reader of a log to run it, to open it, or to misread it.

// Becomes true when any of it runs.
export const OWNED = "__owned";

// Elements of the payload have this class; none may ever be an element of a page.
export const CLASS = "from-the-payload";

// Characters that turn, hide or end text. No page may hold one of them.
export const INVISIBLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/u;

const markup = [
  `"'><script class=${CLASS}>window.${OWNED}=1</script>`,
  `<img class=${CLASS} src=x onerror="window.${OWNED}=1">`,
  `<svg class=${CLASS} onload="window.${OWNED}=1"><a href="javascript:window.${OWNED}=1">x</a></svg>`,
  `</title></style></textarea></pre><a class=${CLASS} href="javascript:alert(1)">javascript:alert(1)</a>`,
  `{{7*7}} \${7*7} &lt;b&gt;`,
].join(" ");

export const turning = "\u202eevil\u202c \u2066in\u2069 zero\u200bwidth \u001b[31mred\u0007 nul\u0000 line\u2028break\r\nnext";

// Everything at once, for places that take any text.
export const hostile = `=HYPERLINK("http://evil.example/","x") ${markup} ${turning}`;

// A name is short, so there are several.
export const hostileTool = `<svg onload=${OWNED}=1>`;
export const names = [
  hostileTool,
  "=1+1",
  "+1",
  "-1",
  "@SUM(A1)",
  `<img class=${CLASS} src=x onerror=window.${OWNED}=1>`,
  `"><script class=${CLASS}>window.${OWNED}=1</script>`,
  "javascript:alert(1)",
  "tool\u202eloot",
  "a\u0000b\u001b[2J",
  "..%2f..%2fetc",
  "a/b?c#d",
];

// As far as a header can carry it: visible ASCII.
export const headers = [
  `<script/class=${CLASS}>window.${OWNED}=1</script>`,
  "=cmd|'/c'!A0",
  "@SUM(1+1)",
  "+1-1",
  "javascript:alert(1)",
];
