"""Renders every template of `templates/` for every conversation below with jinja2, set up as Hugging Face's transformers
sets it up for chat templates, and writes `templates/expected.json`:

    python tests/golden/templates.py

Needs jinja2 (3.1.6 was used). The templates are in the style of well-known models' own; the last ones try single constructs.
A rendering that fails is `null`: what matters is that it fails here and there.
"""

import json
import pathlib
from datetime import datetime

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDER = pathlib.Path(__file__).parent / "templates"
DATE = "2026-11-29T23:59:30"


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks answers, and changes nothing of what is written."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    @staticmethod
    def _body(caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def strftime_now(format):
    return datetime.fromisoformat(DATE).strftime(format)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


CALL = {"type": "function", "id": "abcdefghi", "function": {"name": "tide", "arguments": {"harbour": "Zürich", "day": 3, "exact": True, "note": None}}}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "tide",
            "description": "The tide's height.",
            "parameters": {
                "type": "object",
                "properties": {
                    "harbour": {"type": "string", "description": "Which <harbour> & \"sea\""},
                    "day": {"type": "integer", "default": 1},
                    "kind": {"type": "string", "enum": ["ebb", "flood"], "default": "ebb"},
                    "names": {"type": "array", "items": {"type": "string"}},
                    "height": {"type": ["number", "null"]},
                    "more": {"type": "object", "additionalProperties": {"type": "boolean"}},
                },
                "required": ["harbour"],
            },
        },
    }
]

CONVERSATIONS = {
    "one_question": {"messages": [turn("user", " Where is the boat? ")], "add_generation_prompt": True},
    "one_answer": {
        "messages": [turn("user", "Where is the boat?"), turn("assistant", "In the harbour.\n")],
        "add_generation_prompt": False,
    },
    "system": {
        "messages": [turn("system", " Be brief. /no_think"), turn("user", "Héllo\n\nthere"), turn("assistant", " Hi ")],
        "add_generation_prompt": False,
    },
    "many_turns": {
        "messages": [
            turn("system", "Be brief."),
            turn("user", "one"),
            turn("assistant", "1"),
            turn("user", "two"),
            turn("assistant", "2"),
            turn("user", "three"),
        ],
        "add_generation_prompt": True,
    },
    "thoughts": {
        "messages": [
            turn("user", "2 + 2?"),
            turn("assistant", "<think>\nadd\n</think>\n\n4"),
            turn("user", "and 3?"),
            turn("assistant", "7", reasoning_content="add 3"),
        ],
        "add_generation_prompt": False,
    },
    "no_thinking": {"messages": [turn("user", "2 + 2?")], "add_generation_prompt": True, "enable_thinking": False},
    "tools": {
        "messages": [
            turn("user", "High tide?"),
            turn("assistant", None, tool_calls=[CALL]),
            turn("tool", '{"metres": 2.5}', tool_call_id="abcdefghi", name="tide"),
            turn("assistant", "2.5 m"),
        ],
        "tools": TOOLS,
        "add_generation_prompt": False,
    },
    "tools_and_system": {
        "messages": [turn("system", "Use tools."), turn("user", "High tide?"), turn("assistant", "", tool_calls=[CALL, CALL])],
        "tools": TOOLS,
        "add_generation_prompt": False,
    },
    "tools_only_offered": {"messages": [turn("user", "Hello")], "tools": TOOLS, "add_generation_prompt": True},
    "parts": {
        "messages": [
            turn("user", [{"type": "text", "text": " a picture of "}, {"type": "image"}, {"type": "text", "text": "a boat"}]),
            turn("assistant", [{"type": "text", "text": "Nice."}]),
        ],
        "add_generation_prompt": False,
    },
    "null_fields": {
        "messages": [turn("user", "x", name=None, tool_calls=None), turn("assistant", "y", reasoning_content=None, tool_calls=[])],
        "add_generation_prompt": False,
    },
    "two_users": {"messages": [turn("user", "a"), turn("user", "b")], "add_generation_prompt": True},
    "documents": {
        "messages": [turn("user", "What do they say?")],
        "documents": [{"id": "d1", "title": "One", "text": "First."}, {"title": "Two", "text": "Second."}],
        "add_generation_prompt": True,
    },
}


def main():
    expected = {}
    for path in sorted(FOLDER.glob("*.jinja")):
        source = path.read_bytes().decode()
        outcomes = {}
        for name, conversation in CONVERSATIONS.items():
            values = {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>", **conversation}
            try:
                outcomes[name] = environment().from_string(source).render(**values)
            except Exception:
                outcomes[name] = None
        expected[path.stem] = outcomes
    written = {"jinja2": jinja2.__version__, "date": DATE, "conversations": CONVERSATIONS, "expected": expected}
    (FOLDER / "expected.json").write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
