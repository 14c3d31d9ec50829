//! The source of a template, so that minijinja reads it as jinja2 does.

/// The filter that every loop's items go through: see [`for_minijinja`].
pub(super) const LOOPED: &str = "looped_over";

/// Rewrites what jinja2 and its extensions understand otherwise than minijinja. Lines stay where they are.
///
/// - `{% generation %}` marks answers for Hugging Face's trainers. It writes nothing, and has variables of its own.
/// - `for` refuses `none`, which minijinja takes for nothing.
/// - Line ends are those of Unix.
pub(super) fn for_minijinja(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut written = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(at) = rest.find('{') {
        written.push_str(&rest[..at]);
        rest = &rest[at..];
        let piece = match rest.as_bytes().get(1) {
            Some(b'#') => rest.find("#}").map(|end| end + 2),
            Some(b'{') => end_of_tag(rest, "}}"),
            Some(b'%') => end_of_tag(rest, "%}"),
            _ => Some(1),
        };
        let Some(piece) = piece else { break };
        let (piece, after) = rest.split_at(piece);
        rest = after;
        match tag(piece) {
            Some(["raw", _]) => {
                let raw = end_of_raw(rest);
                written.push_str(piece);
                written.push_str(&rest[..raw]);
                rest = &rest[raw..];
            }
            Some(["generation", _]) => written.push_str(&piece.replacen("generation", "with", 1)),
            Some(["endgeneration", _]) => written.push_str(&piece.replacen("endgeneration", "endwith", 1)),
            Some(["for", body]) => match checked_loop(body) {
                Some(checked) => written.push_str(&piece.replacen(body, &checked, 1)),
                None => written.push_str(piece),
            },
            _ => written.push_str(piece),
        }
    }
    written + rest
}

/// Where a tag ends: at the first `end` that is neither in a text nor in brackets.
fn end_of_tag(source: &str, end: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 2;
    while let Some(next) = source[at..].chars().next() {
        if depth == 0 && source[at..].starts_with(end) {
            return Some(at + end.len());
        }
        match next {
            '\'' | '"' => at = end_of_text(source, at)?,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += next.len_utf8();
    }
    None
}

/// The place of the quote that closes the one at `at`.
fn end_of_text(source: &str, at: usize) -> Option<usize> {
    let quote = source[at..].chars().next()?;
    let mut is_escaped = false;
    let closing = source[at + 1..].char_indices().find(|&(_, char)| {
        let closes = char == quote && !is_escaped;
        is_escaped = char == '\\' && !is_escaped;
        closes
    });
    closing.map(|(offset, _)| at + 1 + offset)
}

/// A block tag's name and what follows it.
fn tag(piece: &str) -> Option<[&str; 2]> {
    let body = piece.strip_prefix("{%")?.strip_suffix("%}")?;
    let body = body.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
    let name = body.len() - body.trim_start_matches(|char: char| char.is_alphanumeric() || char == '_').len();
    let (name, body) = body.split_at(name);
    Some([name, body.trim()])
}

/// Where `{% endraw %}` ends, or the source.
fn end_of_raw(source: &str) -> usize {
    let mut at = 0;
    while let Some(start) = source[at..].find("{%") {
        at += start;
        let Some(end) = source[at..].find("%}") else { break };
        if let Some(["endraw", _]) = tag(&source[at..at + end + 2]) {
            return at + end + 2;
        }
        at += 2;
    }
    source.len()
}

/// `x in items if …` with the items checked.
fn checked_loop(body: &str) -> Option<String> {
    let words = words(body);
    let &(at, word) = words.iter().find(|(_, word)| *word == "in")?;
    let start = at + word.len();
    let ends = words.iter().find(|&&(at, word)| at > start && matches!(word, "if" | "recursive"));
    let (target, items) = body.split_at(ends.map_or(body.len(), |&(at, _)| at)).0.split_at(start);
    let rest = ends.map_or("", |&(at, _)| &body[at..]);
    Some(format!("{target} ({})|{LOOPED} {rest}", items.trim()))
}

/// The words of a tag that are neither in a text nor in brackets, with their places.
fn words(body: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(next) = body[at..].chars().next() {
        let in_word = |char: char| char.is_alphanumeric() || char == '_';
        if in_word(next) {
            let end = body[at..].find(|char| !in_word(char)).map_or(body.len(), |len| at + len);
            if depth == 0 {
                words.push((at, &body[at..end]));
            }
            at = end;
            continue;
        }
        match next {
            '\'' | '"' => at = end_of_text(body, at).unwrap_or(body.len() - 1),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += next.len_utf8();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_and_texts_left_alone() {
        for (source, expected) in [
            ("{% for x in y %}", "{% for x in (y)|looped_over %}"),
            ("{%- for k, v in d.items() if v -%}", "{%- for k, v in (d.items())|looped_over if v -%}"),
            (
                "{% for x in [a if b else c] recursive %}",
                "{% for x in ([a if b else c])|looped_over recursive %}",
            ),
            ("{% for x in 'a in b'.split(' if ') %}", "{% for x in ('a in b'.split(' if '))|looped_over %}"),
            ("{% raw %}{% for x in y %}{% endraw %}{{ '{% for x in y %}' }}", ""),
            ("{# {% for x in y %} #}{ % {{ {'a': {'b': 1}} }}", ""),
            ("{%- generation -%}a{% endgeneration +%}", "{%- with -%}a{% endwith +%}"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("{% for x in '", ""),
            ("{{ 'é", ""),
        ] {
            let expected = if expected.is_empty() { source } else { expected };
            let words: Vec<_> = for_minijinja(source).split_whitespace().map(str::to_owned).collect();
            assert_eq!(words.join(" "), expected.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}
