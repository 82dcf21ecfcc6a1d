"""Small templates that know tools and thinking, as those of real models write them."""

THINKING = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}"
    "{% if message.name and message.role == 'user' %} {{ message.name }}{% endif %}{{ '\\n' }}"
    "{{ message['content'] }}"
    "{% if message.tool_calls %}{% for tool_call in message.tool_calls %}"
    "{% set tool_call = tool_call.function %}"
    '<tool_call>{"name": "{{ tool_call.name }}", "arguments": {{ tool_call.arguments | tojson }}}'
    "</tool_call>{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if tools %}TOOLS{% for tool in tools %}{{ tool | tojson }}{% endfor %}\n{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking %}<think>\n{% endif %}{% endif %}"
)
MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
