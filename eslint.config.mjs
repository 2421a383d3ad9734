// What the page's JavaScript must keep: plain scripts that share one scope and never turn text
// into markup or code. Names that are not there are found by the types (tsconfig.json).
import js from "@eslint/js";

const asText = "Text stays text: use textContent, append and replaceChildren.";
const noCode = "Text is never run: the page's policy forbids it.";

/** @type {import("eslint").Linter.Config[]} */
export default [
  { ignores: [".venv*/", "docs/_build/"] },
  js.configs.recommended,
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["src/backlight/report/page/assets/*.js"],
    languageOptions: {
      sourceType: "script",
      ecmaVersion: 2022,
      globals: { setTimeout: "readonly", setInterval: "readonly", window: "readonly" },
    },
    rules: {
      "no-undef": "off",
      "no-unused-vars": ["error", { vars: "local" }],
      complexity: ["error", 20], // of which half are `?.` and `??`
      eqeqeq: ["error", "always", { null: "ignore" }],
      "max-lines-per-function": ["error", { max: 100, skipComments: true, skipBlankLines: true }],
      "max-params": ["error", 6],
      "no-console": "error",
      "no-else-return": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "srcdoc"].map(
          (property) => ({ property, message: asText }),
        ),
        ...["createContextualFragment", "parseFromString", "parseHTMLUnsafe"].map((property) => ({
          property,
          message: asText,
        })),
        ...["eval", "Function", "sendBeacon"].map((property) => ({ property, message: noCode })),
        { object: "document", property: "write", message: asText },
        { object: "document", property: "writeln", message: asText },
      ],
      "no-restricted-globals": [
        "error",
        ...["eval", "Function", "DOMParser"].map((name) => ({ name, message: noCode })),
        ...["fetch", "XMLHttpRequest", "WebSocket", "EventSource", "Worker"].map((name) => ({
          name,
          message: "The page loads nothing.",
        })),
      ],
      "no-restricted-syntax": [
        "error",
        { selector: "ImportExpression", message: "The page loads nothing." },
        { selector: "MemberExpression[property.name='constructor']", message: noCode },
        {
          selector: "CallExpression[callee.property.name='setAttribute'] > Literal[value=/^on/i]",
          message: noCode,
        },
      ],
      "no-shadow": ["error", { builtinGlobals: false }],
      "no-throw-literal": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
      strict: ["error", "never"],
    },
  },
];
