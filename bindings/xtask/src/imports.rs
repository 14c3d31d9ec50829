//! Which paths a Rust file names: a walk over its tokens, so that comments and strings do not count and
//! macro bodies do.

use std::iter::Peekable;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree, token_stream::IntoIter};

/// A path that starts at a crate's root: `crate::base::…`, `nightgraft_core::session::…`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// `crate`, or the name of a crate.
    pub root: String,
    /// What is named right below the root; none when the path ends there.
    pub item: Option<String>,
    /// Counted from 1.
    pub line: usize,
}

/// Every path from `crate`, from one of `crates`, or from `super` up to the crate's root, tests aside.
///
/// `module` is the file's own place, such as `["train", "best"]`.
pub fn imports(source: &str, module: &[String], crates: &[&str]) -> Result<Vec<Import>> {
    let tokens: TokenStream = source.parse().map_err(|error| anyhow!("it is not Rust: {error}"))?;
    let mut scanner = Scanner { crates, found: Vec::new() };
    scanner.walk(tokens, module.len());
    Ok(scanner.found)
}

struct Scanner<'a> {
    crates: &'a [&'a str],
    found: Vec<Import>,
}

type Tokens = Peekable<IntoIter>;

impl Scanner<'_> {
    /// `depth`: how many modules enclose these tokens.
    fn walk(&mut self, tokens: TokenStream, depth: usize) {
        let mut tokens = tokens.into_iter().peekable();
        let mut is_test = false; // a `#[cfg(test)]` waits for its item
        let mut is_module = false; // the next group is the body of a module
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    if let Some(attribute) = next_group(&mut tokens, Delimiter::Bracket) {
                        is_test |= is_cfg_test(&attribute);
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => (is_test, is_module) = (false, false),
                TokenTree::Group(group) => {
                    let is_body = group.delimiter() == Delimiter::Brace;
                    if !(is_test && is_body) {
                        self.walk(group.stream(), depth + usize::from(is_module && is_body));
                    }
                    if is_body {
                        (is_test, is_module) = (false, false);
                    }
                }
                TokenTree::Ident(ident) if is_test && ident != "mod" => {}
                TokenTree::Ident(ident) if ident == "mod" => is_module = true,
                TokenTree::Ident(ident) if ident == "super" => self.climb(&ident, &mut tokens, depth),
                TokenTree::Ident(ident)
                    if ident == "crate" || self.crates.iter().any(|name| ident == name) =>
                {
                    self.descend(&ident.to_string(), &ident, &mut tokens);
                }
                _ => {}
            }
        }
    }

    /// `super::super::x`: of interest when it ends at the crate's root.
    fn climb(&mut self, first: &Ident, tokens: &mut Tokens, depth: usize) {
        let mut climbed = 1;
        while next_is_path_separator(tokens) {
            match tokens.peek() {
                Some(TokenTree::Ident(ident)) if ident == "super" => {
                    tokens.next();
                    climbed += 1;
                }
                _ if climbed == depth => return self.below("crate", first, tokens),
                _ => return,
            }
        }
    }

    fn descend(&mut self, root: &str, at: &Ident, tokens: &mut Tokens) {
        if next_is_path_separator(tokens) {
            self.below(root, at, tokens);
        } else if root != "crate" {
            self.note(root, None, at); // `use nightgraft_ggml as …`; a bare `crate` is a visibility
        }
    }

    /// After `root::`: one name, or several in braces.
    fn below(&mut self, root: &str, at: &Ident, tokens: &mut Tokens) {
        match tokens.peek() {
            Some(TokenTree::Ident(item)) => self.note(root, Some(item), item),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let mut first = true;
                for token in group.stream() {
                    match token {
                        TokenTree::Ident(item) if first => {
                            self.note(root, Some(&item), &item);
                            first = false;
                        }
                        TokenTree::Punct(punct) if punct.as_char() == ',' => first = true,
                        _ => {}
                    }
                }
                tokens.next();
            }
            _ => self.note(root, None, at),
        }
    }

    fn note(&mut self, root: &str, item: Option<&Ident>, at: &Ident) {
        let line = at.span().start().line;
        self.found.push(Import { root: root.to_owned(), item: item.map(Ident::to_string), line });
    }
}

fn next_group(tokens: &mut Tokens, delimiter: Delimiter) -> Option<Group> {
    if matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '!') {
        tokens.next(); // an inner attribute
    }
    match tokens.peek() {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => {
            let group = group.clone();
            tokens.next();
            Some(group)
        }
        _ => None,
    }
}

fn is_cfg_test(attribute: &Group) -> bool {
    let text: String = attribute.stream().into_iter().map(|token| token.to_string()).collect();
    text == "cfg(test)"
}

/// Takes a `::` away if there is one.
fn next_is_path_separator(tokens: &mut Tokens) -> bool {
    let colon =
        |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    if !colon(tokens.peek()) {
        return false;
    }
    let mut ahead = tokens.clone();
    ahead.next();
    if !colon(ahead.peek()) {
        return false;
    }
    ahead.next();
    *tokens = ahead;
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn found(source: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<_> = module.iter().map(|part| (*part).to_owned()).collect();
        let imports = imports(source, &module, &["nightgraft_ggml"]).unwrap();
        imports
            .into_iter()
            .map(|m| format!("{}: {}::{}", m.line, m.root, m.item.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn paths_and_groups_are_found() {
        let source = "use crate::base::Base;\nuse crate::{Error, data::{self, Batch}, lora as l};\n\
            fn f() { let x = crate::text::Tokenizer::new(); }\nuse nightgraft_ggml::Graph;";
        let expected =
            ["1: crate::base", "2: crate::Error", "2: crate::data", "2: crate::lora", "3: crate::text"];
        assert_eq!(found(source, &["m"])[..5], expected);
        assert_eq!(found(source, &["m"])[5], "4: nightgraft_ggml::Graph");
    }

    #[test]
    fn macro_bodies_count_and_comments_and_strings_do_not() {
        let source = "// crate::session\n/// [`crate::session`]\nfn f() { println!(\"crate::session\", crate::ops::X); }";
        assert_eq!(found(source, &["m"]), ["3: crate::ops"]);
    }

    #[test]
    fn super_is_followed_to_the_root() {
        assert_eq!(found("use super::lora::A;", &["train"]), ["1: crate::lora"]);
        assert_eq!(found("use super::best::B;", &["train", "trainer"]), [""; 0]);
        assert_eq!(
            found("use super::super::{data, gguf::File};", &["train", "trainer"]),
            ["1: crate::data", "1: crate::gguf"]
        );
        assert_eq!(
            found("mod inner { use super::super::lora::A; use super::own; }", &["train"]),
            ["1: crate::lora"]
        );
    }

    #[test]
    fn tests_may_use_anything() {
        let source = "#[cfg(test)]\nmod tests { use crate::session::train; }\n#[cfg(test)] mod more;\n\
            #[cfg(test)]\nuse crate::testing;\nuse crate::base;";
        assert_eq!(found(source, &["m"]), ["6: crate::base"]);
    }

    #[test]
    fn a_visibility_is_no_import() {
        assert_eq!(found("pub(crate) fn f() {} pub(in crate::base) struct S;", &["m"]), ["1: crate::base"]);
    }
}
