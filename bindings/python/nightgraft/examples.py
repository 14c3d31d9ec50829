"""Making examples."""

from .nightgraft_ffi import Example, Message


def chat(messages: list[Message]) -> Example:
    """A conversation. The model learns what the assistant says in it."""
    return _made(Example.CHAT(messages=messages))


def completion(prompt: str, completion: str) -> Example:
    """A text and how it goes on. The model learns the second part."""
    return _made(Example.COMPLETION(prompt=prompt, completion=completion))


def text(text: str) -> Example:
    """A text, all of which is learned."""
    return _made(Example.TEXT(text=text))


def _made(variant: object) -> Example:
    """The generated classes are variants at run time, which their annotations do not say."""
    assert isinstance(variant, Example)
    return variant
