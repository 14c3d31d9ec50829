//! Templates that do not simply put one turn behind the other, for tests.

/// Thoughts of earlier answers are left out, the last answer always has one.
pub(super) const QWEN3: &str = r"{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- if tools %}{{- '<|im_start|>system\n# Tools\n' }}{%- for tool in tools %}{{- tool | tojson + '\n' }}{%- endfor %}{{- '<|im_end|>\n' }}{%- endif %}
{%- for m in messages %}
    {%- set content = m.content if m.content is string else '' %}
    {%- if m.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if m.reasoning_content is string %}
            {%- set thought = m.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' }}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' }}
        {%- endif %}
        {{- content }}
        {%- for call in m.tool_calls or [] %}
            {{- '\n<tool_call>\n' + (call.function | default(call)).name + ' ' + (call.function | default(call)).arguments | tojson + '\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif m.role == 'tool' %}
        {{- '<|im_start|>user\n<tool_response>\n' + content + '\n</tool_response><|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}";

/// The prompt opens a thought, answers are shown without theirs.
pub(super) const R1: &str = r"{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<|user|>' + m.content }}{% elif m.role == 'system' %}{{ m.content }}{% else %}{{ '<|assistant|>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|><think>\n' }}{% endif %}";

/// The prompt opens a thought; the last answer is shown with its own, in whatever form it has.
pub(super) const THINKING_LAST: &str = r"{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and loop.last and m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
<think>
{% endif %}";

/// The prompt ends an empty thought, answers are shown without.
pub(super) const NOT_THINKING: &str = r"{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}{% endif %}";

/// Channels; the token that ends a generation is another one once turns follow.
pub(super) const CHANNELS: &str = r"{%- for m in messages -%}
    {%- if m.role == 'assistant' -%}
        {%- if m.thinking and loop.last -%}{{- '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' -}}{%- endif -%}
        {{- '<|start|>assistant<|channel|>final<|message|>' + m.content + ('<|return|>' if loop.last else '<|end|>') -}}
    {%- else -%}
        {{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start|>assistant' -}}{%- endif -%}";

/// The system text stands in the last question.
pub(super) const SYSTEM_LAST: &str = r"{{- bos_token }}{%- if messages[0].role == 'system' %}{%- set system = messages[0].content %}{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}{%- for m in rest %}{%- if m.role == 'user' %}{%- if loop.last and system is defined %}{{- '[INST] ' + system + '\n\n' + m.content + '[/INST]' }}{%- else %}{{- '[INST] ' + m.content + '[/INST]' }}{%- endif %}{%- else %}{{- ' ' + m.content + eos_token }}{%- endif %}{%- endfor %}";

/// Tokens around the roles, none of them known to end a generation but the end-of-text token.
pub(super) const COMMAND: &str = r"{{ bos_token }}{% for m in messages %}{{ '<|START|><|' + m.role + '|>' + m.content.strip() + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|START|><|assistant|>' }}{% endif %}";

/// A label stands behind the generation prompt.
pub(super) const LABEL: &str = r"{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' %}to=all
{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}";

/// Text stands between an answer and the token that ends it.
pub(super) const CLOSING_TEXT: &str = r"{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% if m.role == 'assistant' %}</answer>{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}";

/// A token of its own ends an answer, then the one that ends a generation.
pub(super) const TWO_CLOSING_TOKENS: &str = r"{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% if m.role == 'assistant' %}<|end_answer|>{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}";

/// A blank line stands before an answer, which merges with a line end.
pub(super) const BLANK_LINE: &str = r"{% for m in messages %}{% if m.role == 'user' %}### Question:

{{ m.content }}<|im_end|>
{% else %}### Reply:

{{ m.content }}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}### Reply:

{% endif %}";

/// No token ends an answer.
pub(super) const UNCLOSED: &str = r"{% for m in messages %}{% if m.role == 'user' %}### User:
{{ m.content }}

{% else %}### Assistant:
{{ m.content }}

{% endif %}{% endfor %}{% if add_generation_prompt %}### Assistant:
{% endif %}";

/// The generation prompt ends with a space that the rendered answer does not have.
pub(super) const STRAY_SPACE: &str = r"{% for m in messages %}{{ m.role + ':' + m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
